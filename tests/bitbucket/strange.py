"""Owns servers that break TLS or HTTP in ways that the stand-in does not, where an endpoint is, and a refresh there."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import trustme

from git_credential_bitbucket.bitbucket import oauth, token_response
from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.bitbucket.token_response import Grant
from git_credential_bitbucket.secret import Secret


def endpoint_at(url: str, ca_file: str | None, *, api_url: str = "", proxy: str | None = None) -> Endpoint:
    """The endpoint of a Bitbucket at `url`."""
    return Endpoint(
        authorize_url=f"{url}/site/oauth2/authorize",
        token_url=f"{url}/site/oauth2/access_token",
        revoke_url=f"{url}/site/oauth2/revoke",
        api_url=api_url or f"{url}/2.0",
        ca_file=ca_file,
        proxy=proxy,
    )


def refresh(endpoint: Endpoint, client_id: str, client_secret: Secret, refresh_token: Secret) -> Grant:
    """The grant that a refresh token is answered with. Raises what a renewal would note."""
    raw = oauth.send_refresh(endpoint, client_id, client_secret, refresh_token)
    sent = (client_secret.reveal(), refresh_token.reveal())
    return token_response.interpret(raw, "refresh_token", endpoint.token_url, sent).granted()


class Strange:
    """A TLS server that answers with whatever bytes a test sends. Its state: the listener and its thread."""

    def __init__(self, place: Path, answer: Callable[[ssl.SSLSocket], None], names: list[str], ends: int) -> None:
        authority = trustme.CA()
        self.ca_file = str(place / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=ends)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names, not_after=expires).configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Stop listening, and wait for the thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                with raw, self._context.wrap_socket(raw, server_side=True) as connection:
                    _read_request(connection)
                    self._answer(connection)
            except OSError:  # the client has hung up, which is what most of these tests are about
                pass


def _read_request(connection: ssl.SSLSocket) -> None:
    """Read all of it: closing with something unread would reset the connection, and lose the answer with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length and (piece := connection.recv(65536)):
        body += piece
