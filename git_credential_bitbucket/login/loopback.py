"""The HTTP server that receives Bitbucket's redirect, on loopback addresses only.

Owns the listening sockets of one login, and which requests count: from a program of this user's (`visitors`), GET of
exactly the redirect's path, under exactly its host and port (a page elsewhere that has its name rebound to 127.0.0.1
sends another Host), with this login's state; and, for the implicit grant, POST by our own page's script (a page
elsewhere sends another Origin). Its start page sends the browser to Bitbucket, once: a browser's arguments, which every
user can read, then hold no state. Imports http.server and socketserver, 40 ms: only a login imports this.
"""

import contextlib
import errno
import queue
import secrets
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from git_credential_bitbucket.errors import LoginFailed, SettingsError
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import connection_owner, pages
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECTION_TIMEOUT_S = 10.0
"""Browsers open connections ahead and leave them idle; each has a thread for this long at most."""
OUTCOME_TIMEOUT_S = 120.0
"""How long the browser waits while the code is exchanged and the vault written."""
LAST_PAGE_TIMEOUT_S = 5.0
"""How long to wait until the last page is sent."""
MAX_THREADS = 64
MAX_STRANGERS = 8
"""Threads for programs of other users, which get an error page."""
MAX_FRAGMENT_BYTES = 65536
"""Of a redirect's fragment; OAuth tokens have some 2,600 characters."""
REFUSED, AGAIN = "refused", "again"
"""Queries for the page after an answer that does not lead to the login's outcome."""
_POLL_S = 0.05
_NONCE_BYTES = 16
_HTTP_PORT = 80
_AHEAD_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers by which a browser marks a prefetch, prerender or preview."""

_ADDRESSES = {"localhost": ("127.0.0.1", "::1"), "127.0.0.1": ("127.0.0.1",), "::1": ("::1",)}
_PASTE_HINT = "or log in without it: git-credential-bitbucket login --oauth --paste"
STRANGER = (
    "the login page rejected a program that may be another user's",
    "if it was your browser, press Ctrl-C and run: git-credential-bitbucket login --oauth --paste",
)
"""The warning at the terminal, and its hint."""


class Loopback:
    """The redirect of one login: the attempt, its answer, and its outcome."""

    def __init__(self, attempt: Attempt, warn: "Callable[[str, str], None]") -> None:
        """`listening` makes it listen. `warn` is given a cause and a hint, at most once."""
        self.attempt = attempt
        self.way = _loopback(attempt.redirect_uri)
        self.start_path = f"/start/{secrets.token_urlsafe(_NONCE_BYTES)}"
        self.start_url = f"http://{self.way.host_header}{self.start_path}"
        """The URL that the browser is started with; it works once, and for this user only."""
        self._warn = warn
        self._warned = threading.Lock()
        self._started = threading.Lock()
        self._answers: queue.Queue[str] = queue.Queue()
        self._outcome: Page = pages.INTERRUPTED
        self._waiting = threading.Event()
        self._decided = threading.Event()
        self._sent = threading.Event()
        self._ticket = f"outcome={secrets.token_urlsafe(_NONCE_BYTES)}"

    def wait(self, seconds: float) -> str:
        """The query of the redirect that answers the attempt. Raises `LoginFailed` after `seconds`."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            hint = f"log in again, {_PASTE_HINT}"
            raise LoginFailed(f"no answer from the browser within {seconds / 60:.0f} minutes", hint=hint) from None

    def conclude(self, page: Page) -> None:
        """Show the outcome in the waiting browser; returns when it is sent. Only the first call counts."""
        if self._decided.is_set():
            return
        self._outcome = page
        self._decided.set()
        if self._waiting.is_set():
            self._sent.wait(LAST_PAGE_TIMEOUT_S)

    def start(self) -> str | None:
        """The URL that the start page redirects to; None after the first time."""
        return self.attempt.url if self._started.acquire(blocking=False) else None

    def warn(self) -> None:
        """Warn at the terminal about a program of another user; once."""
        if self._warned.acquire(blocking=False):
            self._warn(*STRANGER)

    def serve(self, query: str, send: "Callable[[HTTPStatus, Page], None]") -> None:
        """Answer a request to the redirect's URL; the first valid one waits for the login's outcome."""
        if self.attempt.implicit and query == self._ticket:
            self._show_outcome(send)
        elif self.attempt.implicit and query == AGAIN:
            send(HTTPStatus.OK, pages.SECOND_TAB)
        elif self.attempt.implicit and query != REFUSED and not self.attempt.is_error(query):
            send(HTTPStatus.OK, pages.FRAGMENT)
        elif not self.attempt.matches_state(query):
            send(HTTPStatus.BAD_REQUEST, pages.NOT_OURS)
        elif not self.attempt.claim():
            send(HTTPStatus.OK, pages.SECOND_TAB)
        else:
            self._accept(query)
            self._show_outcome(send)

    def accept_fragment(self, fragment: str) -> str:
        """Accept the redirect's fragment from this server's page; returns the query of the next page."""
        if not self.attempt.matches_state(fragment):
            return REFUSED
        if not self.attempt.claim():
            return AGAIN
        self._accept(fragment)
        return self._ticket

    def _accept(self, answer: str) -> None:
        self._waiting.set()
        self._answers.put(answer)

    def _show_outcome(self, send: "Callable[[HTTPStatus, Page], None]") -> None:
        self._decided.wait(OUTCOME_TIMEOUT_S)
        try:
            send(HTTPStatus.OK, self._outcome)
        finally:
            self._sent.set()


