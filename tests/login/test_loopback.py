"""loopback.py by plain sockets: who may bring an answer, and what is left when it is over."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import LoginFailed, SettingsError
from git_credential_bitbucket.login import loopback, pages
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page
from tests.login.logins import no_warning

CHECKOUT = Path(__file__).parents[2]


def answer_to(attempt: Attempt, code: str = "the-code") -> str:
    """The target of a right redirect."""
    state = parse_qs(urlsplit(attempt.url).query)["state"][0]
    return f"/callback?code={code}&state={state}"


def ask(port: int, request: str, host: str = "127.0.0.1") -> str:
    """The whole answer to a raw request."""
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as reply:
            return reply.read().decode()


def get(port: int, target: str, host: str | None = None) -> str:
    """A browser's GET."""
    return ask(port, f"GET {target} HTTP/1.1\r\nHost: {host or f'localhost:{port}'}\r\n\r\n")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_answer_arrives_on_either_loopback_address(
    attempt: Attempt, waiting: loopback.Loopback, port: int, address: str
) -> None:
    """`localhost` means both, and a browser may take either; the page comes when the login is concluded."""
    replies: list[str] = []
    request = f"GET {answer_to(attempt)} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    thread = threading.Thread(target=lambda: replies.append(ask(port, request, address)))
    thread.start()
    assert attempt.grant(waiting.wait(60)).code == "the-code"
    assert not replies
    waiting.conclude(Page("Done", ("All is well.",)))
    thread.join(60)
    assert "<h1>Done</h1>" in replies[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost",
        "127.0.0.1:{port}",
        "localhost:{port}.evil.example",
        "localhost:1",
        "LOCALHOST:{port}\r\nHost: x",
    ],
)
def test_another_host_header_is_turned_away(attempt: Attempt, waiting: loopback.Loopback, port: int, host: str) -> None:
    """A name that somebody has pointed at this machine (DNS rebinding) does not reach the login, right state or not."""
    reply = get(port, answer_to(attempt), host.format(port=port))
    assert reply.startswith(f"HTTP/1.0 {HTTPStatus.MISDIRECTED_REQUEST.value} ")
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "get", "<script>"])
def test_only_get_is_served(attempt: Attempt, waiting: loopback.Loopback, port: int, method: str) -> None:
    """A form or a script of another page can send the rest; none of it is an answer, and none of it is repeated."""
    reply = ask(port, f"{method} {answer_to(attempt)} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")
    assert reply.startswith(f"HTTP/1.0 {HTTPStatus.NOT_IMPLEMENTED.value} ")
    assert "<script>" not in reply
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/callback/",
        "/Callback",
        "//callback",
        "/favicon.ico",
        "/callback/../callback",
        "http://localhost/callback",
        "*",
    ],
)
def test_only_the_exact_path_is_served(attempt: Attempt, waiting: loopback.Loopback, port: int, target: str) -> None:
    """Other paths, a browser's wish for an icon among them, get a page that says nothing."""
    query = answer_to(attempt).partition("?")[2]
    reply = get(port, f"{target}?{query}")
    assert reply.startswith(f"HTTP/1.0 {HTTPStatus.NOT_FOUND.value} ")
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)


def test_a_wrong_state_neither_ends_the_login_nor_shows_itself(waiting: loopback.Loopback, port: int) -> None:
    """What the address carried is not repeated, so nothing can be injected; the login still waits."""
    reply = get(port, "/callback?code=c&state=%3Cscript%3Ealert(1)%3C/script%3E&error=%3Cb%3E")
    assert reply.startswith(f"HTTP/1.0 {HTTPStatus.BAD_REQUEST.value} ")
    assert pages.NOT_OURS.title in reply
    assert "alert" not in reply
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)


