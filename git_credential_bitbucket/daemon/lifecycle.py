"""The daemon's life cycle once it listens: ticks, idle exit, a lost path, upgrades, and the way it stops.

Before it stops, pending connections are served, jobs end and deferred writes are done. A request to stop is refused
while a login or token would be lost; a signal is not.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from git_credential_bitbucket import __version__, config, git_config
from git_credential_bitbucket.daemon.limits import PEER_TIMEOUT_S
from git_credential_bitbucket.errors import Error, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from concurrent.futures import Future

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.daemon.listener import Listener
    from git_credential_bitbucket.daemon.server import Server
    from git_credential_bitbucket.daemon.thread_pool import ThreadPool
    from git_credential_bitbucket.daemon.upgrade import PackageWatch

IDLE_EXIT = "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT"
IDLE_EXIT_S = 3600.0
"""An unused daemon exits after this time, unless something would be lost; 0 means never."""
CHECK_INTERVAL_S = 5.0
"""The interval at which an idle daemon checks its paths and its package."""
TICK_AFTER_USE_S = 1.0
"""The agent's tick follows a use within this time: a use may change what is due."""
TICK_AFTER_FAULT_S = 60.0
STOP_TIMEOUT_S = 60.0
"""More than a peer and its answer may take together. While a renewal is under way the daemon does not stop: Bitbucket's
answer, due within the transport's 5 minutes, may hold the only valid refresh token."""
UPGRADE_WAIT_S = 10.0
"""How long an upgrade waits for a moment without clients; then new ones wait in the socket's queue."""
STALLED_PEER_S = 1.0
"""The time that a stalled peer then still has."""


LOCK_AFTER = "GIT_CREDENTIAL_BITBUCKET_LOCK_AFTER"
"""Seconds without use after which the key is forgotten, as by the verb `lock`; 0, the default, means never."""


