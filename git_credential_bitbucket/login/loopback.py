"""The little server that Bitbucket's redirect arrives at, on this machine's loopback addresses only.

Owns the listening sockets of one log-in, and which requests count: GET of exactly the redirect's path, under exactly
its host and port (a page elsewhere that has its name rebound to 127.0.0.1 sends another Host), with this log-in's
state. Imports http.server and socketserver, 40 ms: only a log-in imports this.
"""

import contextlib
import errno
import queue
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket.errors import LoginFailed, SettingsError
from git_credential_bitbucket.login import pages
from git_credential_bitbucket.login.attempt import Attempt
from git_credential_bitbucket.login.pages import Page
from git_credential_bitbucket.wire import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECTION_TIMEOUT_S = 10.0
"""Browsers open connections ahead and leave them idle; each has its thread, and none keeps it longer."""
OUTCOME_TIMEOUT_S = 120.0
"""How long the browser is left waiting while the code is exchanged and the vault written."""
FAREWELL_S = 5.0
"""How long we wait for the last page to have been sent."""
MAX_THREADS = 64
_POLL_S = 0.05
_HTTP_PORT = 80

_ADDRESSES = {"localhost": ("127.0.0.1", "::1"), "127.0.0.1": ("127.0.0.1",), "::1": ("::1",)}
_PASTE_HINT = "or log in without it: git-credential-bitbucket login --oauth --paste"


class Loopback:
    """One log-in's way back. A class for its state: the attempt, the answer once it came, and what became of it."""

    def __init__(self, attempt: Attempt) -> None:
        """`listening` makes it listen."""
        self.attempt = attempt
        self.way = _loopback(attempt.redirect_uri)
        self._answers: queue.Queue[str] = queue.Queue()
        self._outcome: Page = pages.INTERRUPTED
        self._waiting = threading.Event()
        self._decided = threading.Event()
        self._sent = threading.Event()

    def wait(self, seconds: float) -> str:
        """The query of the redirect that answers the attempt. Raises `LoginFailed` after `seconds`."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            raise LoginFailed(
                f"nobody answered in the browser within {seconds / 60:.0f} minutes",
                hint=f"log in again, {_PASTE_HINT}",
            ) from None

    def conclude(self, page: Page) -> None:
        """Show `page` in the browser that brought the answer; returns when it is sent. Only the first call counts."""
        if self._decided.is_set():
            return
        self._outcome = page
        self._decided.set()
        if self._waiting.is_set():
            self._sent.wait(FAREWELL_S)

    def serve(self, query: str, send: "Callable[[HTTPStatus, Page], None]") -> None:
        """Answer a request to the redirect's address; the first right one waits until the log-in is concluded."""
        if not self.attempt.is_ours(query):
            send(HTTPStatus.BAD_REQUEST, pages.NOT_OURS)
        elif not self.attempt.first():
            send(HTTPStatus.OK, pages.SECOND_TAB)
        else:
            self._waiting.set()
            self._answers.put(query)
            self._decided.wait(OUTCOME_TIMEOUT_S)
            try:
                send(HTTPStatus.OK, self._outcome)
            finally:
                self._sent.set()


@contextlib.contextmanager
def listening(attempt: Attempt) -> "Iterator[Loopback]":
    """A `Loopback` that listens until the block is left, however that happens.

    Raises `SettingsError` if the redirect is no loopback address, `LoginFailed` if its port is taken.
    """
    loopback = Loopback(attempt)
    with contextlib.ExitStack() as stack:
        for listener in _listeners(loopback, stack):
            thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown)
        stack.callback(loopback.conclude, pages.INTERRUPTED)
        yield loopback


