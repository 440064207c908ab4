"""The loop with real sockets: peers that stall, drip, never end, send too much, or come in crowds."""

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket.agent.deferred_answer import Deferred
from git_credential_bitbucket.daemon import hardening
from git_credential_bitbucket.daemon.limits import MAX_BUFFERED_BYTES, Limits
from git_credential_bitbucket.daemon.peers import Peer
from git_credential_bitbucket.daemon.server import Answer, Server
from git_credential_bitbucket.git_protocol import MAX_REQUEST_BYTES
from tests.daemon.daemons import eventually, read_all
from tests.sockets import connected, listener_at


class Running:
    """A server in a thread of its own. Its state: the server, where it listens, whether it is to end."""

    def __init__(self, path: str, answer: Answer, limits: Limits) -> None:
        self.path = path
        listener, guests = listener_at(path, 1024), listener_at(f"{path}-guests", 1024)
        admit = {listener: lambda peer: "git" if peer.uid == os.getuid() else None, guests: lambda _: "guest"}
        self.server = Server(admit, answer, limits)  # type: ignore[arg-type]  # the roles are literals
        self.ending = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.ending:
            self.server.turn(0.2)

    def connect(self, door: str = "") -> socket.socket:
        """A connection that nothing was sent on; `-guests` is the other door."""
        return connected(self.path + door)

    def ask(self, data: bytes) -> bytes:
        """The whole answer."""
        with self.connect() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def end(self) -> None:
        """Stop the loop, and let go of everything."""
        self.ending = True
        self.server.wake()
        self.thread.join()
        self.server.close()


Serve = Callable[..., Running]


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    """Runs servers that answer with the request itself unless told otherwise."""
    running: list[Running] = []
    hardening.raise_open_files()  # both ends of every connection are in this process

    def echo(data: bytes, peer: Peer, role: object) -> bytes:
        del peer, role
        return b"got " + data

    def run(answer: Answer = echo, **limits: float) -> Running:
        one = Running(f"{home}/s{len(running)}", answer, Limits(**{"peer_s": 300.0, **limits}))  # type: ignore[arg-type]  # by name
        running.append(one)
        return one

    yield run
    for one in running:
        one.end()


def test_a_request_is_answered_at_its_end_and_not_before(serve: Serve) -> None:
    """The half-close ends a request, in however many pieces it came."""
    server = serve()
    with server.connect() as connection:
        for piece in (b"action=", b"get\n", b"timeout=9\n"):
            connection.sendall(piece)
            time.sleep(0.02)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"got action=get\ntimeout=9\n"


def test_a_stalled_peer_delays_nobody_and_is_dropped(serve: Serve) -> None:
    """Somebody connects, sends half a request and stops: others are answered meanwhile, and its time runs out."""
    server = serve()
    with server.connect() as stalled:
        stalled.sendall(b"action=get\n")
        eventually(lambda: server.server.clients == 1)
        assert server.ask(b"x") == b"got x"
        stalled.sendall(b"it is there still, or this would be refused\n")
    server = serve(peer_s=0.5)
    with server.connect() as stalled:
        stalled.sendall(b"action=get\n")
        assert read_all(stalled) == b""
    eventually(lambda: server.server.clients == 0)


def test_a_peer_that_drips_bytes_is_dropped_all_the_same(serve: Serve) -> None:
    """The time is for the whole request: a byte now and then does not prolong it."""
    server = serve(peer_s=0.5)
    with server.connect() as dripping, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        begun = time.monotonic()
        while time.monotonic() - begun < 30:
            dripping.sendall(b"a")
            time.sleep(0.05)
        pytest.fail("it was served for thirty seconds")


def test_a_peer_that_does_not_read_is_dropped(serve: Serve) -> None:
    """An answer larger than the socket's buffer that nobody reads does not stay for ever."""
    server = serve(lambda _data, _peer, _role: b"x" * (8 << 20), peer_s=0.5)
    with server.connect() as deaf:
        deaf.shutdown(socket.SHUT_WR)
        eventually(lambda: server.server.served == 1)
        eventually(lambda: server.server.clients == 0)


def test_a_large_answer_arrives_whole(serve: Serve) -> None:
    """What does not fit into the socket's buffer goes out in pieces, and others are served between them."""
    answer = os.urandom(4 << 20)
    server = serve(lambda data, _peer, _role: answer if data == b"much" else b"little")
    with server.connect() as slow:
        slow.sendall(b"much")
        slow.shutdown(socket.SHUT_WR)
        eventually(lambda: server.server.served == 1)
        assert server.ask(b"other") == b"little"
        assert read_all(slow) == answer


