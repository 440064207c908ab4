"""What a file operation owes this vault: private files only, whole writes, and errors that name the cure."""

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket.errors import PlaceRefused, VaultUnreadable, VaultUnwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_MODE = 0o600
PLACE_HINT = "set GIT_CREDENTIAL_BITBUCKET_VAULT to a file in a directory of your own on a local disk"

_WRITE_HINTS = {
    errno.ENOSPC: "free some space on its file system; what the vault held is still there",
    errno.EDQUOT: "free some of your quota on its file system; what the vault held is still there",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f); what the vault held is still there",
    errno.EROFS: f"mount its file system writable, or {PLACE_HINT}",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close some programs: the whole system is out of open files",
    errno.EIO: "look after the disk (dmesg tells more) and make a copy of the vault",
}


def shown(path: str) -> str:
    """`path` as it may stand in a message: nothing in it can move a terminal's cursor."""
    return ascii(path)[1:-1]


def typed(path: str) -> str:
    """`path` as it can be typed into a shell."""
    import shlex  # here, not above: only an error's hint needs it

    return shlex.quote(path) if path.isprintable() else f"$'{shown(path)}'"


def check_private_file(found: os.stat_result, path: str) -> None:
    """Raise `PlaceRefused` unless `found` is a regular file, ours, and closed to others."""
    if not stat.S_ISREG(found.st_mode):
        raise _not_plain(path)
    if found.st_uid != os.geteuid():
        raise PlaceRefused(f"{shown(path)} belongs to another user", hint=PLACE_HINT)
    if found.st_mode & 0o077:
        raise PlaceRefused(f"{shown(path)} is open to others", hint=f"type: chmod 0600 {typed(path)}")


def open_private(path: str, flags: int) -> int:
    """A descriptor of `path`, checked by `check_private_file`; born 0600 where `flags` create it. Or `OSError`."""
    # O_NONBLOCK: a FIFO put there must be refused, not waited for
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = os.open(path, flags, PRIVATE_MODE)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):  # FreeBSD says EMLINK for a link
            raise _not_plain(path) from None
        raise
    try:
        found = os.fstat(fd)
        check_private_file(found, path)
        if flags & os.O_CREAT and found.st_mode & PRIVATE_MODE != PRIVATE_MODE:
            os.fchmod(fd, PRIVATE_MODE)  # a umask like 0777 took our own bits, too
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_all(fd: int, limit: int) -> bytes:
    """Everything from `fd`, at most `limit` + 1 bytes, so that the caller sees that there is more."""
    blocks = []
    left = limit + 1
    while left > 0 and (block := os.read(fd, min(left, 1 << 20))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`; a full disk shows itself as a short write first."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def unlink_if_there(path: str) -> None:
    """Remove `path`; nothing where it is not there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


@contextmanager
def writing(path: str) -> "Iterator[None]":
    """Turn an `OSError` inside into `VaultUnwritable` with the cause and the cure."""
    try:
        yield
    except OSError as exc:
        raise VaultUnwritable(
            f"the vault {shown(path)} cannot be written: {_reason(exc)}",
            hint=_WRITE_HINTS.get(exc.errno or 0, f"see to it, or {PLACE_HINT}"),
        ) from exc


@contextmanager
def reading(path: str) -> "Iterator[None]":
    """Turn an `OSError` inside into `VaultUnreadable`: trouble with the machine says nothing about the content."""
    try:
        yield
    except OSError as exc:
        raise VaultUnreadable(
            f"the vault {shown(path)} cannot be read: {_reason(exc)}",
            hint=_WRITE_HINTS.get(exc.errno or 0, f"see to it, or {PLACE_HINT}"),
        ) from exc


def _not_plain(path: str) -> PlaceRefused:
    return PlaceRefused(f"{shown(path)} is not a plain file", hint=f"look at it, move it away: ls -ld {typed(path)}")


def _reason(exc: OSError) -> str:
    return (exc.strerror or type(exc).__name__).lower()