def clock() -> float:
    """Seconds of a clock that runs while the machine sleeps and is never set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def seconds_of(env: Mapping[str, str], name: str, default: float) -> float:
    """A setting in seconds, 0 for never. Raises `SettingsError` where it is no number."""
    text = env.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        hint = f"write {name}=3600, or 0 for never"
        raise SettingsError(f"{config.describe(name)} is not a number of seconds", hint=hint)
    return seconds


class Lifecycle:
    """The state of a running daemon: serving, upgrading, stopping."""

    def __init__(
        self,
        claim: Listener,
        workers: ThreadPool,
        idle_exit: float,
        watch: PackageWatch | None,
        started_at: float,
        lock_after: float = 0.0,
        idle_s: float = 0.0,
    ) -> None:
        """`watch` None: no upgrade, as for a daemon of one command; `started_at` is in epoch seconds.

        `idle_s` is for how long its predecessor had been idle.
        """
        self.claim = claim
        self.started_at = started_at
        self._workers = workers
        self._idle_exit = idle_exit
        self._lock_after = lock_after
        self.lock_for_idleness: Callable[[], None] = lambda: None
        self._watch = watch
        self.adopted: MutableMapping[str, str] | None = None
        """Our settings as adopted from git's configuration; None where changes of it do not matter."""
        self._reading: Future[bool] | None = None
        self._check: Callable[[], bool] | None = None
        self._checking: Future[bool] | None = None
        self._upgrade_at: float | None = None
        self._stopping_at: float | None = None
        self._exit_requested = False
        self._saving: Future[None] | None = None
        self._released = False
        self._closing: Future[None] | None = None
        now = time.monotonic()
        # The first answer comes before both.
        self._tick_at = now + TICK_AFTER_USE_S
        self._check_at = now + min(CHECK_INTERVAL_S, idle_exit or CHECK_INTERVAL_S, lock_after or CHECK_INTERVAL_S)
        self._ticked_at = now
        self._served = 0
        self._used_at = clock() - idle_s
        self._was_locked = True  # the successor of a locked daemon has no key

    def mark_used(self) -> None:
        """A credential was requested or changed: the idle time restarts."""
        self._used_at = clock()

    @property
    def idle_s(self) -> float:
        """The seconds since the last use, those of the machine's sleep included."""
        return clock() - self._used_at

    @property
    def is_stopping(self) -> bool:
        """Whether this daemon is stopping, so that no successor may take over."""
        return self._stopping_at is not None

    def leave(self) -> None:
        """Begin to stop; `run` returns when nothing is pending any more."""
        if self._stopping_at is None:
            self._stopping_at = time.monotonic()
            self._upgrade_at = None

    def request_exit(self, force: bool) -> None:  # noqa: FBT001 - passed on as `Dispatcher` calls it
        """Stop; without `force`, refuse if something would be lost."""
        if force:
            self.leave()
        self._exit_requested = True

    def install_signal_handlers(self, server: Server) -> None:
        """Stop on SIGTERM and SIGINT. The descriptor wakes the loop."""
        signal.set_wakeup_fd(server.wake_descriptor, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.leave())

    def stop_with(self, descriptor: int, server: Server) -> None:
        """Stop when the pipe `descriptor` ends: the process at its other end has ended."""

        def ended() -> None:
            if not os.read(descriptor, 4096):
                server.forget(descriptor)
                self.leave()

        server.on_readable(descriptor, ended)

    def facts(self, server: Server) -> list[tuple[str, str]]:
        """The facts of this process for `status` and `ping`."""
        told = [
            ("pid", str(os.getpid())),
            ("version", __version__),
            ("uptime", str(int(time.time() - self.started_at))),
            ("clients", str(server.clients)),
            ("served", str(server.served)),
        ]
        if self._stopping_at is not None:
            told.append(("leaving", "1"))
        if server.fault:
            told.append(("fault", server.fault))
        return told

    def run(
        self, server: Server, agent: Agent, can_start: Callable[[], bool], start_successor: Callable[[], None]
    ) -> None:
        """Serve until the daemon stops and all clients are served.

        `can_start` tells, in a job, whether the installed package can be started; `start_successor` starts it, and
        returns only if that failed.
        """
        self._check = can_start
        if self._lock_after:
            server.on_wake = lambda: self._lock_if_idle(server, agent)
        while not self._is_finished(server, agent):
            server.turn(self._wait())
            now = time.monotonic()
            if server.served != self._served:
                self._served = server.served
                self._tick_at = min(self._tick_at, self._ticked_at + TICK_AFTER_USE_S)
                self._check_at = min(self._check_at, now + CHECK_INTERVAL_S / 5)
            if self._exit_requested:
                self._handle_exit(server, agent)
            if self._stopping_at is not None:
                continue
            if now >= self._tick_at:
                self._ticked_at = now
                self._tick_at = now + server.catch_fault(agent.tick, otherwise=TICK_AFTER_FAULT_S)
            if now >= self._check_at:
                self._check_state(server, agent, now)
            self._check_lock(agent, now)
            if self._upgrade_at is not None and not self._exit_requested:
                self._upgrade(server, agent, now, start_successor)
        server.reply_to_exit()

    def _wait(self) -> float:
        if self._stopping_at is not None or self._upgrade_at is not None or self._exit_requested:
            return 0.1
        return min(self._tick_at, self._check_at) - time.monotonic()

    def _handle_exit(self, server: Server, agent: Agent) -> None:
        """Stop as requested, once every new token is written to the vault; refuse where one cannot be written."""
        if self._stopping_at is None and agent.renewals.is_requesting:
            return
        if self._stopping_at is None and agent.renewals.unwritten:
            if self._saving is None:
                self._saving = self._workers.submit(agent.renewals.write_answers)
            if not self._saving.done():
                return
        if self._stopping_at is None and agent.renewals.unwritten:
            server.reply_to_exit(_unwritten_refusal(agent))
        elif self._stopping_at is None and agent.credential_store.in_memory_only:
            server.reply_to_exit(_memory_refusal(agent))
        else:
            self.leave()
        self._exit_requested, self._saving = False, None

    def _check_state(self, server: Server, agent: Agent, now: float) -> None:
        """The checks at `CHECK_INTERVAL_S`."""
        self._check_at = now + CHECK_INTERVAL_S
        if self._lock_after and agent.credential_store.vault.key is not None:
            self._lock_if_idle(server, agent)
            self._check_at = min(self._check_at, now + max(self._lock_after - self.idle_s, 0.1))
        if server.is_half_loaded and self._watch is not None:
            self._watch.mark_incomplete(now)
        if not self.claim.owns_paths() or self._is_idle(server, agent, now):
            self.leave()
        elif self._watch is not None and self._upgrade_at is None:
            self._check_upgrade(self._watch, now)
        if self.adopted is not None:
            self._check_settings(self.adopted, now)

    def _lock_if_idle(self, server: Server, agent: Agent) -> None:
        """Lock the vault when it has been unused for long enough; clients that have connected are served first."""
        late = self.idle_s - self._lock_after
        if (
            late >= 0
            and (not server.clients or late >= PEER_TIMEOUT_S)
            and agent.credential_store.vault.key is not None
        ):
            server.catch_fault(self.lock_for_idleness, None)

    def _is_idle(self, server: Server, agent: Agent, now: float) -> bool:
        if not self._idle_exit:
            return False
        left = self._idle_exit - self.idle_s
        if left > 0 or server.clients:
            self._check_at = min(self._check_at, now + max(left, 0.1))
            return False
        return not self._workers.busy and not server.catch_fault(agent.must_keep_running, otherwise=True)

    def _check_lock(self, agent: Agent, now: float) -> None:
        """Start a successor once the vault is locked: its memory never held the tokens, which Python does not wipe."""
        locked = agent.credential_store.locked_by_person
        if locked and not self._was_locked and self._watch is not None:
            self._upgrade_at = now
        self._was_locked = locked

    def _check_settings(self, adopted: MutableMapping[str, str], now: float) -> None:
        """Stop when our settings in git's configuration have changed: the next `get` starts another daemon."""
        if self._reading is not None and self._reading.done():
            self._exit_requested = self._exit_requested or self._reading.result()
            self._reading = None
        elif self._reading is None and git_config.is_stale(adopted):
            self._reading = self._workers.submit(lambda: git_config.has_changed(adopted))
            self._check_at = min(self._check_at, now + CHECK_INTERVAL_S / 5)

    def _check_upgrade(self, watch: PackageWatch, now: float) -> None:
        if self._checking is None:
            if watch.has_settled(now) and self._check is not None:
                self._checking = self._workers.submit(self._check)
        elif self._checking.done():
            if not watch.has_settled(now):
                pass  # it changed while it was checked
            elif self._checking.result():
                self._upgrade_at = now
            else:
                watch.retry_later(now)
            self._checking = None
        if watch.changed:
            self._check_at = min(self._check_at, now + CHECK_INTERVAL_S / 5)

    def _upgrade(self, server: Server, agent: Agent, now: float, start_successor: Callable[[], None]) -> None:
        """Start the successor once it is idle."""
        if self._upgrade_at is None or self._watch is None:
            return
        if agent.renewals.is_requesting:  # it may take minutes, and clients do not wait so long
            self._upgrade_at = now
            server.accept_again()
            return
        if now - self._upgrade_at > UPGRADE_WAIT_S:
            server.pause()
            server.shorten_deadlines(STALLED_PEER_S)
        if server.clients or not self._is_closed(agent):
            return
        start_successor()
        # That failed: serve on.
        self._watch.retry_later(now)
        self._upgrade_at = self._closing = None
        server.accept_again()

    def _is_closed(self, agent: Agent) -> bool:
        """Whether all jobs have ended, the last of which does the deferred writes."""
        if self._workers.busy:
            return False
        if self._closing is None:
            self._closing = self._workers.submit(agent.close)
            return False
        return self._closing.done()

    def _is_finished(self, server: Server, agent: Agent) -> bool:
        if self._stopping_at is None:
            return False
        agent.renewals.stopping = True
        if time.monotonic() - self._stopping_at > STOP_TIMEOUT_S and not agent.renewals.is_requesting:
            return True
        self._released = self._released or self.claim.release()
        if not self._released or not server.serve_backlog() or server.clients:
            return False
        return self._is_closed(agent)


