"""Runs one command in our place: its streams and terminal are ours, signals are passed on, and so is how it ended."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket import processes
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import system_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_RUNNABLE, NOT_FOUND = 126, 127
"""What a shell ends with where it cannot run a command; env(1) does too."""
SI_KERNEL = 0x80
"""sigaction(2): sent by the kernel, as the terminal's signals are. A pid of 0 would also be a container's host."""
_PASSED_ON = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})
_WATCHED = _PASSED_ON | {signal.SIGCHLD}
_FROM_TERMINAL = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})
# Python ignores these; a command expects to be ended by them.
_AS_USUAL = (signal.SIGPIPE, signal.SIGXFSZ)


def run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `command`, found in PATH, to its end; returns its exit status, or 128 and the signal that ended it.

    Signals stay blocked afterwards: what is left to do is to clean up, and that is not to be interrupted.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)  # ignored, as we may have inherited it, nobody could be waited for
    processes.forbid_tracing()  # or the command reads in /proc/PID/environ what we were started with
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        pid = os.posix_spawnp(command[0], list(command), dict(env), setsigmask=mask, setsigdef=_AS_USUAL)
    except (OSError, ValueError) as exc:
        why = system_reason(exc) if isinstance(exc, OSError) else "it contains a NUL byte"
        messages.error(f"{command[0]} cannot be run: {why}", "check its name, its mode and PATH")
        return NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_RUNNABLE
    while True:
        number, from_terminal = _next_signal()
        if number == signal.SIGCHLD:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif not from_terminal:
            os.kill(pid, number)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it: then the command, in the same process group, has it too."""
    if sys.platform == "darwin":  # nobody tells there who sent it
        number = signal.sigwait(_WATCHED)
        return number, number in _FROM_TERMINAL
    told = signal.sigwaitinfo(_WATCHED)
    return told.si_signo, told.si_signo in _FROM_TERMINAL and told.si_code == SI_KERNEL
