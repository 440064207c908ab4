"""Owns peers that a daemon of ours never is: silent, hasty, cut off. What listens where it should not, behaves so."""

import contextlib
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.daemon.daemons import read_all
from tests.sockets import connected, listener_at

Serve = Callable[[socket.socket], bytes]
"""Deals with one connection, and returns what it read."""


@contextlib.contextmanager
def listening(path: Path, serve: Serve) -> Iterator[list[bytes]]:
    """Listen at `path` and have `serve` deal with each connection; yields what was read from each."""
    received: list[bytes] = []
    with listener_at(path) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):  # the listener was shut down
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(60)
                        with contextlib.suppress(OSError):
                            received.append(serve(connection))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(90)
            assert not thread.is_alive()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def answering(*replies: bytes) -> Serve:
    """Reads each request to its end and answers with the next of `replies`, the last one for ever."""
    left = list(replies)

    def serve(connection: socket.socket) -> bytes:
        data = read_all(connection)
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])
        return data

    return serve


@contextlib.contextmanager
def gits_cache_daemon(path: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Git's own cache daemon listens at `path`, until somebody of ours has sent it away."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    command = ["git", "credential-cache--daemon", str(path)]
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.PIPE, cwd="/") as intruder:
        assert intruder.stdout is not None
        assert intruder.stdout.readline() == b"ok\n"
        yield
        assert intruder.wait(60) == 0


def hung_up(connection: socket.socket) -> None:
    """Wait until the other side is gone."""
    poll = select.poll()
    poll.register(connection, 0)
    poll.poll(60_000)


@contextlib.contextmanager
def forwarded(path: Path, to: str) -> Iterator[list[bytes]]:
    """Pass what comes at `path` on to another socket, as ssh -R does; yields what was asked."""

    def pass_on(connection: socket.socket) -> bytes:
        request = read_all(connection)
        with connected(to) as there:
            there.sendall(request)
            there.shutdown(socket.SHUT_WR)
            connection.sendall(read_all(there))
        return request

    with listening(path, pass_on) as received:
        yield received
