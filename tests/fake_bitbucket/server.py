"""Owns the listening: HTTPS by threads, bodies of any coding, a request's way through faults and rooms."""

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from typing import IO, cast
from urllib.parse import urlsplit

from tests.fake_bitbucket import data_center, git_backend, lfs, oauth, rest, tokens
from tests.fake_bitbucket.authorize import Authorize
from tests.fake_bitbucket.faults import HELD_AT_MOST_S, failure
from tests.fake_bitbucket.plumbing import CUT, RESET, Request, Response, offered, plain
from tests.fake_bitbucket.state import State

# A client that says nothing for this long is let go.
SILENCE_S = 120.0
# Bodies up to this size stay in memory, larger ones go to an unnamed file.
SPOOL_BYTES = 1 << 20

Room = Callable[[State, Request], Response]


class Server(socketserver.ThreadingTCPServer):
    """One HTTPS listener: the web host or the API host. Its state: the TLS context and what it serves."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, host: str, state: State, context: ssl.SSLContext) -> None:
        self.host = host
        self.state = state
        self.rooms = _rooms(state)
        self._context = context
        super().__init__(("127.0.0.1", port), Exchange)

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 - its shape
        """False while the stand-in plays dead."""
        return not self.state.knobs.down

    def finish_request(self, request: object, client_address: object) -> None:
        """TLS in the connection's own thread: a client that stalls in the handshake delays nobody."""
        plain_socket = cast("socket.socket", request)
        plain_socket.settimeout(SILENCE_S)
        plain_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.state.journal.connected(), self._context.wrap_socket(plain_socket, server_side=True) as connection:
            Exchange(connection, client_address, self)
            # Sends close_notify, does not wait for the client's; after a reset nothing is left to close.
            with contextlib.suppress(OSError, ValueError):
                connection.settimeout(0)
                connection.unwrap()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(cast("socket.socket", request), client_address)


class Exchange(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    server: Server

    def do_any(self) -> None:
        """One request: receive, log, meet the script of faults, serve, answer."""
        parts = urlsplit(self.path)
        endpoint, room = self.server.rooms(self.server.host, parts.path)
        state = self.server.state
        entry = state.journal.arrived(self.server.host, self.command, parts.path, endpoint)
        credential = offered(self.headers)
        entry.auth, entry.username = credential.kind, credential.username or None
        entry.secret = tokens.digest(credential.secret) if credential.kind else None
        entry.body_coding = self.headers.get("Content-Encoding")
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=state.root) as spool:
            body = cast("IO[bytes]", spool)
            entry.body_length = self._receive(body)
            host = self.server.host
            request = Request(host, self.command, parts.path, parts.query, self.headers, body, entry, credential)
            if "service" in (parameters := request.parameters()):
                entry.query["service"] = parameters["service"]
            response = self._served(room, request)
            state.journal.answered(entry, response.status)
            self._send(response)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_any  # noqa: N815 - http.server's names

    def _served(self, room: Room, request: Request) -> Response:
        state = self.server.state
        fault = state.faults.next_for(request.entry.endpoint)
        time.sleep(state.knobs.latency)
        if fault is None:
            return room(state, request)
        request.entry.fault = fault.kind
        if fault.kind == "hold":
            answer = room(state, request) if fault.act else None
            fault.released.wait(HELD_AT_MOST_S)
            return answer or room(state, request)
        return failure(fault, room(state, request) if fault.act else None)

    def _receive(self, body: IO[bytes]) -> int:
        """Read the body, chunked or counted, into `body`; returns its length."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._receive_chunks(body)
        return self._copy(int(self.headers.get("Content-Length") or 0), body)

    def _receive_chunks(self, body: IO[bytes]) -> int:
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += self._copy(size, body)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return total

    def _copy(self, length: int, body: IO[bytes]) -> int:
        left = length
        while left:
            piece = self.rfile.read(min(left, 64 << 10))
            if not piece:
                raise ConnectionError("the client stopped in the middle of a body")
            body.write(piece)
            left -= len(piece)
        return length

    def _send(self, response: Response) -> None:
        if response.manner == RESET:
            self._reset()
            return
        body = response.body
        if response.manner == CUT and not isinstance(body, bytes):
            body = b"".join(body)
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if not isinstance(body, bytes):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._send_chunks(body)
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if response.manner == CUT:
            self.close_connection = True
            body = body[: len(body) // 2]
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_chunks(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """RST instead of an answer: no lingering, and the descriptor closed under the TLS layer."""
        self.close_connection = True
        connection = cast("ssl.SSLSocket", self.connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing on stderr: the journal has it."""


def _rooms(state: State) -> Callable[[str, str], tuple[str, Room]]:
    authorize = Authorize(state)
    fixed: dict[str, tuple[str, Room]] = {
        "/site/oauth2/authorize": ("authorize", lambda _, request: authorize.serve(request)),
        "/site/oauth2/access_token": ("token", _posted(oauth.serve_token)),
        "/site/oauth2/revoke": ("revoke", _posted(oauth.serve_revoke)),
    }

    def find(host: str, path: str) -> tuple[str, Room]:
        if host == "data-center":
            return data_center.find_room(state, authorize, path)
        if path.startswith("/2.0/"):
            return "api", rest.serve
        if host != "web":
            return "none", _nothing
        if path in fixed:
            return fixed[path]
        if lfs.is_media(path):
            return "media", lfs.serve_media
        if lfs.is_lfs(path):
            return "lfs", lfs.serve
        return ("git", git_backend.serve) if git_backend.is_git(path) else ("none", _nothing)

    return find


def _posted(room: Room) -> Room:
    return lambda state, request: room(state, request) if request.method == "POST" else plain(405, "Method not allowed")


def _nothing(_state: State, _request: Request) -> Response:
    return plain(404, "Not found")
