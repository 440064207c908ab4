"""HTTP as git's and other clients speak it, on a bare TLS socket where the client libraries hide it."""

import gzip
import socket
import ssl
from collections.abc import Iterator

import requests

from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket

PATH = "/site/oauth2/access_token"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def form(consumer: ConsumerKey) -> bytes:
    """A client_credentials request, the client in the body."""
    return (f"grant_type=client_credentials&client_id={consumer.key}&client_secret={consumer.secret}").encode()


def connect(bitbucket: FakeBitbucket) -> ssl.SSLSocket:
    """A TLS connection to the web host."""
    context = ssl.create_default_context(cafile=bitbucket.ca_file)
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", bitbucket.port), timeout=60), server_hostname="127.0.0.1"
    )


def test_a_client_that_expects_100_continue_gets_it_before_its_body(
    bitbucket: FakeBitbucket, consumer: ConsumerKey
) -> None:
    """As libcurl does with large bodies."""
    body = form(consumer)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM['Content-Type']}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with connect(bitbucket) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_chunked_and_compressed_bodies_are_read(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    packed = gzip.compress(form(consumer))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(packed), 7):
            yield packed[start : start + 7]

    headers = {**FORM, "Content-Encoding": "gzip"}
    assert http.post(bitbucket.url + PATH, data=pieces(), headers=headers, timeout=60).status_code == 200


def test_a_connection_serves_several_requests(bitbucket: FakeBitbucket, consumer: ConsumerKey) -> None:
    """Keep-alive, also after a refusal with a body."""
    request = f"GET /acme/app.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: {consumer.key}\r\n\r\n"
    with connect(bitbucket) as connection, connection.makefile("rb") as replies:
        for _ in range(2):
            connection.sendall(request.encode())
            assert replies.readline().startswith(b"HTTP/1.1 401")
            length = 0
            while line := replies.readline().strip().lower():
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert replies.read(length) == b"Unauthorized"


def test_a_client_that_stalls_in_the_handshake_delays_nobody(
    bitbucket: FakeBitbucket, http: requests.Session, consumer: ConsumerKey
) -> None:
    """Each connection has its own thread from its first byte on."""
    with socket.create_connection(("127.0.0.1", bitbucket.port), timeout=60):
        answer = http.post(bitbucket.url + PATH, data=form(consumer), headers=FORM, timeout=60)
    assert answer.status_code == 200


def test_nothing_else_is_there(bitbucket: FakeBitbucket, http: requests.Session) -> None:
    """404 for an unknown path, 405 for GET on the token endpoint, no git on the API host."""
    assert http.get(f"{bitbucket.url}/", timeout=60).status_code == 404
    assert http.get(bitbucket.url + PATH, timeout=60).status_code == 405
    base = bitbucket.api_url.removesuffix("/2.0")
    assert http.get(f"{base}/acme/app.git/info/refs?service=git-upload-pack", timeout=60).status_code == 404
