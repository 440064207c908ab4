"""The agent in this process, where the daemon is switched off or cannot be started.

Signals are delayed during a renewal: between Bitbucket's answer and the disk, the refresh token is in this process
only, and Ctrl-C reaches it as it reaches git. The daemon's counterpart is `daemon/lifecycle.py`.
"""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

from git_credential_bitbucket.client import messages
from git_credential_bitbucket.client.activate import third_party
from git_credential_bitbucket.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from git_credential_bitbucket.agent.dispatch import Dispatcher
    from git_credential_bitbucket.agent.renewal import Renewals

EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
POLL_S = 0.01


def reply(action: str, body: bytes) -> bytes:
    """The reply to `action`, as the daemon's. Raises an `Error` where what a `store` brings would be lost at once."""
    third_party()
    # lazy: all that answers needs third-party packages
    from git_credential_bitbucket.agent.deferred_answer import wait_for
    from git_credential_bitbucket.agent.dispatch import CONTROL, Caller

    held = dispatcher()
    renewals = held.agent.renewals
    with (
        delay_signals(renewals),
        messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, waited=lambda: renewals.requesting_s),
    ):
        answer = wait_for(held.answer(action, body, Caller(os.getpid(), os.getuid(), CONTROL)) or b"")
        held.agent.close()
        for log in held.logs:
            log.close()
        if action == "store" and held.agent.credential_store.in_memory_only:
            cause = "the secret was not stored: there is no key to encrypt it, and no daemon to keep it in memory"
            raise Error(cause, hint="set GIT_CREDENTIAL_BITBUCKET_KEY_FILE, or run: git-credential-bitbucket login")
        return answer


@cache
def dispatcher() -> "Dispatcher":
    """The dispatcher of this process's agent; one, because `why` reports what `get` met."""
    from git_credential_bitbucket import access_log, git_config, paths, processes  # lazy: only the agent needs them
    from git_credential_bitbucket.agent.dispatch import Dispatcher
    from git_credential_bitbucket.agent.from_environment import build_agent
    from git_credential_bitbucket.bitbucket.providers import find_now

    processes.forbid_tracing()
    git_config.adopt(os.environ)
    # In threads, for a job may wait for another; and git's configuration does not change under one command.
    agent = build_agent(os.environ, ThreadPoolExecutor(max_workers=4).submit, cache(partial(find_now, os.environ)))
    log: str | None = None
    events: access_log.AccessLog | None = None
    try:
        agent.consumers_dir = paths.runtime_dir(os.environ)
        events = access_log.AccessLog(access_log.event_log_path(os.environ), access_log.EVENT_RETENTION_S)
        log = access_log.log_path(os.environ)
    except Error:  # without a home there are no logs and no shared tokens
        pass
    return Dispatcher(agent, None, None if log is None else access_log.AccessLog(log), events)


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
