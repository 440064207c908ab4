"""The path by which git runs this program: one that outlives upgrades, as a value of `credential.helper`.

git runs a helper that begins with a slash as it is, through the shell (gitcredentials(7), credential.helper).
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket.client import activate
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.paths import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHORT_NAMES = frozenset({"bitbucket", NAME})
"""Names of this helper written by hand: git looks for `git-credential-bitbucket` on PATH."""
ARCHIVE = f"{NAME}.pyz"
"""The program as one file, which git has Python run."""
_GUARD = ["test", "-S"]
_ISOLATED = ["-I", "-S"]
"""Python without the environment, the working directory and `site` (5 ms)."""


def stable_path(env: Mapping[str, str]) -> str:
    """The absolute path to run this program by, links not resolved. Raises `SettingsError` if it is not installed.

    A link comes first (`~/.local/bin/…`): its installer keeps it, while its target may have a version in its name, or
    vanish with an environment. Of several, the first on PATH.
    """
    invoked = activate.archive() or _invoked()
    if invoked is None:
        hint = "install it: run install/install or pipx install . in its source directory"
        raise SettingsError("this copy of the program has no executable for git to run", hint=hint)
    if invoked == activate.archive():
        if os.path.basename(invoked) not in (NAME, ARCHIVE):
            cause = f"{invoked} has a name by which its lines in git's configuration cannot be recognized"
            raise SettingsError(cause, hint=f"rename it to {ARCHIVE}")
        return invoked
    ours = os.path.realpath(invoked)
    found = [path for path in (*_places(env), invoked) if os.path.realpath(path) == ours and os.access(path, os.X_OK)]
    return next((path for path in found if os.path.islink(path)), found[0] if found else invoked)


def as_guarded_helper(socket: str, helper: str) -> str:
    """`helper`, run only while `socket` exists: otherwise it would start an ordinary daemon."""
    return f"!{' '.join(_GUARD)} {shlex.quote(socket)} && {helper.removeprefix('!')}"


def helper_here(env: Mapping[str, str]) -> str:
    """The value of `credential.helper` that runs this program. Raises `SettingsError` as `stable_path`."""
    path = stable_path(env)
    if path != activate.archive():
        return as_helper(path)
    # By Python's path: a shell or env(1) would look it up in PATH, and costs a millisecond or two.
    return "!" + shlex.join([os.path.abspath(sys.executable), *_ISOLATED, path])


def as_helper(path: str) -> str:
    """The value of `credential.helper` that runs `path`: quoted for the shell, but not its first slash.

    By that slash git tells a path from the rest of a name that begins with `git-credential-`.
    """
    return "/" + shlex.quote(path[1:])


def runs_this_program(helper: str) -> bool:
    """Whether a value of `credential.helper` is the path of this program, of whichever installation."""
    word = only_word(helper)
    return word is not None and word.startswith("/") and os.path.basename(word) in (NAME, ARCHIVE)


def is_there(helper: str) -> bool:
    """Whether the program that a value of `credential.helper` names can be run, or read by the Python before it."""
    words = [word.removeprefix("!") for word in _words(helper)]
    return os.access(words[0], os.X_OK) and os.path.isfile(words[-1])


def is_this_program(helper: str) -> bool:
    """As `runs_this_program`, or this program's name as written by hand."""
    return runs_this_program(helper) or only_word(helper) in SHORT_NAMES


def only_word(helper: str) -> str | None:
    """The only word of a `credential.helper`, without the guard that `exec` writes and the Python that runs the program
    as one file; None if there are more.
    """
    words = _words(helper)
    if helper.startswith("!") and words[1:3] == _ISOLATED:
        words = words[3:]
    return words[0] if len(words) == 1 else None


def _words(helper: str) -> list[str]:
    """The words of a `credential.helper`, split as by the shell, without the guard that `exec` writes."""
    try:
        words = shlex.split(helper)
    except ValueError:  # an unclosed quote
        return []
    return words[4:] if words[:2] == [f"!{_GUARD[0]}", _GUARD[1]] else words


def _invoked() -> str | None:
    """The executable beside the script that runs now; by `python -m`, the one beside Python."""
    script = os.path.abspath(sys.argv[0]).removesuffix(".py")
    beside_python = os.path.join(os.path.dirname(sys.executable), NAME)
    for path in (script, os.path.realpath(script + ".py").removesuffix(".py"), beside_python):
        if os.path.basename(path) == NAME and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _places(env: Mapping[str, str]) -> Iterator[str]:
    """PATH, and where links usually are when PATH does not have them (an installer's, a GUI's)."""
    for directory in env.get("PATH", os.defpath).split(":"):
        if directory.startswith("/"):
            yield os.path.join(directory, NAME)
    if env.get("HOME", "").startswith("/"):
        yield os.path.join(env["HOME"], ".local/bin", NAME)
    yield os.path.join("/usr/local/bin", NAME)
