"""A shared vault's server that is an attacker: what it answers costs little, ends in time, and is an error of ours."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from git_credential_bitbucket.errors import SettingsError, VaultUnreachable
from git_credential_bitbucket.vault.storage import redis_server
from git_credential_bitbucket.vault.storage.address import parse
from git_credential_bitbucket.vault.storage.redis_server import RedisServer

_HELLO = b"%1\r\n+proto\r\n:3\r\n"


def _serve(connection: socket.socket, answer: Callable[[bytes], Iterable[bytes]]) -> None:
    """Answer each command by `answer`, but for a connection's first ones."""
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            words = []
            for _ in range(int(line[1:])):
                words.append(stream.read(int(stream.readline()[1:])))
                stream.readline()
            usual = {b"HELLO": _HELLO, b"CLIENT": b"+OK\r\n"}.get(words[0])
            try:
                for piece in [usual] if usual else answer(words[0]):
                    connection.sendall(piece)
            except OSError:  # who asked has had enough
                return


@contextmanager
def hostile(answer: Callable[[bytes], Iterable[bytes]]) -> Iterator[RedisServer]:
    """What talks to a server that answers every command with the pieces of `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                threading.Thread(target=_serve, args=(connection, answer), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        server = RedisServer(parse(f"redis://127.0.0.1:{listener.getsockname()[1]}/0?vault=x"), {})
        yield server
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [b"*1\r\n" * 100_000, b">2\r\n+a\r\n+b\r\n" * 10_000, b",inf\r\n", b"%1\r\n+a\r\n%0\r\n"],
    ids=["nested", "announced", "infinite", "of another type"],
)
def test_an_answer_that_is_none_is_an_error_of_ours(answer: bytes) -> None:
    """Whatever redis-py or its caller makes of it: another exception would end the thread that follows the vault."""
    with hostile(lambda _: [answer]) as server:
        for ask in (server.head, server.index, lambda: server.acquire("a", "t", 1.0), lambda: server.intent("a")):
            server.fault = None
            with pytest.raises(VaultUnreachable):
                ask()


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither memory nor time is the server's to take: a bulk string of a GB, and a byte now and then."""
    monkeypatch.setattr(redis_server, "WHOLE_ANSWER_TIMEOUT_S", 0.3)
    sent: list[int] = []

    def huge(_: bytes) -> Iterator[bytes]:
        yield b"$1000000000\r\n"
        while sum(sent) < 1_000_000_000:
            sent.append(1 << 20)
            yield bytes(1 << 20)

    def slow(_: bytes) -> Iterator[bytes]:
        yield b"$100\r\n"
        for _ in itertools.repeat(b"x", 200):
            yield b"x"
            time.sleep(0.05)  # the server's slowness is what is tested

    for answer in (huge, slow):
        with hostile(answer) as server, pytest.raises(VaultUnreachable):
            server.head()
    assert sum(sent) < 4 * redis_server.MAX_ANSWER_BYTES


def test_a_flood_of_announcements_is_looked_at_now_and_then() -> None:
    """Without an end to it, what is stored is read all the same, and not once for each."""

    def flood(command: bytes) -> Iterator[bytes]:
        if command == b"SUBSCRIBE":
            yield b">3\r\n+subscribe\r\n+c\r\n:1\r\n"
            while True:
                yield b">3\r\n+message\r\n+c\r\n+w\r\n" * 100
        yield b"*0\r\n"

    with hostile(flood) as server:
        changes = server.changes()
        next(changes)
        began = time.monotonic()
        list(itertools.islice(changes, 3))
        assert time.monotonic() - began >= 3 * redis_server.MIN_PAUSE_S


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h/main/0?tls=true",
        "redis+sentinel://h/main/0?ca=/ca.pem",
        "redis://h/0?ca=/ca.pem",
        "redis://h/0?cert=/c.pem&key=/k.pem",
        "rediss://h/0?tls=off",
        "unix:///run/s?tls=on",
        "unix://run/s",
        "redis://h1,h2/0",
        "redis://h/0?user=alice:made-up",
    ],
)
def test_an_address_that_means_more_than_is_done_is_refused(url: str) -> None:
    """TLS above all: nobody who wrote `tls=true` or a CA gets a connection in plain text."""
    with pytest.raises(SettingsError):
        parse(url)


def test_sentinels_are_asked_by_tls_too() -> None:
    """Who answers in place of one names the server that gets the password."""
    address = parse("redis+sentinel://s1,s2:5/main/0?tls=on&ca=/ca.pem")
    made = RedisServer(address, {})._connect()
    pools = [made.connection_pool, *(each.connection_pool for each in made.connection_pool.sentinel_manager.sentinels)]
    for pool in pools:
        connection = pool.connection_class(**pool.connection_kwargs)
        assert connection.check_hostname
        assert connection.ca_certs == "/ca.pem"
    assert len(pools) == 3
