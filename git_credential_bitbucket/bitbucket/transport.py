"""HTTPS requests to Bitbucket, with the limits and checks that a request with a secret needs.

Imports requests and urllib3, 110 ms and 10 MiB: imported inside functions, but for oauth.py, which is imported so
itself. The environment decides nothing here (no .netrc, no REQUESTS_CA_BUNDLE, no proxy variables): CA and proxy come
with the endpoint. A redirect is returned and never followed. Errors name hosts and reasons, never what was sent: a
proxy's URL may hold a password, an HTTP exception quotes its request.
"""

import io
import os
import socket
import ssl
import threading
import zlib
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from git_credential_bitbucket import __version__
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.bitbucket.providers import origin
from git_credential_bitbucket.bitbucket.token_response import TOKEN_TIMEOUT_S, RawAnswer
from git_credential_bitbucket.errors import BitbucketUnreachable, Error, SettingsError
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.bitbucket.providers import Endpoint

CONNECT_TIMEOUT_S = 10.0
"""For each address of the host's name; nothing has been sent yet when it runs out."""
CONNECTION_TIMEOUT_S = 45.0
"""For all of the way there: a few addresses, the proxy and TLS."""
ANSWER_TIMEOUT_S = 30.0
"""For any other whole answer; nothing is lost without it."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Tokens exceed 2,500 characters each; a thousand times that is no answer of Bitbucket's."""
MAX_RETRY_AFTER_S = 86400.0
"""A day. Who says longer means never, and is asked again tomorrow."""

_PIECE_BYTES = 65536
_NETWORK_HINT = "check the network, and http.proxy if you use a proxy, then try again"


def send_request(
    endpoint: "Endpoint",
    method: str,
    url: str,
    *,
    whole: bool = True,
    **request: Any,  # noqa: ANN401 - requests' own
) -> requests.Response:
    """The answer to one request, in memory. `request` is as `requests.request` takes it.

    Raises `SettingsError` where the endpoint's addresses, CA or proxy cannot be used, and `BitbucketUnreachable`; not
    for an incomplete body where `whole` is False, since the status is enough.
    """
    require_https(url)
    with requests.Session() as session:
        adapter = _restrict(session, endpoint, ANSWER_TIMEOUT_S)
        answer = session.request(method, url, **request)
    if whole and adapter.incomplete is not None:
        raise BitbucketUnreachable(adapter.incomplete, hint=_NETWORK_HINT)
    return answer


def send_token_request(endpoint: "Endpoint", session: requests.Session, send: "Callable[[], object]") -> RawAnswer:
    """What the token endpoint answers, whole or not, to the one request that `send` makes with `session`.

    `send` goes no further than the answer's arrival: what a library decodes and judges first, it may lose. Raises as
    `send_request` where no answer began to arrive.
    """
    require_https(endpoint.token_url)
    adapter = _restrict(session, endpoint, TOKEN_TIMEOUT_S)
    arrived: list[requests.Response] = []

    def take(response: requests.Response, **_: object) -> None:
        arrived.append(response)
        raise _AnswerArrived

    session.hooks["response"] = [take]
    with session, suppress(_AnswerArrived):
        send()
    (answer,) = arrived
    raw = RawAnswer(
        status=answer.status_code,
        content_type=answer.headers.get("Content-Type", ""),
        retry_after=_retry_after(answer.headers.get("Retry-After", "")),
        body=answer.content,
        incomplete=adapter.incomplete,
    )
    return raw.compact()


def _restrict(session: requests.Session, endpoint: "Endpoint", answer_s: float) -> "_Adapter":
    """Have `session` obey this module; what it returns knows of the answer whether it is whole."""
    session.trust_env = False
    # Uncompressed: an answer is short.
    session.headers.update({"User-Agent": f"git-credential-bitbucket/{__version__}", "Accept-Encoding": "identity"})
    session.adapters.clear()  # plain http has no way out at all
    adapter = _Adapter(endpoint, answer_s)
    session.mount("https://", adapter)
    return adapter


def _retry_after(text: str) -> float | None:
    """Seconds to wait: a number or a date (RFC 9110, 10.2.3), kept within a day; None if there is none to be read."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, min(seconds, MAX_RETRY_AFTER_S))


def require_https(url: str) -> None:
    """Raise `SettingsError` unless `url` is https. OAUTHLIB_INSECURE_TRANSPORT turns off the library's own check."""
    try:
        requests.Request("POST", url).prepare()
    except (requests.RequestException, ValueError):
        hint = "check credential.<url>.oauthAuthURL, oauthTokenURL and apiURL"
        raise SettingsError(f"{origin(url)} is not a valid server address", hint=hint) from None
    providers.require_https(url)


