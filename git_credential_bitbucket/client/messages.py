"""Messages on standard error: one line for the error or warning, one for the hint. Standard output is git's.

A trace reports each decision on the way to an answer. Imports os, ipc and git_protocol.
"""

import os

from git_credential_bitbucket.client import ipc
from git_credential_bitbucket.errors import system_reason
from git_credential_bitbucket.git_protocol import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.errors import Error, Problem

NAME = "git-credential-bitbucket"
MAX_SHOWN = 1000
"""Characters of one message; a daemon's reply could be longer."""


NOTICE_AFTER_S = 5.0
"""Bitbucket mostly answers within one second."""
WAITING_FOR_BITBUCKET = "Bitbucket has not answered yet; waiting up to 5 minutes"


def error(cause: str, hint: str | None = None) -> None:
    """Print an error and its hint; control characters in either are made visible."""
    _say("error", cause, hint)


def warning(cause: str, hint: str | None = None) -> None:
    """Print a warning and its hint, as `error` does."""
    _say("warning", cause, hint)


def failure(problem: "Error | Problem") -> None:
    """Print an error of ours."""
    error(problem.cause, problem.hint)


def system_error(exc: OSError) -> None:
    """Print a failed system call, whose remedy is outside this program."""
    from git_credential_bitbucket import files  # lazy: errors are rare

    where = f": {exc.filename}" if exc.filename else ""
    hint = files.hint(exc) or "run: git-credential-bitbucket doctor"
    error(f"system error: {system_reason(exc)}{where}", hint)


class WaitNotice:
    """Within, a warning is printed once `NOTICE_AFTER_S` have been waited."""

    def __init__(
        self, cause: str, hint: str | None = None, *, waited: "Callable[[], float]" = lambda: NOTICE_AFTER_S
    ) -> None:
        """`cause` is what is waited for; `hint` is how to end the wait.

        `waited` says for how many seconds it has been; not called before there can have been enough.
        """
        import threading  # lazy: little waits

        self._ended = threading.Event()

        def tell() -> None:
            left = NOTICE_AFTER_S
            while not self._ended.wait(left):
                if (left := NOTICE_AFTER_S - waited()) <= 0:
                    warning(cause, hint)
                    return

        self._thread = threading.Thread(target=tell, daemon=True)

    def __enter__(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """It came."""
        self._ended.set()


def is_traced() -> bool:
    """Whether decisions are traced: on standard error, or in the file that is named (as by GIT_TRACE)."""
    wanted = os.environ.get(ipc.TRACE, "")
    if not wanted or wanted.startswith("/"):
        return bool(wanted)
    from git_credential_bitbucket import config, errors  # lazy: mostly nothing is traced

    try:
        return config.is_on(os.environ, ipc.TRACE, default=False)
    except errors.SettingsError as exc:
        os.environ[ipc.TRACE] = "on"  # reported once
        warning(exc.cause, exc.hint)
        return True


def trace(decision: str) -> None:
    """Trace a decision. It names scopes, kinds and outcomes; callers pass no secret."""
    if not is_traced():
        return
    line = f"{NAME}: trace: {os.getpid()}: {printable(decision, MAX_SHOWN)}\n"
    if not _append(line):
        _write(2, line)


def _say(what: str, cause: str, hint: str | None) -> None:
    cause, hint = printable(cause, MAX_SHOWN), hint and printable(hint, MAX_SHOWN)
    _write(2, told(what, cause, hint))
    if is_traced():
        _append(told(what, cause, hint, columns=0))


def told(what: str, cause: str, hint: str | None, columns: int | None = None) -> str:
    """The lines of a message, wrapped where standard error is a terminal, or to `columns`."""
    from git_credential_bitbucket import text_wrapping  # lazy: it goes wrong rarely

    columns = text_wrapping.columns_of(2) if columns is None else columns
    lines = [f"{NAME}: {what}: {cause}", *([f"{NAME}: hint: {hint}"] if hint else [])]
    return "".join(text_wrapping.wrapped(line, columns, 2) + "\n" for line in lines)


def _append(lines: str) -> bool:
    """Put `lines` at the end of the trace's file; False where none is named, or it cannot be written."""
    path = os.environ.get(ipc.TRACE, "")
    if not path.startswith("/"):
        return False
    from git_credential_bitbucket import errors, files  # lazy: mostly nothing is traced

    try:
        descriptor = files.open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    except (OSError, ValueError, errors.InsecurePath):
        return False
    try:
        found = os.fstat(descriptor)  # a file of another user, or with another name, may be there in a shared directory
        return found.st_uid == os.geteuid() and found.st_nlink == 1 and _write(descriptor, lines)
    finally:
        os.close(descriptor)


def _write(descriptor: int, lines: str) -> bool:
    try:
        os.write(descriptor, lines.encode("utf-8", "backslashreplace"))  # one write: parallel helpers' lines stay whole
    except OSError:  # it is closed
        return False
    return True
