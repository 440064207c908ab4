"""Whether a git command without a credential can prompt: at the terminal, by an askpass program, or not at all."""

import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import environment_tokens, messages
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINAL, ASKPASS, NON_INTERACTIVE = "person", "askpass", "nobody"
CI_HINT = "give the job a token, as a secret variable: BITBUCKET_ACCESS_TOKEN or BITBUCKET_API_TOKEN"
NEVER = "never"
"""git-credential-manager's value of `credential.interactive`, beside git's for false."""
RESOLVED_BY_LOGIN = frozenset(
    {"none", git_protocol.OTHER_ACCOUNT, "disabled", "login-expired", "expired", "app-password", "memory"}
)
"""States (agent/diagnosis.py) that a new login ends, so that a person is asked for one while git waits.

In the others it would hide the fault, or meet it again.
"""


def available_prompt(env: "Mapping[str, str]", url: str) -> str:
    """How the user can be prompted for `url`: `TERMINAL`, by us; `ASKPASS`, which git runs next; `NON_INTERACTIVE`.

    An askpass counts only where standard error is no terminal: then a program (Jenkins, an editor) reads it, and takes
    a message for a failure. Raises `SettingsError` where git's configuration is needed and cannot be read.
    """
    against = reason_not_to_prompt(env, url)
    if against is None:
        messages.trace("interactive: asking at the terminal")
        return TERMINAL
    program = None if is_terminal(2) else _trusted_askpass(env)
    if program is None:
        messages.trace(f"non-interactive: {against}")
        return NON_INTERACTIVE
    messages.trace(f"non-interactive: {against}; git runs {program[0]} next")
    return ASKPASS


def askpass(env: "Mapping[str, str]", configured: str | None) -> tuple[str, str] | None:
    """The setting that names git's askpass program, and the program; None where there is none.

    The first that is set decides, and an empty value turns it off (git's prompt.c). `configured` is core.askPass.
    """
    named = {"GIT_ASKPASS": env.get("GIT_ASKPASS"), "core.askPass": configured, "SSH_ASKPASS": env.get("SSH_ASKPASS")}
    found = next(((name, program) for name, program in named.items() if program is not None), None)
    return found if found is not None and found[1] else None


def _trusted_askpass(env: "Mapping[str, str]") -> tuple[str, str] | None:
    """As `askpass`, without repository-local configuration, which must not decide whether an error is shown."""
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
    """The reason why no prompt may appear; None where one may."""
    if is_ci(env):
        return "CI is set"
    if git_bool(env.get("GIT_TERMINAL_PROMPT", "1")) is False:
        return "GIT_TERMINAL_PROMPT is off"
    if not has_foreground():
        return "no terminal, or not in its foreground"
    from git_credential_bitbucket import git_config  # lazy: it starts a process

    asked = git_config.read(env).credential(url, "interactive") or "true"
    return "credential.interactive is off" if asked.lower() == NEVER or git_bool(asked) is False else None


def is_ci(env: "Mapping[str, str]") -> bool:
    """Whether this is a CI job: `CI` is set, as every CI service sets it."""
    return git_bool(env.get("CI", "")) is not False


def missing_credential(why: "Mapping[str, str]") -> Problem:
    """The reply to `why` as an error and its hint, with what this process's environment adds to them."""
    cause, hint = why.get("error", "there is no credential"), why.get("hint")
    if why.get("state") != "none":
        return Problem(cause, hint)
    return environment_tokens.unusable(os.environ) or Problem(cause, hint if "damaged" in why else ci_hint() or hint)


def ci_hint() -> str | None:
    """The hint instead of a login in a CI job; None elsewhere."""
    return CI_HINT if is_ci(os.environ) else None


def has_foreground() -> bool:
    """Whether there is a controlling terminal and our process group is in its foreground.

    A background process that reads from it is stopped (SIGTTIN), and git with it.
    """
    terminal = open_terminal()
    if terminal is None:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def open_terminal() -> int | None:
    """A descriptor of the controlling terminal; None where there is none."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def is_terminal(descriptor: int) -> bool:
    """Whether a descriptor is a terminal's; False where it is closed."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