def test_a_thousand_idle_connections_leave_the_others_served(serve: Serve) -> None:
    """A crowd that says nothing is held off by dropping the longest silent, never the newcomer."""
    server = serve()
    with contextlib.ExitStack() as crowd:
        for _ in range(1000):
            crowd.enter_context(server.connect())
        eventually(lambda: server.server.clients == 1000)
        for number in range(200):
            assert server.ask(b"%d" % number) == b"got %d" % number
        assert server.server.clients >= 1000
        for _ in range(100):
            crowd.enter_context(server.connect())
        assert server.ask(b"still") == b"got still"
        assert server.server.clients <= Limits().clients


def test_a_request_above_one_mebibyte_is_read_to_its_end_and_answered_with_nothing(serve: Serve) -> None:
    """Closing with unread input would reset the connection, and git would complain instead of going on."""
    asked: list[bytes] = []

    def answer(data: bytes, _peer: Peer, _role: str) -> bytes:
        asked.append(data)
        return b"never"

    server = serve(answer)
    with server.connect() as large:
        large.sendall(b"a" * (3 * MAX_REQUEST_BYTES))
        large.shutdown(socket.SHUT_WR)
        assert large.recv(1) == b""
    assert not asked


def test_a_request_without_end_is_cut_off(serve: Serve) -> None:
    """Who sends for ever is closed after a bounded number of bytes, and costs the others nothing."""
    server = serve()

    def flood() -> int:
        sent = 0
        with server.connect() as endless, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1 << 30:
                sent += endless.send(b"a" * 65536)
        return sent

    with ThreadPoolExecutor() as pool:
        flooding = pool.submit(flood)
        assert server.ask(b"meanwhile") == b"got meanwhile"
        assert flooding.result() < 64 << 20


def test_unfinished_requests_of_many_peers_are_bounded_together(serve: Serve) -> None:
    """A hundred peers with a mebibyte each do not fill the memory: who holds most is dropped."""
    server = serve()
    with contextlib.ExitStack() as crowd:
        for _ in range(100):
            hoarder = crowd.enter_context(server.connect())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                hoarder.sendall(b"a" * (MAX_REQUEST_BYTES - 1))
        assert server.ask(b"others") == b"got others"
        assert server.server._kept <= MAX_BUFFERED_BYTES
        assert server.server.clients <= MAX_BUFFERED_BYTES // (MAX_REQUEST_BYTES - 1) + 1
    eventually(lambda: server.server._kept == 0)


def test_who_waits_for_a_job_delays_nobody(serve: Serve) -> None:
    """While one answer waits for a job, a hundred others are given."""
    with ThreadPoolExecutor() as pool:
        release = threading.Event()

        def answer(data: bytes, _peer: Peer, _role: str) -> bytes | Deferred:
            return Deferred(pool.submit(release.wait), lambda: b"late") if data == b"slow" else b"quick"

        server = serve(answer)
        with server.connect() as slow:
            slow.sendall(b"slow")
            slow.shutdown(socket.SHUT_WR)
            eventually(lambda: server.server.served == 1)
            assert {server.ask(b"x") for _ in range(100)} == {b"quick"}
            release.set()
            assert read_all(slow) == b"late"


def test_a_job_may_be_followed_by_another(serve: Serve) -> None:
    """An answer can wait more than once (for the key, then for a renewal)."""
    with ThreadPoolExecutor() as pool:

        def after(left: int) -> bytes | Deferred:
            return Deferred(pool.submit(lambda: None), lambda: after(left - 1)) if left else b"done"

        assert serve(lambda _data, _peer, _role: after(3)).ask(b"x") == b"done"


def test_at_the_deadline_there_is_an_answer_with_what_there_is(serve: Serve) -> None:
    """A job that takes too long is given up; when it ends after all, nobody is confused by it."""
    with ThreadPoolExecutor() as pool:
        release = threading.Event()

        def answer(data: bytes, _peer: Peer, _role: str) -> bytes | Deferred:
            if data != b"slow":
                return b"quick"
            return Deferred(pool.submit(release.wait), lambda: b"too late", lambda: b"the old one")

        server = serve(answer, answer_s=0.3)
        assert server.ask(b"slow") == b"the old one"
        release.set()
        assert server.ask(b"x") == b"quick"
        eventually(lambda: server.server.clients == 0)


