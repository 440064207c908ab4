"""The supervisor and its fork, which serves, and whose memory no other process could open before.

A process that opens /proc/PID/mem before that is forbidden goes on reading: access is checked on opening
(proc_pid_mem(5)). A fork made afterwards has memory that could never be opened. Linux only; elsewhere the process that
was started serves. Imports the standard library only.
"""

from __future__ import annotations

import _socket  # socket imports more, which the fork would copy
import os
import signal
import sys

from git_credential_bitbucket.daemon import hardening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

IS_SEPARATE = sys.platform.startswith("linux")
"""macOS has no /proc, and its libraries do not work in a forked process."""
SUPERVISOR = "--supervisor"
"""The name of the descriptor whose end tells the daemon to stop."""
_CLEAN_EXIT = b"."


def separate(*, detached: bool) -> dict[str, int]:
    """Continue in a fork. Returns there the descriptor of the connection to the supervisor, if there is one.

    The original process exits at once (`detached`), or stays as the supervisor: it passes SIGTERM on by closing the
    connection, and exits when the daemon or the last of its successors does. Call it after hardening, without other
    threads.
    """
    if not IS_SEPARATE:
        return {}
    if detached:
        if os.fork() != 0:
            os._exit(0)
        return {}
    ours, theirs = _socket.socketpair()
    if os.fork() != 0:
        _supervise(ours)
    ours.close()
    return {SUPERVISOR: theirs.detach()}


def report(text: str) -> None:
    """Write to the readiness pipe, and close it and the other standard descriptors."""
    try:
        os.write(1, text.encode("utf-8", "surrogateescape"))
    except OSError:  # the starter has gone
        pass
    hardening.null_descriptors((0, 1, 2))


def report_clean_exit(descriptors: Mapping[str, int]) -> None:
    """Tell the supervisor, if there is one, that this process does not crash."""
    try:
        if SUPERVISOR in descriptors:
            os.write(descriptors[SUPERVISOR], _CLEAN_EXIT)
    except OSError:  # it was killed
        pass


def _supervise(connection: _socket.socket) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: connection.shutdown(_socket.SHUT_WR))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # replaced daemons are not waited for
    hardening.null_descriptors((0, 1, 2))
    hardening.close_inherited([connection.fileno()])
    said = b""
    while chunk := connection.recv(1):
        said = chunk
    os._exit(0 if said == _CLEAN_EXIT else 1)