class _Listener(socketserver.ThreadingTCPServer):
    """Listens on one address. Its state: the log-in that its requests are for."""

    allow_reuse_address = True  # else a log-in right after another would find its own port taken, in TIME_WAIT
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, loopback: Loopback) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.loopback = loopback
        super().__init__((host, loopback.way.port), _Redirected)

    def verify_request(self, *_request: object) -> bool:
        """Whether there is a thread left for one more."""
        return threading.active_count() < MAX_THREADS

    def handle_error(self, *_request: object) -> None:
        """A browser that hangs up is nobody's error; the usual traceback on stderr would show the code."""


class _Redirected(BaseHTTPRequestHandler):
    """One request."""

    server: _Listener
    timeout = CONNECTION_TIMEOUT_S

    def do_GET(self) -> None:
        """The redirect, or something that browsers also ask for."""
        loopback = self.server.loopback
        if self.headers.get_all("Host") != [loopback.way.host_header]:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, pages.NOTHING_HERE)
            return
        # As it was sent: `self.path` has leading slashes taken off.
        path, _, query = self.requestline.split()[1].partition("?")
        if path == loopback.way.path:
            loopback.serve(query, self._send)
        else:
            self._send(HTTPStatus.NOT_FOUND, pages.NOTHING_HERE)

    def send_error(self, code: int, *_words: object) -> None:
        """Our page instead of the library's, which repeats what was asked."""
        self._send(HTTPStatus(code), pages.NOTHING_HERE)

    def version_string(self) -> str:
        """Who answers; without Python's version."""
        return "git-credential-bitbucket"

    def log_message(self, *_words: object) -> None:
        """Nothing: the usual line on stderr has the code in it."""

    def _send(self, status: HTTPStatus, page: Page) -> None:
        body = pages.render(page)
        self.send_response(status)
        for name, value in {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": pages.policy(),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Way:
    """A redirect address, taken apart: where to listen, and what a right request looks like."""

    __slots__ = ("host_header", "hosts", "path", "port")

    def __init__(self, hosts: tuple[str, ...], port: int, host_header: str, path: str) -> None:
        self.hosts, self.port, self.host_header, self.path = hosts, port, host_header, path


def _loopback(redirect_uri: str) -> _Way:
    """The way of `redirect_uri`. Raises `SettingsError` if no server on this machine can be at its end."""
    try:
        parts = urlsplit(redirect_uri)
        hosts, port = _ADDRESSES.get(parts.hostname or "", ()), parts.port or _HTTP_PORT
    except ValueError:
        parts, hosts, port = urlsplit(""), (), 0
    if parts.scheme != "http" or not hosts or parts.username is not None:
        raise SettingsError(
            f"the redirect address {printable(redirect_uri)} is not one of this machine",
            hint=f"register http://localhost:34106/ at the consumer and in oauthRedirectURI, {_PASTE_HINT}",
        )
    return _Way(hosts, port, parts.netloc.lower().removesuffix(f":{_HTTP_PORT}"), parts.path or "/")


def _listeners(loopback: Loopback, stack: contextlib.ExitStack) -> list[_Listener]:
    """A listener on each address that the redirect's name means.

    All of them or none: where another program has the port on one, the browser might bring it our code.
    """
    made: list[_Listener] = []
    for host in loopback.way.hosts:
        try:
            listener = _Listener(host, loopback)
        except OSError as exc:
            if exc.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and (made or host != loopback.way.hosts[-1]):
                continue  # a machine without IPv6, or without IPv4
            raise _taken(loopback.way.port, exc) from exc
        stack.callback(listener.server_close)
        made.append(listener)
    return made


def _taken(port: int, exc: OSError) -> LoginFailed:
    setting = "register another one at the consumer and set it in credential.<url>.oauthRedirectURI"
    if exc.errno == errno.EADDRINUSE:
        cause = f"port {port}, to which Bitbucket sends the browser back, is in use by another program"
        return LoginFailed(cause, hint=f"end that program (try: ss -ltnp sport = :{port}), {setting}, {_PASTE_HINT}")
    return LoginFailed(f"nothing can listen on port {port}: {exc.strerror}", hint=f"{setting}, {_PASTE_HINT}")