def test_a_peer_that_goes_away_while_it_is_waited_for_is_forgotten(serve: Serve) -> None:
    """Somebody killed git in the middle: the job ends, and its answer goes nowhere."""
    with ThreadPoolExecutor() as pool:
        release = threading.Event()
        server = serve(lambda _data, _peer, _role: Deferred(pool.submit(release.wait), lambda: b"for nobody"))
        with server.connect() as gone:
            gone.sendall(b"x")
            gone.shutdown(socket.SHUT_WR)
            eventually(lambda: server.server.clients == 1)
        release.set()
        eventually(lambda: server.server.clients == 0)


def test_what_has_arrived_together_is_answered_before_the_state_is_looked_at_again(home: Path) -> None:
    """What is answered from one look at the state had arrived before that, to its end."""
    done: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as peers:
        listener.bind(f"{home}/s")
        listener.listen()

        def connect() -> socket.socket:
            one = peers.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(f"{home}/s")
            return one

        def answer(data: bytes, _peer: Peer, _role: object) -> bytes:
            done.append(data)
            if data == b"0":
                late.shutdown(socket.SHUT_WR)
            return b"answer"

        server = Server({listener: lambda _: "git"}, answer)
        server.on_answered = lambda: done.append(b"looked")
        several, late = [connect() for _ in range(3)], connect()
        for number, one in enumerate(several):
            one.sendall(b"%d" % number)
            one.shutdown(socket.SHUT_WR)
        late.sendall(b"late")
        for _ in range(2):
            server.turn(1)
        assert done == [b"0", b"1", b"2", b"looked", b"late", b"looked"]
        assert [one.recv(10) for one in (*several, late)] == [b"answer"] * 4
        server.close()


def test_a_fault_of_ours_is_one_empty_answer(serve: Serve) -> None:
    """What nobody thought of costs one answer, not the daemon; it is told by kind and place, without its text."""

    def answer(data: bytes, _peer: Peer, _role: str) -> bytes:
        if data == b"good":
            return b"fine"
        raise KeyError(data.decode())

    server = serve(answer)
    assert server.ask(b"the-secret") == b""
    assert server.ask(b"good") == b"fine"
    assert server.server.fault.startswith("KeyError at ")
    assert "the-secret" not in server.server.fault


def test_when_everybody_waits_newcomers_queue_and_none_is_refused(serve: Serve) -> None:
    """At the limit with nobody to drop, the socket's own queue holds the next ones until somebody is answered."""
    with ThreadPoolExecutor(10) as jobs, ThreadPoolExecutor(10) as peers:
        release = threading.Event()
        working: list[Future[bool]] = []

        def answer(_data: bytes, _peer: Peer, _role: str) -> Deferred:
            working.append(jobs.submit(release.wait))
            return Deferred(working[-1], lambda: b"done")

        server = serve(answer, clients=4)
        try:
            first = [peers.submit(server.ask, b"x") for _ in range(4)]
            eventually(lambda: len(working) == 4)  # a peer that has said nothing yet is one to drop
            asking = [*first, *(peers.submit(server.ask, b"x") for _ in range(6))]
        finally:
            release.set()
        assert [one.result() for one in asking] == [b"done"] * 10


def test_at_the_limit_nobody_is_dropped_without_a_newcomer(serve: Serve) -> None:
    """The last one that there is room for has not said anything when it is accepted."""
    server = serve(clients=4)
    with contextlib.ExitStack() as crowd:
        silent = [crowd.enter_context(server.connect()) for _ in range(4)]
        eventually(lambda: server.server.clients >= 3)
        for number, one in enumerate(silent):
            one.sendall(b"%d" % number)
            one.shutdown(socket.SHUT_WR)
            assert read_all(one) == b"got %d" % number


