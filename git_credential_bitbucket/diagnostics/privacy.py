"""File modes: the socket and its directory, the vault and its directory, a key file."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from typing import TYPE_CHECKING

from git_credential_bitbucket import paths
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding, Fix
from git_credential_bitbucket.errors import Error, InsecurePath, system_reason
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.storage.file import FileStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def look(env: Mapping[str, str]) -> Iterator[Finding]:
    """Check each that exists; nothing is created."""
    for socket in (paths.socket_path(env), paths.control_socket(paths.socket_path(env))):
        found = [*_check_path("socket", os.path.dirname(socket), 0o700, paths.check_private_dir)]
        yield from found or _socket(socket)
    vault = paths.vault_path(env)
    found = [
        *_check_path("vault", os.path.dirname(vault), 0o700, paths.check_private_dir),
        *_check_path("vault", vault, 0o600, lambda path: FileStorage(path).watch()),
        *_key_file(env),
    ]
    yield from found
    if not found and os.path.exists(vault):
        yield Finding("vault", OK, f"{vault} is private")


def _check_path(check: str, path: str, mode: int, refuse: Callable[[str], object]) -> Iterator[Finding]:
    try:
        refuse(path)
    except FileNotFoundError:  # it is made, closed to others, when it is needed
        return
    except Error as exc:
        yield Finding(check, WRONG, exc.cause, exc.hint, _chmod_fix(path, mode))
    except OSError as exc:
        cause = f"{path} cannot be checked: {system_reason(exc)}"
        yield Finding(check, WRONG, cause, f"try: ls -ld {shlex.quote(path)}")


def _socket(path: str) -> Iterator[Finding]:
    try:
        paths.check_socket_path(path)
        found = os.lstat(path)
    except FileNotFoundError:
        yield Finding("socket", OK, f"{path} does not exist yet")
        return
    except InsecurePath as exc:
        yield Finding("socket", WRONG, exc.cause, exc.hint)
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISSOCK(found.st_mode):
        yield Finding("socket", WRONG, f"{path} exists, and is not a socket", "check what it is, and remove it")
    elif mode & 0o077:
        cause = f"{path} has mode {mode:04o}; only its directory protects it"
        yield Finding("socket", NOTE, cause, f"run: chmod 0600 {shlex.quote(path)}", _chmod_fix(path, 0o600))
    else:
        yield Finding("socket", OK, f"{path}, mode {mode:04o}")


def _key_file(env: Mapping[str, str]) -> Iterator[Finding]:
    try:
        key_sources.from_environment(env)
    except InsecurePath as exc:
        yield Finding(
            "vault", WRONG, exc.cause, exc.hint, _chmod_fix(os.path.realpath(env[key_sources.KEY_FILE_VARIABLE]), 0o600)
        )
    except Error as exc:
        yield Finding("vault", WRONG, exc.cause, exc.hint)


def _chmod_fix(path: str, mode: int) -> Fix | None:
    """chmod, where it is ours and no link; never more than it had before."""
    found = os.lstat(path)
    if mode & 0o100 and not paths.is_own_dir(path):
        return None  # somebody's home directory, say, that a setting names: its mode is not ours to change
    kind_fits = stat.S_ISDIR(found.st_mode) if mode & 0o100 else not stat.S_ISLNK(found.st_mode)
    if found.st_uid != os.getuid() or not kind_fits or not found.st_mode & 0o077:
        return None
    closed = stat.S_IMODE(found.st_mode) & mode | (mode if mode & 0o100 else 0)
    return Fix(f"made {path} private", lambda: _chmod(path, closed))


def _chmod(path: str, mode: int) -> None:
    """Not by its name alone, where that can be had: what lies under it may have been exchanged for a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno != errno.ENXIO:
            raise
        os.chmod(path, mode)  # a socket cannot be opened
        return
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