@contextlib.contextmanager
def listening(attempt: Attempt, warn: "Callable[[str, str], None]") -> "Iterator[Loopback]":
    """A `Loopback` that listens until the block is left, however that happens.

    Raises `SettingsError` if the redirect is no loopback address, `LoginFailed` if its port is taken.
    """
    loopback = Loopback(attempt, warn)
    with contextlib.ExitStack() as stack:
        for listener in _listeners(loopback, stack):
            thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": _POLL_S}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown)
        stack.callback(loopback.conclude, pages.INTERRUPTED)
        yield loopback


class _Listener(socketserver.ThreadingTCPServer):
    """Listens on one address, for one login."""

    allow_reuse_address = True  # else a login right after another would find its own port taken, in TIME_WAIT
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_THREADS  # else a handful that come at once make our browser wait a second (SYN)

    def __init__(self, host: str, loopback: Loopback) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.loopback = loopback
        self.strangers: set[object] = set()
        """The addresses of connected programs of other users."""
        super().__init__((host, loopback.way.port), _RequestHandler)

    def verify_request(self, _request: object, visitor: "tuple[str, int]") -> bool:
        """Whether there is a thread left."""
        if threading.active_count() >= MAX_THREADS:
            return False
        if connection_owner.is_own(visitor[:2], self.server_address[:2]):  # type: ignore[arg-type]  # TCP's
            return True
        if len(self.strangers) >= MAX_STRANGERS:
            return False
        self.strangers.add(visitor)
        return True

    def finish_request(self, request: "socket.socket", visitor: object) -> None:  # type: ignore[override]  # TCP's
        """Answer, and free the address."""
        try:
            super().finish_request(request, visitor)
        finally:
            self.strangers.discard(visitor)

    def handle_error(self, *_request: object) -> None:
        """Print nothing: a browser may hang up, and the usual traceback on stderr would show the code."""


