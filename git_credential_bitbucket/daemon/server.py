"""The event loop: accepts connections, reads requests, writes answers. One thread; nothing here blocks.

The protocol is git-credential-cache's: one request a connection, ended by the peer's half-close, the reply by ours. A
stalled peer costs a descriptor until its deadline, and delays no other.
"""

from __future__ import annotations

import errno
import math
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from git_credential_bitbucket.daemon import limits
from git_credential_bitbucket.daemon.connection import Connection, Stage
from git_credential_bitbucket.daemon.peers import Peer, is_owners, peer_of
from git_credential_bitbucket.git_protocol import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.deferred_answer import Deferred
    from git_credential_bitbucket.agent.dispatch import Role

Answer = Callable[[bytes, Peer, "Role"], "bytes | Deferred | None"]
"""Answers a request. None: the peer asked the daemon to stop, and is answered by `reply_to_exit`."""
Admit = Callable[[Peer], "Role | None"]
"""The role of a peer at one of the sockets; None: it is not served."""

T = TypeVar("T")
U = TypeVar("U")
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """The listening sockets and their connections."""

    def __init__(
        self, listeners: Mapping[socket.socket, Admit], answer: Answer, peer_limits: limits.Limits | None = None
    ) -> None:
        """`listeners` are bound and listening; `answer` is called in the loop's thread with every whole request."""
        self._listeners = dict(listeners)
        self.on_wake: Callable[[], None] = lambda: None
        """Called after each wait, before events are handled."""
        self.on_answered: Callable[[], None] = lambda: None
        """Called when all requests that had arrived are answered."""
        self.served = 0
        self.fault, self.is_half_loaded = "", False
        self._answer = answer
        self._limits = peer_limits or limits.Limits()
        self._clients: dict[int, Connection] = {}
        self._exiting: list[Connection] = []
        self._kept, self._sweep_at = 0, 0.0
        self._ended: deque[tuple[Connection, Deferred]] = deque()
        self._arrived: list[Connection] = []
        self._selector = selectors.DefaultSelector()
        self._accepting = self._full = False
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0.0)
        self._waker.settimeout(0.0)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda: self._woken.recv(4096))
        for listener in listeners:
            listener.settimeout(0.0)
        self.accept_again()

    @property
    def clients(self) -> int:
        """The number of connections that are served, without those that asked the daemon to stop."""
        return len(self._clients) - len(self._exiting)

    @property
    def wake_descriptor(self) -> int:
        """A byte written here ends the present wait: for signal.set_wakeup_fd."""
        return self._waker.fileno()

    def wake(self) -> None:
        """End the present wait of the loop. May be called from any thread."""
        try:
            self._waker.send(b"\0")
        except OSError:  # full: it is woken already
            pass

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call `call` whenever `descriptor` can be read or has ended, until it is closed."""
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def forget(self, descriptor: int) -> None:
        """Stop watching `descriptor`."""
        self._selector.unregister(descriptor)

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for events, and handle them."""
        if self._clients or not self._accepting:
            seconds = min(seconds, limits.SWEEP_INTERVAL_S)
        ready = self._selector.select(max(seconds, 0.0))
        self.on_wake()
        for key, _ in ready:
            if isinstance(key.data, Connection):
                self._serve(key.data)
            else:
                key.data()
        self._answer_arrived()
        self._resume_ended()
        if time.monotonic() >= self._sweep_at:
            self._sweep(time.monotonic())

    def accept_again(self) -> None:
        """Accept connections (again)."""
        self._full = False
        if not self._accepting:
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
            self._accepting = True

    def add_listener(self, listener: socket.socket, admit: Admit) -> None:
        """Accept connections at one more socket, which is bound and listening."""
        listener.settimeout(0.0)
        self._listeners[listener] = admit
        if self._accepting:
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def remove_listener(self, listener: socket.socket) -> None:
        """Close a socket. Connections that were accepted there are served to their end."""
        if self._listeners.pop(listener, None) is not None and self._accepting:
            self._selector.unregister(listener)
        listener.close()

    def pause(self, *, full: bool = False) -> None:
        """Accept no more connections: they wait in the socket's queue. `full`: until the next sweep."""
        self._full = full
        if self._accepting:
            for listener in self._listeners:
                self._selector.unregister(listener)
            self._accepting = False

    def shorten_deadlines(self, seconds: float) -> None:
        """Limit peers that are sending or reading to `seconds` from now."""
        latest = time.monotonic() + seconds
        for client in self._clients.values():
            if client.stage is not Stage.WAITING:
                client.deadline = min(client.deadline, latest)

    def serve_backlog(self) -> bool:
        """Accept what waits in the sockets' queues; True once they are empty, and the sockets closed."""
        left = [listener for listener in [*self._listeners] if listener.fileno() >= 0 and not self._accept(listener)]
        self._answer_arrived()
        if left:
            return False
        self.pause()
        self._close_listeners()
        return True

    def reply_to_exit(self, answer: bytes = b"ok=1\n") -> None:
        """Answer the peers that asked the daemon to stop: it does, or why it does not."""
        while self._exiting:
            self._reply(self._exiting.pop(), answer)

    def close(self) -> None:
        """Close all connections and descriptors."""
        for client in [*self._clients.values()]:
            self._close(client)
        self.pause()
        self._close_listeners()
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket) -> bool:
        """Accept connections; True if none is left in the queue."""
        for _ in range(limits.ACCEPT_BATCH):
            is_full = len(self._clients) >= self._limits.clients
            if is_full and self._find_stalled() is None:
                self.pause(full=True)  # all wait for an answer
                return False
            try:
                # `accept` would take a fifth of an answer's time for what is not needed here.
                descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
            except BlockingIOError:
                return True
            except OSError as exc:
                if exc.errno in _NO_ROOM and not self._make_room():
                    self.pause(full=True)
                    return False
                continue  # the peer has gone, or there is room now
            if is_full:  # not before: without a newcomer nobody has to go
                self._make_room()
            self.on_wake()  # the machine may have slept since the last one
            self._admit(descriptor, self._listeners[listener])
        return False

    def _admit(self, descriptor: int, admit: Admit) -> None:
        connection = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()
            return
        role = admit(peer)
        if role is None or (not is_owners(role) and self._is_crowded() and not self._make_room(guests_only=True)):
            connection.close()
            return
        client = Connection(connection, peer, role, time.monotonic() + self._limits.peer_s)
        self._clients[descriptor] = client
        self._receive(client)  # at once: mostly the whole request is there

    def _is_crowded(self) -> bool:
        """Whether other users have as many connections as they may: half."""
        return len(self._guests()) >= self._limits.clients // 2

    def _guests(self) -> list[Connection]:
        return [client for client in self._clients.values() if not is_owners(client.role)]

    def _make_room(self, *, guests_only: bool = False) -> bool:
        """Close the connection that has been sending for longest, a guest's first; False if there is none."""
        stalled = self._find_stalled(guests_only=guests_only)
        if stalled is None:
            return False
        self._close(stalled)
        return True

    def _find_stalled(self, *, guests_only: bool = False) -> Connection | None:
        others = () if guests_only else self._clients.values()
        return next((c for c in (*self._guests(), *others) if c.stage is Stage.SENDING), None)

    def _largest_sender(self) -> Connection:
        """The connection with the largest unfinished request; a guest's, if guests hold half of the limit."""
        guests = self._guests()
        among = (
            guests if sum(guest.kept for guest in guests) > limits.MAX_BUFFERED_BYTES // 2 else self._clients.values()
        )
        return max(among, key=lambda client: client.kept)

    def _serve(self, client: Connection) -> None:
        if client.stage is Stage.SENDING:
            self._receive(client)
        elif client.stage is Stage.READING:
            self._send(client)

    def _receive(self, client: Connection) -> None:
        for _ in range(limits.READS_PER_TURN):
            try:
                chunk = client.connection.recv(limits.READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                self._close(client)
                return
            if not chunk:
                self._kept -= client.kept
                client.stage = Stage.WAITING
                self._arrived.append(client)
                if client.received > limits.READ_BYTES:  # not to be kept until others have arrived, too
                    self._answer_arrived()
                return
            self._kept += client.take(chunk, MAX_REQUEST_BYTES + limits.MAX_HEADER_BYTES)
            if client.received > limits.MAX_DISCARDED_BYTES:
                self._close(client)
                return
        self._expect(client, selectors.EVENT_READ)
        if self._kept > limits.MAX_BUFFERED_BYTES:
            self._close(self._largest_sender())

    def _answer_arrived(self) -> None:
        """Have the requests answered that are complete."""
        if self._arrived:
            for client in self._arrived:
                self._on_request(client)
            self._arrived.clear()
            self.on_answered()

    def _on_request(self, client: Connection) -> None:
        self.served += 1
        client.deadline = time.monotonic() + self._limits.answer_s
        if client.too_large:
            self._reply(client, b"")
            return
        request = client.request()
        self._reply(client, self.catch_fault(lambda: self._answer(request, client.peer, client.role), b""))

    def catch_fault(self, question: Callable[[], T], otherwise: U) -> T | U:
        """The result of `question`, or `otherwise` where it raises; `status` shows the fault."""
        try:
            return question()
        except Exception as exc:  # noqa: BLE001 - any fault of ours, in this one place
            self.fault = kind_and_location(exc)
            self.is_half_loaded |= isinstance(exc, (ImportError, MemoryError))
            return otherwise

    def _reply(self, client: Connection, reply: bytes | Deferred | None) -> None:
        if isinstance(reply, bytes):
            client.pending = None
            client.unsent = reply
            client.stage = Stage.READING
            client.deadline = time.monotonic() + self._limits.peer_s
            self._send(client)
            return
        self._expect(client, 0)  # its end would be reported again and again
        client.pending = reply
        if reply is None:
            client.deadline = math.inf  # it waits until the daemon stops
            self._exiting.append(client)
            return
        reply.future.add_done_callback(lambda _: self._job_ended(client, reply))

    def _job_ended(self, client: Connection, pending: Deferred) -> None:
        """Called in the worker's thread, or at once if the job has ended already."""
        self._ended.append((client, pending))
        self.wake()

    def _resume_ended(self) -> None:
        for _ in range(len(self._ended)):
            client, pending = self._ended.popleft()
            if client.pending is pending:  # else the deadline has passed
                self._reply(client, self.catch_fault(pending.resume, b""))

    def _send(self, client: Connection) -> None:
        try:
            sent = client.connection.send(client.unsent, socket.MSG_DONTWAIT) if client.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:  # it has gone
            self._close(client)
            return
        if sent < len(client.unsent):
            client.unsent = memoryview(client.unsent)[sent:]  # megabytes are not copied at each turn
            self._expect(client, selectors.EVENT_WRITE)
        else:
            self._close(client)

    def _expect(self, client: Connection, events: int) -> None:
        if events == client.events:
            return
        if not events:
            self._selector.unregister(client.connection)
        elif not client.events:
            self._selector.register(client.connection, events, client)
        else:
            self._selector.modify(client.connection, events, client)
        client.events = events

    def _close(self, client: Connection) -> None:
        if client.stage is Stage.GONE:
            return
        self._expect(client, 0)
        self._kept -= client.kept
        self._clients.pop(client.connection.fileno(), None)
        client.stage = Stage.GONE  # its event may be among those of this turn
        client.pending = None
        client.connection.close()

    def _sweep(self, now: float) -> None:
        """Close connections and give up jobs whose deadline has passed."""
        self._sweep_at = now + limits.SWEEP_INTERVAL_S
        if self._full:
            self.accept_again()
        for client in [c for c in self._clients.values() if c.deadline <= now]:
            if client.pending is not None:
                self._reply(client, self.catch_fault(client.pending.give_up, b""))
            else:
                self._close(client)


def kind_and_location(exc: Exception) -> str:
    """The type of an exception and the line that raised it; never its text, which may repeat what was sent."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    location = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(exc).__name__} at {location}"
