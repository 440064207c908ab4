"""transport.py: networks, certificates and servers that misbehave, by real sockets."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from git_credential_bitbucket.bitbucket import oauth, rest, token_kinds, token_response, transport
from git_credential_bitbucket.bitbucket.providers import CLOUD, Endpoint
from git_credential_bitbucket.errors import BitbucketUnreachable, SettingsError
from git_credential_bitbucket.secret import Secret
from tests.bitbucket.strange import Strange, endpoint_at, refresh
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.sockets import free_port

Maker = Callable[..., Strange]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def refused(endpoint: Endpoint) -> BitbucketUnreachable:
    """The error of a refresh there, which must name neither consumer nor token."""
    key, consumer_secret = tokens.consumer_pair()
    refresh_token = tokens.oauth_token()
    with pytest.raises(BitbucketUnreachable) as caught:
        refresh(endpoint, key, Secret(consumer_secret), Secret(refresh_token))
    text = f"{caught.value.cause} {caught.value.hint}"
    assert refresh_token not in text
    assert consumer_secret not in text
    return caught.value


def drip(piece: bytes, pause: float, head: bytes = b"") -> Callable[[ssl.SSLSocket], None]:
    """Sends `head`, then `piece` again and again until the client hangs up."""

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return answer


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds for an answer, and not minutes. They count from the connection, for which there is all the time."""
    monkeypatch.setattr(transport, "CONNECTION_TIMEOUT_S", 600.0)
    monkeypatch.setattr(transport, "TOKEN_TIMEOUT_S", 2.0)


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize(
    "answer",
    [
        drip(b" ", 0.05, HEAD + b"Content-Length: 100000\r\n\r\n"),
        drip(b"X-Filler: 1\r\n", 0.05, HEAD),
        drip(b"H", 0.05),
    ],
    ids=["body", "headers", "status line"],
)
def test_a_server_that_drips_is_cut_off_at_the_deadline(
    strange: Maker, answer: Callable[[ssl.SSLSocket], None]
) -> None:
    """Each piece comes in time, the whole never: the deadline counts for the whole."""
    started = time.monotonic()
    error = refused(endpoint_at((server := strange(answer)).url, server.ca_file))
    assert time.monotonic() - started < 300
    assert "sent no complete answer within" in error.cause