class _AnswerArrived(Exception):
    """Ends a token request in the library that sent it, as soon as the answer is here."""


class _Adapter(requests.adapters.HTTPAdapter):
    """Sends one request within all limits. Its state is the request's: sockets that a deadline shuts down, and
    `incomplete`, which says in words why the body is not whole.
    """

    def __init__(self, endpoint: "Endpoint", answer_s: float) -> None:
        self._ca = _ca_path(endpoint)
        self._ca_named = f"{printable(endpoint.ca_file, 1000)}, by {_ca_from(endpoint)}" if endpoint.ca_file else None
        self._proxy = _proxy_url(endpoint.proxy)
        self._answer_s = answer_s
        self._sockets: list[socket.socket] = []
        self._overdue = threading.Event()
        self._reached = threading.Event()
        self._ended = threading.Event()
        self.incomplete: str | None = None
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests passes its own through
        """As requests makes it, with connections that the deadline can reach."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as above
        """As `init_poolmanager`, through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def send(self, request: requests.PreparedRequest, *_args: object, **_kwargs: object) -> requests.Response:
        """The answer with what arrived of its body. Raises `BitbucketUnreachable` where none began, `SettingsError`."""
        url = request.url or ""
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        try:
            response = super().send(
                request,
                stream=True,
                timeout=(CONNECT_TIMEOUT_S, None),  # the deadline is the only one from then on
                verify=self._ca,
                proxies={"https": self._proxy} if self._proxy else None,
            )
            with response:
                body = self._body(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise self._failure(url, exc) from exc
        finally:
            self._ended.set()
            self._reached.set()  # or nobody looks any more
            for handle in self._sockets:
                handle.close()
        if self._overdue.is_set() and not body:  # http.client takes an end among the headers for the end of them
            raise _timed_out(url, self._answer_s, sent=True)
        response.headers.pop("Location", None)  # requests would follow it, and no secret does
        response.raw = io.BytesIO(body)
        return response

    def _body(self, response: requests.Response) -> bytes:
        """What arrives, up to the limit; `incomplete` says why it is not all."""
        body = bytearray()
        try:
            while len(body) <= MAX_ANSWER_BYTES and (piece := response.raw.read1(_PIECE_BYTES, decode_content=False)):
                body += piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            self.incomplete = self._failure(response.url, exc).cause
        unpacked = _unpacked(bytes(body)) if body.startswith(b"\x1f\x8b") else bytes(body)
        if len(unpacked) > MAX_ANSWER_BYTES:
            limit = f"more than {MAX_ANSWER_BYTES // 1024} KiB"
            self.incomplete = f"{origin(response.url)} answered with {limit}"
        response.headers.pop("Content-Encoding", None)
        return unpacked[:MAX_ANSWER_BYTES]

    def _pools(self) -> dict[str, type[urllib3.connectionpool.HTTPConnectionPool]]:
        sockets, reached = self._sockets, self._reached

        class Connection(urllib3.connection.HTTPSConnection):
            """Keeps a second handle on its socket: TLS swaps the first for another in the middle of the handshake."""

            debuglevel = 0  # else a debug switch of the calling program prints headers, tokens and all

            def _new_conn(self) -> socket.socket:
                made = super()._new_conn()
                sockets.append(made.dup())
                return made

            def connect(self) -> None:
                super().connect()
                reached.set()

        class Pool(urllib3.connectionpool.HTTPSConnectionPool):
            ConnectionCls = Connection

        return {"https": Pool}

    def _failure(self, url: str, exc: Exception) -> Error:
        sent = self._reached.is_set()
        if self._overdue.is_set():
            return _timed_out(url, self._answer_s if sent else CONNECTION_TIMEOUT_S, sent=sent)
        return _translate(url, self._proxy, exc, sent=sent, ca=self._ca_named)

    def _watch(self) -> None:
        """Cut the request off where it is not connected in time, or not answered."""
        if not self._reached.wait(CONNECTION_TIMEOUT_S) or not self._ended.wait(self._answer_s):
            self._cut()

    def _cut(self) -> None:
        self._overdue.set()
        for handle in self._sockets:
            with suppress(OSError):  # it has ended already
                handle.shutdown(socket.SHUT_RDWR)


def _unpacked(body: bytes) -> bytes:
    """What a gzip body unpacks to, as far as it is whole, and little more than the limit of it."""
    unpacker, text = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    try:
        for start in range(0, len(body), 512):
            text += unpacker.decompress(body[start : start + 512], MAX_ANSWER_BYTES + 1)
            if len(text) > MAX_ANSWER_BYTES:
                break
    except zlib.error:
        pass  # what came before counts
    return bytes(text)


def _ca_from(endpoint: "Endpoint") -> str:
    """What names its CA; unknown of a credential that was kept before that was noted."""
    return endpoint.ca_from or "GIT_SSL_CAINFO, or else http.sslCAInfo"


def _ca_path(endpoint: "Endpoint") -> str | bool:
    """The file or directory of CAs: the one of the endpoint, else the system's, and only without either certifi's."""
    ca_file = endpoint.ca_file
    if ca_file is None:
        system = ssl.get_default_verify_paths()
        return system.cafile or system.capath or True
    if not ca_file.startswith("/") or not os.access(ca_file, os.R_OK):
        hint = f"it is set by {_ca_from(endpoint)}: give an absolute path there, then log in again"
        raise SettingsError(f"the CA file {printable(ca_file)} cannot be read", hint=hint)
    return ca_file


def _proxy_url(proxy: str | None) -> str | None:
    if not proxy:
        return None
    url = providers.with_scheme(proxy)
    scheme = url.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        hint = "set http.<url>.proxy to an http proxy for this host"
        raise SettingsError(f"{printable(scheme)} proxies are not supported", hint=hint)
    return url


def _timed_out(url: str, seconds: float, *, sent: bool) -> Error:
    """The error for what was cut off after `seconds`: an answer, or, before anything was `sent`, the way there."""
    said = "sent no complete answer" if sent else "accepted no connection"
    return BitbucketUnreachable(f"{origin(url)} {said} within {seconds:.0f} seconds", hint=_NETWORK_HINT)


def _translate(url: str, proxy: str | None, exc: Exception, *, sent: bool, ca: str | None) -> Error:
    """Our error for theirs. `sent`: TLS stood, so the request may have left. `ca` is where a CA was named, in words."""
    where = origin(url)
    causes = list(_causes(exc))
    certificate = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return _untrusted(where, certificate, ca)
    if isinstance(exc, requests.exceptions.ProxyError):
        return BitbucketUnreachable(
            f"the proxy {origin(proxy or '')} could not connect to {where}: {_reason(causes)}",
            hint="check http.proxy in git's configuration and https_proxy, then log in again or retry",
        )
    if isinstance(exc, ValueError) and not sent:
        return SettingsError(
            f"the address {where} is not valid", hint="check credential.<url>.oauthTokenURL and apiURL"
        )
    cause = f"{where} sent an incomplete answer" if sent else f"cannot connect to {where}"
    return BitbucketUnreachable(f"{cause}: {_reason(causes)}", hint=_NETWORK_HINT)


def _causes(exc: BaseException) -> "Iterator[BaseException]":
    """`exc` and all that it wraps: requests and urllib3 keep causes in `args` or `reason` as often as in the chain."""
    pending, seen = [exc], set[int]()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        pending += [each for each in inner if isinstance(each, BaseException)]


def _reason(causes: list[BaseException]) -> str:
    """The plain words for what lies at the bottom; never the text of an HTTP exception, which quotes the request."""
    for exc in causes:
        if isinstance(exc, socket.gaierror):
            return "host name not found (DNS)"
        if isinstance(exc, ssl.SSLError):
            return f"TLS failed: {printable(exc.reason or 'no reason given')}"
        if isinstance(exc, OSError) and exc.strerror:
            return printable(exc.strerror.lower())
        if isinstance(exc, OSError) and str(exc).startswith("Tunnel connection failed: "):
            return printable(str(exc).removeprefix("Tunnel connection failed: "))
    # Last, for urllib3 derives its error for a refused connection from the one for a time-out.
    if any(isinstance(exc, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)) for exc in causes):
        return "timed out"
    return "the connection was closed"


def _untrusted(where: str, certificate: ssl.SSLCertVerificationError, ca: str | None) -> BitbucketUnreachable:
    why = printable(certificate.verify_message or "it cannot be verified").lower().removesuffix(".")
    if "hostname" in why or "ip address" in why:
        hint = "another server answers for that name: check DNS, the hosts file and the proxy"
    elif "expired" in why or "not yet valid" in why:
        hint = "check this machine's clock"
    elif ca is not None:
        hint = f"it was verified with {ca}: set the right CA there, then log in again or retry"
    else:
        hint = "if your own proxy or server presents it, run: git config --global http.sslCAInfo FILE"
    return BitbucketUnreachable(f"the certificate of {where} is not trusted: {why}", hint=hint)
