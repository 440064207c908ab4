"""Who can answer in the middle of a git command where no credential was found: a person, an askpass, or nobody.

Imports os, tell and config.
"""

import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import environment, messages
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINAL, ASKPASS, NON_INTERACTIVE = "person", "askpass", "nobody"
CI_HINT = "give the job a token, as a secret variable: BITBUCKET_ACCESS_TOKEN or BITBUCKET_API_TOKEN"
NEVER = "never"
"""git-credential-manager's word in `credential.interactive`, beside git's for false."""
RESOLVED_BY_LOGIN = frozenset(
    {"none", git_protocol.OTHER_ACCOUNT, "disabled", "login-expired", "expired", "app-password", "memory"}
)
"""States (agent/diagnosis.py) that a new login ends, so that a person is asked for one while git waits.

In the others it would hide what is wrong, or meet the same trouble.
"""


def available_prompt(env: "Mapping[str, str]", url: str) -> str:
    """Who can answer for `url` instead of us: `PERSON`, at the terminal; `ASKPASS`, which git runs next; `NOBODY`.

    An askpass counts only where standard error is no terminal: it is for a program (Jenkins, an editor), which takes
    what stands there for a failure. Raises `SettingsError` where a person may be there and git's configuration cannot
    be read.
    """
    against = reason_not_to_prompt(env, url)
    if against is None:
        messages.trace("interactive: asking at the terminal")
        return TERMINAL
    program = None if _is_terminal(2) else _trusted_askpass(env)
    if program is None:
        messages.trace(f"non-interactive: {against}")
        return NON_INTERACTIVE
    messages.trace(f"non-interactive: {against}; git runs {program[0]} next")
    return ASKPASS


def askpass(env: "Mapping[str, str]", configured: str | None) -> tuple[str, str] | None:
    """What names the program that git asks for a password, and the program; None where git asks none.

    The first that is set decides, and an empty value turns it off (git's prompt.c). `configured` is core.askPass.
    """
    named = (
        ("GIT_ASKPASS", env.get("GIT_ASKPASS")),
        ("core.askPass", configured),
        ("SSH_ASKPASS", env.get("SSH_ASKPASS")),
    )
    found = next(((name, program) for name, program in named if program is not None), None)
    return found if found is not None and found[1] else None


def _trusted_askpass(env: "Mapping[str, str]") -> tuple[str, str] | None:
    """As `askpass`, by the configuration that a repository has no say in.

    git obeys a repository's own core.askPass, too. Here it would decide whether a reason and its hint are shown, and
    that is not for a repository to decide.
    """
    if env.get("GIT_ASKPASS") == "":
        return None
    from git_credential_bitbucket import errors, git_config  # lazy: it starts a process

    try:
        read = git_config.read(env)
    except errors.SettingsError:
        return askpass(env, None)
    if git_bool(read.value("credential.interactive") or "true") is False:  # no askpass either (git's credential.c)
        return None
    return askpass(env, read.value("core.askPass"))


def reason_not_to_prompt(env: "Mapping[str, str]", url: str) -> str | None:
    """What speaks against asking a person; None where nothing does."""
    if is_ci(env):
        return "CI is set"
    if git_bool(env.get("GIT_TERMINAL_PROMPT", "1")) is False:
        return "GIT_TERMINAL_PROMPT is off"
    if not has_foreground():
        return "no terminal, or not in its foreground"
    from git_credential_bitbucket import git_config  # lazy: it starts a process, and mostly nobody is there

    asked = git_config.read(env).credential(url, "interactive") or "true"
    return "credential.interactive forbids it" if asked.lower() == NEVER or git_bool(asked) is False else None


def is_ci(env: "Mapping[str, str]") -> bool:
    """Whether this is a build, where nobody reads along: `CI` is set, as every build service sets it."""
    return git_bool(env.get("CI", "")) is not False


def missing_credential(why: "Mapping[str, str]") -> Problem:
    """The reply to `why` as an error and its hint, with what this process's environment adds to them."""
    cause, hint = why.get("error", "there is no credential"), why.get("hint")
    if why.get("state") != "none":
        return Problem(cause, hint)
    return environment.unusable(os.environ) or Problem(cause, hint if "damaged" in why else ci_hint() or hint)


def ci_hint() -> str | None:
    """What to do instead of a login where this is a build; None elsewhere."""
    return CI_HINT if is_ci(os.environ) else None


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


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