def test_a_server_that_never_answers_is_given_up(strange: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence after the request is told from silence before it: it may have been acted on."""
    monkeypatch.setattr(transport, "TOKEN_TIMEOUT_S", 0.4)
    released = threading.Event()
    server = strange(lambda _: released.wait(60) and None)
    error = refused(endpoint_at(server.url, server.ca_file))
    released.set()
    assert "sent no complete answer within" in error.cause


def test_a_handshake_that_never_ends_is_cut_off(strange: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS that stalls is before the request: nothing was sent."""
    monkeypatch.setattr(transport, "CONNECTION_TIMEOUT_S", 0.6)
    server = strange(drip(b" ", 1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = refused(endpoint_at(f"https://127.0.0.1:{listener.getsockname()[1]}", server.ca_file))
    assert "accepted no connection within" in error.cause


def test_an_endless_body_is_not_read_to_its_end(strange: Maker) -> None:
    """The limit is on what is kept in memory, whatever the server promised."""
    server = strange(drip(b"[" * 65536, 0, HEAD + b"Connection: close\r\n\r\n"))
    error = refused(endpoint_at(server.url, server.ca_file))
    assert "more than 4096 KiB" in error.cause


def test_a_compressed_bomb_is_not_unpacked(strange: Maker) -> None:
    """The limit counts what the body unpacks to."""
    packed = gzip.compress(b"[" * 50_000_000)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = strange(lambda connection: connection.sendall(head + packed))
    assert "more than 4096 KiB" in refused(endpoint_at(server.url, server.ca_file)).cause


NEW = tokens.oauth_token()
WHOLE = f'{{"refresh_token": "{NEW}", "expires_in": 7200}}'.encode()
PACKED = gzip.compress(WHOLE, mtime=0)
LATE = {
    "a body that is cut": HEAD + b"Content-Length: 4000\r\n\r\n" + WHOLE[:-9],
    "a chunk that is cut": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + WHOLE[:-9],
    "a chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(WHOLE) + WHOLE + b"\r\nxyz\r\n",
    "a charset that is none for text": b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=idna\r\n\r\n"
    + WHOLE,
    "no length": HEAD + b"Connection: close\r\n\r\n" + WHOLE,
    "gzip": HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + PACKED,
    "gzip that nobody names": HEAD + b"Connection: close\r\n\r\n" + PACKED,
    "gzip without its checksum": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4000\r\n\r\n" + PACKED[:-8],
    "gzip that is none": HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + WHOLE,
    "headers that are no text": HEAD + b"X: \xff\xfe\r\nY\r\nConnection: close\r\n\r\n" + WHOLE,
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nLocation: https://[\r\nConnection: close\r\n\r\n" + WHOLE,
    "no reason": b"HTTP/1.1 200\r\nConnection: close\r\n\r\n" + WHOLE,
    "a status of its own": b"HTTP/1.1 999 Odd\r\nConnection: close\r\n\r\n" + WHOLE,
    "an early hint": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Connection: close\r\n\r\n" + WHOLE,
}


@pytest.mark.parametrize("sent", LATE.values(), ids=LATE)
def test_what_arrived_of_an_answer_is_kept(strange: Maker, sent: bytes) -> None:
    """The new refresh token is in it, and however it ends nobody sends it again."""
    server = strange(lambda connection: connection.sendall(sent))
    raw = oauth.send_refresh(endpoint_at(server.url, server.ca_file), "key", Secret("hush"), Secret("sent"))
    found = token_response.interpret(raw, "refresh_token", server.url, ("sent",))
    assert found.refresh_token == Secret(NEW)
    assert found.grant is None


@pytest.mark.usefixtures("short_limit")
def test_what_came_before_the_deadline_is_kept(strange: Maker) -> None:
    """A server that is stopped in the middle of its answer."""
    server = strange(drip(b" ", 0.05, HEAD + b"Content-Length: 100000\r\n\r\n" + WHOLE[:-9]))
    raw = oauth.send_refresh(endpoint_at(server.url, server.ca_file), "key", Secret("hush"), Secret("sent"))
    found = token_response.interpret(raw, "refresh_token", server.url, ("sent",))
    assert found.refresh_token == Secret(NEW)
    assert "sent no complete answer within" in str(found.error)


def test_deeply_nested_json_is_an_answer_like_any_other(strange: Maker) -> None:
    """A body that makes the JSON parser recurse too deep is no crash."""
    body = b"[" * 200_000
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    server = strange(lambda connection: connection.sendall(head + body))
    assert "other than a JSON object" in refused(endpoint_at(server.url, server.ca_file)).cause


def test_garbage_instead_of_http_is_an_error_like_any_other(strange: Maker) -> None:
    server = strange(lambda connection: connection.sendall(b"\x00\xff" * 2000 + b"\r\n\r\n"))
    assert "sent an incomplete answer" in refused(endpoint_at(server.url, server.ca_file)).cause


@pytest.mark.parametrize(
    ("names", "ends", "words", "hint"),
    [(("wrong.example",), 1, "ip address mismatch", "another server"), (("127.0.0.1",), -1, "expired", "clock")],
)
def test_a_certificate_that_does_not_fit_is_named(
    strange: Maker, names: tuple[str, ...], ends: int, words: str, hint: str
) -> None:
    """The cause says what is wrong with it, the hint what to look at."""
    server = strange(lambda _: None, names=names, ends=ends)
    error = refused(endpoint_at(server.url, server.ca_file))
    assert words in error.cause
    assert hint in (error.hint or "")


def test_an_unknown_ca_is_named_with_the_setting_that_helps(strange: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the CA file the system's CAs count, whatever REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE say."""
    server = strange(lambda _: None)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ca_file)
    monkeypatch.setenv("CURL_CA_BUNDLE", server.ca_file)
    error = refused(endpoint_at(server.url, None))
    assert "is not trusted" in error.cause
    assert "http.sslCAInfo" in (error.hint or "")


def test_a_ca_that_does_not_fit_is_named_with_the_setting_it_comes_from(strange: Maker, tmp_path: Path) -> None:
    """GIT_SSL_CAINFO wins over http.sslCAInfo: to set the latter would mend nothing."""
    wrong = tmp_path / "wrong.pem"
    trustme.CA().cert_pem.write_to_path(str(wrong))
    at = endpoint_at(strange(lambda _: None).url, str(wrong))
    hint = refused(at._replace(ca_from="GIT_SSL_CAINFO in the environment")).hint or ""
    assert f"{wrong}, by GIT_SSL_CAINFO in the environment" in hint
    assert "http.sslCAInfo" not in hint
    assert "GIT_SSL_CAINFO, or else http.sslCAInfo" in (refused(at).hint or "")


def test_a_missing_ca_file_is_a_settings_error(tmp_path: Path) -> None:
    """Missing, or named relative to wherever the daemon happens to be: refused by name."""
    for ca_file in (str(tmp_path / "missing.pem"), "ca.pem"):
        with pytest.raises(SettingsError, match="cannot be read"):
            oauth.fetch_with_client_credentials(endpoint_at("https://127.0.0.1:9", ca_file), "key", Secret("hush"))


def test_no_server_and_no_name_are_told_apart() -> None:
    """A closed port says so, an unknown name says DNS; there was cannot connect to either."""
    closed = refused(endpoint_at(f"https://127.0.0.1:{free_port()}", None))
    unknown = refused(endpoint_at("https://nowhere.invalid", None))
    assert "connection refused" in closed.cause
    assert "DNS" in unknown.cause
    assert all(error.cause.startswith("cannot connect to ") for error in (closed, unknown))


def test_an_invalid_address_is_a_settings_error() -> None:
    """A port out of range, a label that no name can have."""
    for url in ("https://127.0.0.1:99999", f"https://{'a' * 70}\u00e9.example", "https://[::1", "https://"):
        with pytest.raises(SettingsError, match="not a valid server address"):
            oauth.fetch_with_client_credentials(endpoint_at(url, None), "key", Secret("hush"))


def test_a_proxy_is_gone_through_with_the_real_names(
    bitbucket: FakeBitbucket, consumer: ConsumerKey, secret: Secret
) -> None:
    """Under the proxy, bitbucket.org itself is reached by its own name, TLS end to end."""
    endpoint = Endpoint.from_record(
        {**CLOUD.to_record(), "ca_file": bitbucket.ca_file, "proxy": bitbucket.proxy_url.removeprefix("http://")}
    )
    assert oauth.fetch_with_client_credentials(endpoint, consumer.key, secret).access_token
    assert bitbucket.requests("proxy")[0].path == "bitbucket.org:443"


def test_a_proxy_that_fails_is_named_without_its_password(bitbucket: FakeBitbucket) -> None:
    """One that is not there, and one that refuses the host; the person's password for it is not shown."""
    gone = f"http://alice:hush@127.0.0.1:{free_port()}"
    refusing = bitbucket.proxy_url.replace("http://", "http://alice:hush@")
    for proxy, words in (
        (gone, "connection refused"),
        (gone.removeprefix("http://"), "connection refused"),
        (refusing, "403"),
    ):
        error = refused(endpoint_at("https://elsewhere.example", bitbucket.ca_file, proxy=proxy))
        assert error.cause.startswith("the proxy http://127.0.0.1:")
        assert words in error.cause.lower()
        assert "hush" not in f"{error.cause}{error.hint}"


def test_a_proxy_of_another_kind_is_a_settings_error() -> None:
    """SOCKS needs a library that is not there; better said at once than in its words."""
    with pytest.raises(SettingsError, match="socks5h"):
        oauth.fetch_with_client_credentials(
            endpoint_at("https://127.0.0.1:9", None, proxy="socks5h://127.0.0.1:1080"), "key", Secret("hush")
        )


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a home, with another login for the stand-in."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password wrong\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    return netrc


def test_the_environment_s_proxies_and_netrc_decide_nothing(
    bitbucket: FakeBitbucket,
    endpoint: Endpoint,
    consumer: ConsumerKey,
    secret: Secret,
    netrc: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy is the endpoint's, whatever the daemon's environment says; a .netrc is not looked at."""
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert oauth.fetch_with_client_credentials(endpoint, consumer.key, secret).access_token
    assert [each.username for each in bitbucket.token_requests()] == [consumer.key]


def test_a_netrc_entry_does_not_replace_what_a_request_brings(
    bitbucket: FakeBitbucket,
    endpoint: Endpoint,
    consumer: ConsumerKey,
    secret: Secret,
    netrc: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """REST's header and the JWT's are headers only, which requests would overwrite with the login for the host."""
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(netrc.with_name("missing.pem")))
    token = Secret(bitbucket.issue_access_token("acme"))
    assert rest.verify(endpoint, token_kinds.ACCESS_TOKEN, None, token).valid is True
    assert oauth.fetch_with_jwt(endpoint, consumer.key, "installation", secret).access_token
