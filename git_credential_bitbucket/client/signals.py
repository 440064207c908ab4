"""Delays signals during a renewal: between Bitbucket's answer and the disk, the refresh token is in this process only.

For the in-process agent, which Ctrl-C reaches as it reaches git; the daemon's counterpart is `daemon/lifecycle.py`.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager

from git_credential_bitbucket.client import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from git_credential_bitbucket.agent.renewal import Renewals

EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
POLL_S = 0.01


@contextmanager
def delay_signals(renewals: "Renewals") -> "Iterator[None]":
    """Within, a signal that ends this process takes effect when no renewal is under way; no other one begins.

    A renewal ends within the transport's limit of 5 minutes; a second Ctrl-C does not wait. Does nothing in a thread
    other than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in EXIT_SIGNALS}
    heeded = [number for number in EXIT_SIGNALS if former[number] not in (signal.SIG_IGN, None)]

    def end(number: int, frame: "FrameType | None") -> None:
        del frame
        renewals.stopping = True
        if renewals.is_requesting:
            if signal.SIGINT in heeded:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            messages.warning(messages.WAITING_FOR_BITBUCKET, "press Ctrl-C to exit at once, which may lose that login")
        while renewals.is_requesting:
            time.sleep(POLL_S)
        signal.signal(number, former[signal.Signals(number)])
        os.kill(os.getpid(), number)

    for number in heeded:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, former[number])
