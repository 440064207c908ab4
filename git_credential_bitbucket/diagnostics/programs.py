"""The programs: git and what it is too old for, this one, and whether PATH leads to it."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from git_credential_bitbucket import __version__, git_config
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.gitsetup.executable import stable_path
from git_credential_bitbucket.paths import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NEEDED = (2, 26)
"""`git config --show-scope`."""
EXPIRES, SECOND_TRY = (2, 40), (2, 46)
"""`password_expiry_utc`; `state[]` and `continue` (git-credential(1))."""


def look(env: Mapping[str, str]) -> Iterator[Finding]:
    """Programs and PATH."""
    yield _git(env)
    system = f"{platform.system()} {platform.release()}"
    yield Finding(NAME, OK, f"{__version__}, Python {platform.python_version()}, {system}")
    yield from _path(env)


def _git(env: Mapping[str, str]) -> Finding:
    try:
        done = git_config.run_git(env, "--version")
    except SettingsError as exc:
        return Finding("git", WRONG, exc.cause, exc.hint)
    text = done.stdout.decode("utf-8", "replace").strip().removeprefix("git version ")
    return check_version(text, done.args[0])


def check_version(text: str, git: str) -> Finding:
    """What is to be said of a git of that version."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    told = f"{text} ({git})"
    if version < NEEDED:
        return Finding("git", WRONG, f"{told} is too old", "upgrade git: 2.26 or later is needed, 2.46 is best")
    if version >= SECOND_TRY:
        return Finding("git", OK, told)
    lacks = "no second try when a token is rejected during a command (2.46)"
    if version < EXPIRES:
        lacks = f"no support for the expiry of tokens (2.40), and {lacks}"
    return Finding("git", NOTE, f"{told} has {lacks}", "nothing needs to be done: tokens are renewed earlier instead")


def _path(env: Mapping[str, str]) -> Iterator[Finding]:
    entries = env.get("PATH", os.defpath).split(":")
    if any(not entry.startswith("/") for entry in entries):
        cause = "it has a relative or empty entry, so programs in the current directory may run"
        yield Finding("PATH", NOTE, cause, "make every entry of PATH an absolute path")
    found = [p for p in (f"{e}/{NAME}" for e in entries if e.startswith("/")) if os.access(p, os.X_OK)]
    if not found:
        hint = "add its directory to PATH, usually ~/.local/bin; git itself runs it by its absolute path"
        yield Finding("PATH", NOTE, f"{NAME} is not on PATH", hint)
        return
    try:
        ours = os.path.realpath(stable_path(env))
    except SettingsError:
        ours = ""
    if ours and os.path.realpath(found[0]) != ours:
        yield Finding("PATH", NOTE, f"it finds another installation first: {found[0]}", "remove one of the two")
    else:
        yield Finding("PATH", OK, f"it finds {found[0]}")
