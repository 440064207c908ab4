"""Messages to whoever sits behind git: one line on standard error, and one for the cure. Imports os and wire.

Standard output belongs to git, so nothing of this goes there.
"""

import os

from git_credential_bitbucket.wire import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from git_credential_bitbucket.errors import Error

NAME = "git-credential-bitbucket"
MAX_SHOWN = 1000
"""Characters of one message; nothing of ours is longer, and a daemon's answer is not trusted to be short."""


def error(cause: str, hint: str | None = None) -> None:
    """Say what is wrong, and how to mend it; control characters in either are made visible."""
    _say("error", cause, hint)


def warning(cause: str, hint: str | None = None) -> None:
    """Say what is going to be wrong, as `error` does."""
    _say("warning", cause, hint)


def failure(exc: "Error") -> None:
    """Say what an error of ours says."""
    error(exc.cause, exc.hint)


def _say(what: str, cause: str, hint: str | None) -> None:
    lines = f"{NAME}: {what}: {printable(cause, MAX_SHOWN)}\n"
    if hint:
        lines += f"{NAME}: hint: {printable(hint, MAX_SHOWN)}\n"
    try:
        os.write(2, lines.encode("utf-8", "backslashreplace"))  # one write: lines of parallel helpers stay whole
    except OSError:  # nobody listens
        return
