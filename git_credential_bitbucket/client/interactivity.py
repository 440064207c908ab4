"""Whether a person is there to be asked, in the middle of a command of git's. Imports os, tell and config."""

import os

from git_credential_bitbucket.client import tell
from git_credential_bitbucket.config import git_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER = "never"
"""git-credential-manager's word in `credential.interactive`, beside git's for false."""
OTHER_ACCOUNT = "other-account"
LOGIN_MENDS = frozenset({"none", OTHER_ACCOUNT, "set-aside", "login-expired", "expired", "app-password", "memory"})
"""States (agent/diagnosis.py) that a new log-in ends, so that a person is asked for one while git waits.

In the others it would hide what is wrong, or meet the same trouble.
"""


def is_present(env: "Mapping[str, str]", url: str) -> bool:
    """Whether somebody can be asked about `url`: nothing forbids it, and the terminal's foreground is ours.

    Raises `SettingsError` where git's configuration cannot be read.
    """
    against = forbidden(env, url)
    tell.trace(f"nobody is asked: {against}" if against else "a person is there, and is asked")
    return against is None


def forbidden(env: "Mapping[str, str]", url: str) -> str | None:
    """What speaks against asking a person; None where nothing does."""
    if is_build(env):
        return "CI is set"
    if git_bool(env.get("GIT_TERMINAL_PROMPT", "1")) is False:
        return "GIT_TERMINAL_PROMPT is off"
    if not has_foreground():
        return "there is no terminal, or its foreground is another's"
    from git_credential_bitbucket import settings  # here, not above: it starts a process, and mostly nobody is there

    asked = settings.read(env).credential(url, "interactive") or "true"
    return "credential.interactive forbids it" if asked.lower() == NEVER or git_bool(asked) is False else None


def is_build(env: "Mapping[str, str]") -> bool:
    """Whether this is a build, where nobody reads along: `CI` is set, as every build service sets it."""
    return git_bool(env.get("CI", "")) is not False


def has_foreground() -> bool:
    """Whether there is a controlling terminal and our process group is in its foreground.

    Whoever is in the background would be stopped by the terminal for reading from it (SIGTTIN), and git with them.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
