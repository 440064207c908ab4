"""The process that was started, and the one that serves: a fork of it whose memory nobody could open before.

Whoever opens /proc/PID/mem while a program starts goes on reading after that program has forbidden it, for access is
checked on opening (proc_pid_mem(5)). A fork of a process that has forbidden it has a memory of its own, which could
never be opened. Linux only; elsewhere the process that was started serves. Imports the standard library only.
"""

from __future__ import annotations

import _socket  # not socket: the fork would copy what that imports
import os
import signal
import sys

from git_credential_bitbucket.daemon import hardening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

IS_SEPARATE = sys.platform.startswith("linux")
"""macOS has no /proc, and forbids much of its own libraries to a process that was forked."""
SUPERVISOR = "--supervisor"
"""The name of the descriptor that ends when its daemon is to leave."""
_CLEAN_EXIT = b"."


def separate(*, detached: bool) -> dict[str, int]:
    """Go on in a fork. Returns there the descriptor that its supervisor is at the other end of, if it has one.

    The process that was started ends at once (`detached`), or stays for whoever waits for its end: it tells the daemon
    of SIGTERM by ending the connection, and ends when the daemon, or the last of its successors, does. Call it when
    hardened, and without other threads.
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
    """Tell the starter on the readiness pipe, and let go of it and of the other standard descriptors."""
    try:
        os.write(1, text.encode("utf-8", "surrogateescape"))
    except OSError:  # it does not wait any more
        pass
    hardening.null_descriptors((0, 1, 2))


def report_clean_exit(descriptors: Mapping[str, int]) -> None:
    """Tell the supervisor, if there is one, that the end of this process is no crash."""
    try:
        if SUPERVISOR in descriptors:
            os.write(descriptors[SUPERVISOR], _CLEAN_EXIT)
    except OSError:  # it was killed
        pass


def _supervise(connection: _socket.socket) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: connection.shutdown(_socket.SHUT_WR))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a daemon that a successor has taken over from
    hardening.null_descriptors((0, 1, 2))
    hardening.close_inherited([connection.fileno()])
    said = b""
    while chunk := connection.recv(1):
        said = chunk
    os._exit(0 if said == _CLEAN_EXIT else 1)