class _RequestHandler(BaseHTTPRequestHandler):
    """One request."""

    server: _Listener
    timeout = CONNECTION_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer the redirect, or what browsers also request."""
        loopback = self.server.loopback
        if self.headers.get_all("Host") != [loopback.way.host_header]:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, pages.NOTHING_HERE)
            return
        path, _, query = self._target()
        if path not in (loopback.way.path, loopback.start_path):
            self._send(HTTPStatus.NOT_FOUND, pages.NOTHING_HERE)
        elif self._is_stranger():
            self._reject()
        elif path == loopback.way.path:
            loopback.serve(query, self._send)
        elif any(self.headers.get(name) for name in _AHEAD_HEADERS):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, pages.NOTHING_HERE)
        elif (url := loopback.start()) is None:
            self._send(HTTPStatus.GONE, pages.STARTED)
        else:
            self._reply(HTTPStatus.FOUND, b"", "text/plain", pages.policy(), Location=url)

    def do_POST(self) -> None:
        """Accept the fragment of an implicit grant from this server's page, by its origin."""
        loopback = self.server.loopback
        host = loopback.way.host_header
        asked = self.headers.get_all("Host"), self.headers.get_all("Origin"), self._target()
        if not loopback.attempt.implicit:
            self._send(HTTPStatus.NOT_IMPLEMENTED, pages.NOTHING_HERE)
        elif self._is_stranger():
            self._reject()
        elif asked != ([host], [f"http://{host}"], (loopback.way.path, "", "")):
            self._send(HTTPStatus.FORBIDDEN, pages.NOTHING_HERE)
        elif (fragment := self._body()) is None:
            self._send(HTTPStatus.BAD_REQUEST, pages.NOTHING_HERE)
        else:
            self._reply(HTTPStatus.OK, loopback.accept_fragment(fragment).encode("ascii"), "text/plain", pages.policy())

    def _is_stranger(self) -> bool:
        return self.client_address in self.server.strangers

    def _reject(self) -> None:
        self.server.loopback.warn()  # first: nobody may be there to read the page
        self._send(HTTPStatus.FORBIDDEN, pages.STRANGER)

    def _body(self) -> str | None:
        """The request's body; None if it is too long or incomplete."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > len(str(MAX_FRAGMENT_BYTES)):
            return None
        body = self.rfile.read(min(int(length), MAX_FRAGMENT_BYTES))
        return body.decode("ascii", "replace") if len(body) == int(length) else None

    def _target(self) -> tuple[str, str, str]:
        """Path and query as sent: `self.path` has leading slashes removed."""
        return self.requestline.split()[1].partition("?")

    def send_error(self, code: int, *_words: object) -> None:
        """Send this server's page: the library's repeats the request."""
        self._send(HTTPStatus(code), pages.NOTHING_HERE)

    def version_string(self) -> str:
        """The server's name, without Python's version."""
        return "git-credential-bitbucket"

    def log_message(self, *_words: object) -> None:
        """Print nothing: the usual line on stderr contains the code."""

    def _send(self, status: HTTPStatus, page: Page) -> None:
        self._reply(status, pages.render(page), "text/html", pages.policy(scripted=page.scripted))

    def _reply(self, status: HTTPStatus, body: bytes, kind: str, policy: str, **more: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            **more,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _RedirectAddress(NamedTuple):
    """A parsed redirect address: where to listen, and what a valid request has."""

    hosts: tuple[str, ...]
    port: int
    host_header: str
    path: str


def _loopback(redirect_uri: str) -> _RedirectAddress:
    """The parsed `redirect_uri`. Raises `SettingsError` if it is not a loopback address."""
    try:
        parts = urlsplit(redirect_uri)
        hosts, port = _ADDRESSES.get(parts.hostname or "", ()), parts.port or _HTTP_PORT
    except ValueError:
        parts, hosts, port = urlsplit(""), (), 0
    if parts.scheme != "http" or not hosts or parts.username is not None:
        hint = f"register http://localhost:34106/ at the consumer and in oauthRedirectURI, {_PASTE_HINT}"
        raise SettingsError(f"the redirect address {printable(redirect_uri)} is not on this machine", hint=hint)
    return _RedirectAddress(hosts, port, parts.netloc.lower().removesuffix(f":{_HTTP_PORT}"), parts.path or "/")


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
            raise _cannot_listen(loopback.way.port, exc) from exc
        stack.callback(listener.server_close)
        made.append(listener)
    return made


def _cannot_listen(port: int, exc: OSError) -> LoginFailed:
    setting = "register another one at the consumer and set it in credential.<url>.oauthRedirectURI"
    if exc.errno == errno.EADDRINUSE:
        cause = f"port {port}, to which Bitbucket redirects the browser, is in use by another program"
        return LoginFailed(cause, hint=f"stop that program (try: ss -ltnp sport = :{port}), {setting}, {_PASTE_HINT}")
    return LoginFailed(f"cannot listen on port {port}: {exc.strerror}", hint=f"{setting}, {_PASTE_HINT}")