def test_a_crowd_of_guests_drops_nobody_elses_connection(serve: Serve) -> None:
    """They connect faster than an owner far away sends, or send more; the longest silent of them make room."""
    server = serve(clients=8)
    with contextlib.ExitStack() as crowd, server.connect() as slow:
        slow.sendall(b"a" * (MAX_REQUEST_BYTES - 1))
        eventually(lambda: server.server._kept == MAX_REQUEST_BYTES - 1)
        for _ in range(20):
            guest = crowd.enter_context(server.connect("-guests"))
            with contextlib.suppress(OSError):
                guest.sendall(b"b" * 65536)
        eventually(lambda: server.server.clients == 5)
        slow.shutdown(socket.SHUT_WR)
        assert read_all(slow).startswith(b"got aaa")
        assert server.ask(b"x") == b"got x"


def test_guests_who_hold_most_are_dropped_before_an_owner(serve: Serve) -> None:
    """Many guests that hold somewhat less each: theirs is what is too much."""
    server = serve(clients=100)
    with contextlib.ExitStack() as crowd, server.connect() as slow:
        slow.sendall(b"a" * (MAX_REQUEST_BYTES - 1))
        eventually(lambda: server.server._kept == MAX_REQUEST_BYTES - 1)
        for _ in range(40):
            guest = crowd.enter_context(server.connect("-guests"))
            with contextlib.suppress(OSError):
                guest.sendall(b"b" * (MAX_REQUEST_BYTES // 2))
        slow.shutdown(socket.SHUT_WR)
        assert read_all(slow).startswith(b"got aaa")


def test_guests_who_all_wait_leave_the_owner_served(serve: Serve) -> None:
    """A renewal that hangs, asked for by more guests than there may be connections."""
    held: Future[None] = Future()

    def answer(_data: bytes, _peer: Peer, role: str) -> bytes | Deferred:
        return Deferred(held, lambda: b"done") if role == "guest" else b"at once"

    server = serve(answer, clients=4)
    with contextlib.ExitStack() as crowd:
        for _ in range(10):
            guest = crowd.enter_context(server.connect("-guests"))
            with contextlib.suppress(OSError):
                guest.sendall(b"x")
                guest.shutdown(socket.SHUT_WR)
        eventually(lambda: server.server.served >= 2)
        assert server.ask(b"y") == b"at once"
        held.set_result(None)


def test_running_out_of_descriptors_is_survived(serve: Serve) -> None:
    """Where the system gives no more, the longest silent peer is dropped, and the loop neither ends nor spins."""
    server = serve()
    silent = [server.connect() for _ in range(3)]
    eventually(lambda: server.server.clients == 3)
    hoard: list[int] = []
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, usual[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                hoard.append(os.dup(silent[0].fileno()))
        os.close(hoard.pop())
        assert server.ask(b"x") == b"got x"
        assert server.server.clients < 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        for descriptor in hoard:
            os.close(descriptor)
        for connection in silent:
            connection.close()


def test_who_asks_to_leave_counts_until_we_do(serve: Serve) -> None:
    """While Bitbucket's answer is waited for, say: no more connections than any other peers may have."""
    asked: list[bytes] = []

    def leave(data: bytes, _peer: Peer, _role: str) -> None:
        asked.append(data)

    server = serve(leave, clients=4)
    leaving = []
    for _ in range(10):
        leaving.append(server.connect())
        leaving[-1].shutdown(socket.SHUT_WR)
    eventually(lambda: len(asked) == 4 and server.server.clients == 0)
    server.server.on_readable(leaving[0].fileno(), lambda: None)  # a turn of the loop, at the least
    server.server.forget(leaving[0].fileno())
    assert len(asked) == 4
    for _ in range(3):
        eventually(lambda: len(asked) in (4, 8, 10))
        server.server.reply_to_exit()
        server.server.wake()
    for connection in leaving:
        connection.close()


def test_while_it_pauses_newcomers_queue_and_the_stalled_are_hurried(home: Path) -> None:
    """Before it starts anew: nobody is refused, and nobody who stalls keeps the others waiting."""
    with listener_at(f"{home}/s") as listener:
        server = Server({listener: lambda _: "git"}, lambda _data, _peer, _role: b"answer")
        with socket.socket(socket.AF_UNIX) as stalled, socket.socket(socket.AF_UNIX) as newcomer:
            stalled.connect(f"{home}/s")
            server.turn(1)
            server.pause()
            newcomer.connect(f"{home}/s")
            newcomer.shutdown(socket.SHUT_WR)
            server.shorten_deadlines(0.1)
            while server.clients:
                server.turn(0.1)
            assert stalled.recv(1) == b""
            server.accept_again()
            server.turn(1)
            assert newcomer.recv(10) == b"answer"
        server.close()