@pytest.mark.usefixtures("waiting")
def test_every_page_comes_with_the_strict_headers(port: int) -> None:
    """No script, no frame, no cache, no referrer, and no word about Python."""
    for target in ("/callback", "/other"):
        head = get(port, target).partition("\r\n\r\n")[0]
        assert "Content-Security-Policy: default-src 'none'; style-src 'sha256-" in head
        assert "frame-ancestors 'none'" in head
        assert "unsafe" not in head
        for line in ("Cache-Control: no-store", "Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff"):
            assert line in head
        assert "Server: git-credential-bitbucket\r\n" in head


def test_garbage_and_idle_connections_disturb_nobody(
    attempt: Attempt, waiting: loopback.Loopback, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Browsers open connections ahead; others send nonsense or hang up. The answer still comes, and stderr
    is silent.
    """
    with contextlib.ExitStack() as idle:
        for _ in range(20):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        for garbage in ("\x16\x03\x01\x02\x00", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n" * 50, "x" * 70000):
            with contextlib.suppress(ConnectionError):
                ask(port, garbage)
        thread = threading.Thread(target=get, args=(port, answer_to(attempt)))
        thread.start()
        assert waiting.wait(60)
        waiting.conclude(pages.SECOND_TAB)
        thread.join(60)
    assert capfd.readouterr() == ("", "")


def test_nobody_answering_ends_with_a_hint_at_the_other_way(waiting: loopback.Loopback) -> None:
    """The limit is told, and how to do without a browser here."""
    with pytest.raises(LoginFailed) as caught:
        waiting.wait(0.01)
    assert "--paste" in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named_with_the_ways_out(attempt: Attempt, port: int, address: str) -> None:
    """On either address, for the browser might bring the code to whoever has it; nothing of ours is left listening."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family):
        with (
            pytest.raises(LoginFailed, match=f"port {port}.+in use") as caught,
            loopback.listening(attempt, no_warning),
        ):
            pytest.fail("it must not listen")
        assert "--paste" in (caught.value.hint or "")
        assert "oauthRedirectURI" in (caught.value.hint or "")
    with loopback.listening(attempt, no_warning):
        pass


def test_the_port_is_free_again_and_no_thread_is_left(attempt: Attempt, port: int) -> None:
    """Whether it ended well or by an exception."""
    before = set(threading.enumerate())  # an earlier test's may be about to end
    for error in (None, KeyboardInterrupt()):
        with contextlib.suppress(KeyboardInterrupt), loopback.listening(attempt, no_warning):
            if error:
                raise error
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://localhost:34106/",
        "http://example.com:34106/",
        "http://0.0.0.0:34106/",
        "http://localhost.evil.example/",
        "http://user@localhost:34106/",
        "http://localhost:99999/",
        "http://[::1/",
        "urn:ietf:wg:oauth:2.0:oob",
        "",
    ],
)
def test_a_redirect_that_leads_elsewhere_is_a_setting_to_mend(cloud: Provider, redirect_uri: str) -> None:
    """Only this machine's loopback addresses are listened on."""
    attempt = Attempt(cloud._replace(redirect_uri=redirect_uri), "key", ())
    with pytest.raises(SettingsError, match="not on this machine"):
        loopback.Loopback(attempt, no_warning)


def test_ctrl_c_leaves_nothing_behind(port: int, tmp_path: Path) -> None:
    """A real process, a real signal: it ends at once, prints no state and no code, and the port is free."""
    program = textwrap.dedent(f"""
        import sys
        from git_credential_bitbucket.bitbucket.providers import CLOUD, Provider
        from git_credential_bitbucket.login import authorization, browser
        shown = lambda _: print("shown", flush=True)
        provider = Provider("https", "bitbucket.org", CLOUD, redirect_uri="http://localhost:{port}/")
        try:
            attempt = authorization.Attempt(provider, "key", ())
            browser.log_in(attempt, redeem=print, show=shown, warn=print, open_browser=False)
        except KeyboardInterrupt:
            sys.exit(130)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"shown\n"
        get(port, "/nothing")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
    assert process.returncode == 130
    with socket.create_server(("127.0.0.1", port)):
        pass
