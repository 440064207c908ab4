"""Owns the forward proxy: CONNECT for bitbucket.org and api.bitbucket.org leads to the stand-in.

With `http.proxy` set to it, and the stand-in's CA, git and the helper use the real names without a change.
"""

import contextlib
import selectors
import socket
import socketserver

from tests.fake_bitbucket.state import State

IDLE_S = 120.0
MAX_HEAD_BYTES = 16 << 10


class Proxy(socketserver.ThreadingTCPServer):
    """The listener. Its state: where each name leads."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, state: State, ways: dict[str, int]) -> None:
        self.state = state
        self.ways = ways
        super().__init__(("127.0.0.1", port), Tunnel)

    def handle_error(self, request: object, client_address: object) -> None:
        """Tunnels end as they like."""


class Tunnel(socketserver.BaseRequestHandler):
    """One CONNECT and its bytes."""

    server: Proxy
    request: socket.socket

    def handle(self) -> None:
        """Answer CONNECT, then copy both ways until one side ends."""
        self.request.settimeout(IDLE_S)
        method, _, rest = self._head().partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        port = self.server.ways.get(target.lower())
        status = 200 if method == "CONNECT" and port is not None else 403
        self.server.state.journal.answered(self.server.state.journal.arrived("proxy", method, target, "proxy"), status)
        if port is None or status != 200:
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port), timeout=IDLE_S) as onward:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _copy_both_ways(self.request, onward)

    def _head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.request.recv(1)
            if not piece or len(head) >= MAX_HEAD_BYTES:
                raise ConnectionError("no request line")
            head += piece
        return head


def _copy_both_ways(left: socket.socket, right: socket.socket) -> None:
    other = {left: right, right: left}
    with selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ)
        selector.register(right, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(IDLE_S)
            if not ready:
                return
            for key, _ in ready:
                source = left if key.fileobj is left else right
                data = source.recv(64 << 10)
                if data:
                    other[source].sendall(data)
                    continue
                selector.unregister(source)
                with contextlib.suppress(OSError):
                    other[source].shutdown(socket.SHUT_WR)
