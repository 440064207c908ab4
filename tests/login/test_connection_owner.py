"""Whose program has connected: a real other user on this machine, and each kind of address."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from urllib.parse import urlsplit

import pytest

from git_credential_bitbucket.login import connection_owner, loopback, pages
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page
from tests.login.test_loopback import get

CHECKOUT = Path(__file__).parents[2]
TRIES = 40
DONE = Page("Done", ())
NOBODY = 65534

ATTACK = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
address, port, how, tries, request = sys.argv[1:]
heard = b""
for number in range(int(tries)):
    with socket.create_connection((address, int(port)), 20) as connection:
        try:
            connection.sendall(request.encode())
            if how == "close":
                continue
            if how == "half-close":
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                heard += chunk
        except OSError:
            pass
sys.stdout.buffer.write(heard)
"""
"""Another user's program: brings the request, then stays, closes its sending half, or closes everything at once."""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")


@pytest.fixture
def warnings() -> Queue[str]:
    """What the terminal is told meanwhile."""
    return Queue()


@pytest.fixture
def waiting(attempt: Attempt, warnings: Queue[str]) -> Iterator[loopback.Loopback]:
    """A server that waits for its answer."""
    with loopback.listening(attempt, lambda cause, hint: warnings.put(f"{cause}; {hint}")) as server:
        yield server


def visit_as_another(start: str, target: str, *, how: str = "stay", address: str = "127.0.0.1", tries: int = 1) -> str:
    """What another user's program gets for `target` at the server that has the page `start`."""
    netloc = urlsplit(start).netloc
    port = netloc.rpartition(":")[2]
    request = f"GET {target} HTTP/1.1\r\nHost: {netloc}\r\n\r\n"
    command = [sys.executable, "-I", "-c", ATTACK, address, port, how, str(tries), request]
    return subprocess.run(command, stdout=subprocess.PIPE, cwd="/", check=True, timeout=120).stdout.decode()


def answer_of(attempt: Attempt, code: str) -> str:
    """The target of a redirect with the right state."""
    return f"/callback?code={code}&state={attempt.url.partition('state=')[2].partition('&')[0]}"


@as_root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("how", ["stay", "half-close", "close"])
def test_another_user_does_not_complete_our_login(
    attempt: Attempt, waiting: loopback.Loopback, warnings: Queue[str], port: int, how: str, address: str
) -> None:
    """They know the state, and have a code of their own account; how they end the connection changes nothing.

    The terminal is told once, and our own browser still completes the login.
    """
    heard = visit_as_another(waiting.start_url, answer_of(attempt, "theirs"), how=how, address=address, tries=TRIES)
    assert "302" not in heard
    assert heard.count(pages.STRANGER.title) == (0 if how == "close" else 2 * TRIES)  # as title and as heading
    ours = threading.Thread(target=get, args=(port, answer_of(attempt, "ours")))
    ours.start()
    assert attempt.grant(waiting.wait(60)).code == "ours"
    waiting.conclude(DONE)
    ours.join(60)
    assert "--paste" in warnings.get(timeout=60)
    assert warnings.empty()


@as_root
@pytest.mark.parametrize("how", ["stay", "half-close", "close"])
def test_another_user_does_not_open_the_start_page(
    attempt: Attempt, waiting: loopback.Loopback, port: int, how: str
) -> None:
    """Everybody can read it in the browser's arguments: it redirects nobody else, and they do not spend it."""
    target = urlsplit(waiting.start_url).path
    heard = visit_as_another(waiting.start_url, target, how=how, tries=TRIES)
    assert attempt.url not in heard
    assert f"Location: {attempt.url}\r\n" in get(port, target)


def test_the_start_page_redirects_once(attempt: Attempt, waiting: loopback.Loopback, port: int) -> None:
    """A page loaded ahead does not count, nor does another method; a second visit names the way out."""
    target = urlsplit(waiting.start_url).path
    host = f"localhost:{port}"
    for ahead in ("Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch"):
        reply = get(port, target, f"{host}\r\n{ahead}")
        assert reply.startswith("HTTP/1.0 503 ")
        assert attempt.url not in reply
    assert attempt.url not in get(port, target, "evil.example")
    assert attempt.url not in get(port, f"{target}x")
    reply = get(port, target)
    assert reply.startswith("HTTP/1.0 302 ")
    assert f"Location: {attempt.url}\r\n" in reply
    assert "Cache-Control: no-store\r\n" in reply
    assert "Referrer-Policy: no-referrer\r\n" in reply
    assert "state=" not in waiting.start_url
    reply = get(port, target)
    assert pages.STARTED.title in reply
    assert attempt.url not in reply


@pytest.mark.parametrize(
    ("family", "listening", "calling"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_the_owner_of_a_connection_is_found(family: int, listening: str, calling: str) -> None:
    """By either family's table, and by IPv6's for a browser that has IPv4 in it; while it lasts, and no longer."""
    with socket.socket(family) as server, socket.socket(socket.AF_INET6 if ":" in calling else family) as client:
        server.bind((listening, 0))
        server.listen(1)
        here = server.getsockname()[:2]
        client.connect((calling, here[1]))
        connection, visitor = server.accept()
        with connection:
            assert connection_owner.uid_of(visitor[:2], here) == os.getuid()
            client.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            assert connection_owner.uid_of(visitor[:2], here) == os.getuid()
            assert connection_owner.is_own(visitor[:2], here)
            client.close()
            assert connection_owner.uid_of(visitor[:2], here) is None
            assert not connection_owner.is_own(visitor[:2], here)
    assert connection_owner.uid_of(visitor[:2], ("127.0.0.1", 1)) is None


def test_who_is_unknown_is_not_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems that never tell, macOS for one, the state decides."""
    assert not connection_owner.is_own(("127.0.0.1", 1), ("127.0.0.1", 2))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert connection_owner.is_own(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert connection_owner.can_identify()


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare of util-linux is not installed")
def test_a_system_that_should_tell_and_does_not_is_found_out() -> None:
    """As in a container without /proc: the login is pasted there."""
    program = "from git_credential_bitbucket.login import connection_owner; print(connection_owner.can_identify())"
    script = f"$1 -c '{program}' && mount -t tmpfs none /proc && $1 -c '{program}'"
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable]
    done = subprocess.run(command, capture_output=True, cwd=CHECKOUT, timeout=60, check=False)
    if b"mount" in done.stderr or b"unshare" in done.stderr:
        pytest.skip("no mount namespace may be made here")
    assert done.stdout == b"True\nFalse\n"
