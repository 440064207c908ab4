"""Whether a person is there to be asked, in the middle of a command of git's. Imports os and tell."""

import os

from git_credential_bitbucket.client import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NO = frozenset({"", "0", "false", "no", "off"})
NEVER = NO | {"never"}
"""What `credential.interactive` may say against it: git's words for false, and git-credential-manager's."""
LOGIN_MENDS = frozenset({"none", "set-aside", "login-expired", "expired", "app-password", "memory"})
"""States (agent/why.py) that a new log-in ends, so that a person is asked for one while git waits.

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
    if env.get("GIT_TERMINAL_PROMPT", "1").lower() in NO:
        return "GIT_TERMINAL_PROMPT is off"
    if not has_foreground():
        return "there is no terminal, or its foreground is another's"
    from git_credential_bitbucket import settings  # here, not above: it starts a process, and mostly nobody is there

    asked = settings.read(env).credential(url, "interactive") or "true"
    return "credential.interactive forbids it" if asked.lower() in NEVER else None


def is_build(env: "Mapping[str, str]") -> bool:
    """Whether this is a build, where nobody reads along: `CI` is set, as every build service sets it."""
    return env.get("CI", "").lower() not in ("", "0", "false")


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