def _unwritten_refusal(agent: Agent) -> bytes:
    """The refusal to stop while a login's new refresh token could not be written to the vault."""
    from git_credential_bitbucket.agent.agent import error_answer  # lazy: listening comes first

    troubles = agent.renewals.troubles
    trouble = next((troubles[name] for name in agent.renewals.unwritten if name in troubles), None)
    cause, remedy = "", "stop it again once the vault can be written"
    if trouble is not None:
        cause, remedy = f": {trouble.cause}", f"{trouble.hint or remedy}; then stop it again"
    return error_answer(
        Error(
            f"the daemon did not stop: the new token of a login is not written to the vault yet{cause}",
            hint=f"{remedy}; to stop now and lose that login, run: git-credential-bitbucket daemon stop --force",
        )
    )


def _memory_refusal(agent: Agent) -> bytes:
    """The refusal to stop while credentials are in memory only; Bitbucket shows a token only once."""
    from git_credential_bitbucket.agent.agent import error_answer  # lazy: as above
    from git_credential_bitbucket.agent.naming import names_of

    return error_answer(
        Error(
            f"the daemon did not stop: its memory alone holds {names_of(agent.credential_store.in_memory_only)}",
            hint="to store it, log in without --memory; to stop now and lose it, run: "
            "git-credential-bitbucket daemon stop --force",
        )
    )
