"""The one way out: HTTPS to a Bitbucket, with every limit and refusal that a request with a secret in it
needs.

Imports requests and urllib3, 110 ms and 10 MiB: oauth.py and rest.py import this module inside their
functions. The environment decides nothing here (no .netrc, no REQUESTS_CA_BUNDLE, no proxy variables): CA and
proxy come with the endpoint. Redirects are answers that nobody asked for, so they are errors.
"""

import io
import logging
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from git_credential_bitbucket import __version__
from git_credential_bitbucket.bitbucket import failures
from git_credential_bitbucket.bitbucket.providers import origin
from git_credential_bitbucket.errors import BitbucketRefused, BitbucketUnreachable, Error, SettingsError
from git_credential_bitbucket.wire import printable

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.providers import Endpoint

CONNECT_TIMEOUT_S = 10.0
"""For each address of the host's name; nothing has been sent yet when it runs out."""
READ_TIMEOUT_S = 20.0
"""Between two pieces of an answer."""
TOTAL_TIMEOUT_S = 30.0
"""From the connection to the answer's end. A refresh holds the vault's lock meanwhile, and others wait a
minute for it.
"""
MAX_ANSWER_BYTES = 256 * 1024
"""Tokens exceed 2,500 characters each; a hundred times that is no answer of Bitbucket's."""


def attach(session: requests.Session, endpoint: "Endpoint") -> None:
    """Make `session` obey this module. Raises `SettingsError` if the endpoint's CA file cannot be read.

    requests-oauthlib logs tokens and refresh tokens at debug level, so its logger is switched off; urllib3's
    tells only hosts and paths.
    """
    logging.getLogger("requests_oauthlib.oauth2_session").disabled = True
    session.trust_env = False
    # Uncompressed: an answer is short, and nothing that unpacks to more can come.
    session.headers.update({"User-Agent": f"git-credential-bitbucket/{__version__}", "Accept-Encoding": "identity"})
    session.adapters.clear()  # plain http has no way out at all
    session.mount("https://", _Adapter(endpoint))


def require_https(url: str) -> None:
    """Raise `SettingsError` unless `url` is https. OAUTHLIB_INSECURE_TRANSPORT turns off the library's own check."""
    try:
        requests.Request("POST", url).prepare()
        scheme = urlsplit(url).scheme
    except (requests.RequestException, ValueError):
        hint = "check credential.<url>.oauthAuthURL, oauthTokenURL and apiURL"
        raise SettingsError(f"{origin(url)} is no address of a server", hint=hint) from None
    if scheme != "https":
        raise SettingsError(
            f"OAuth never runs over plain http, and {origin(url)} is",
            hint="use https in credential.<url>.oauthAuthURL, oauthTokenURL and apiURL",
        )


class _Adapter(requests.adapters.HTTPAdapter):
    """Sends one request within all limits. A class for its state: the socket under way, which the deadline
    shuts down.
    """

    def __init__(self, endpoint: "Endpoint") -> None:
        self._ca = _ca_place(endpoint)
        self._ca_named = f"{printable(endpoint.ca_file, 1000)}, by {_ca_from(endpoint)}" if endpoint.ca_file else None
        self._proxy = _proxy_url(endpoint.proxy)
        self._sockets: list[socket.socket] = []
        self._overdue = threading.Event()
        self._reached = threading.Event()
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
        """The whole answer, in memory. Raises `BitbucketUnreachable`, `BitbucketRefused` or
        `SettingsError`.
        """
        watchdog = threading.Timer(TOTAL_TIMEOUT_S, self._cut)
        watchdog.daemon = True
        watchdog.start()
        try:
            response = super().send(
                request,
                stream=True,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                verify=self._ca,
                proxies={"https": self._proxy} if self._proxy else None,
            )
            with response:
                body = self._body(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise self._failure(request.url or "", exc) from exc
        finally:
            watchdog.cancel()
            for handle in self._sockets:
                handle.close()
        if self._overdue.is_set() and not body:  # http.client takes an end among the headers for the end of them
            raise failures.overdue(response.url, TOTAL_TIMEOUT_S, sent=True)
        if response.is_redirect or response.is_permanent_redirect:
            raise BitbucketRefused(
                f"{origin(response.url)} answered with a redirect, which no secret follows",
                hint="if it has moved, set credential.<url>.oauthTokenURL or apiURL to the new address",
            )
        response.raw = io.BytesIO(body)
        return response

    def _body(self, response: requests.Response) -> bytes:
        body: bytes = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        if len(body) > MAX_ANSWER_BYTES:
            raise BitbucketUnreachable(f"{origin(response.url)} answered with more than {MAX_ANSWER_BYTES // 1024} KiB")
        return body

    def _pools(self) -> dict[str, type[urllib3.connectionpool.HTTPConnectionPool]]:
        sockets, reached = self._sockets, self._reached

        class Connection(urllib3.connection.HTTPSConnection):
            """Keeps a second handle on its socket: TLS swaps the first for another in the middle of the
            handshake.
            """

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
            return failures.overdue(url, TOTAL_TIMEOUT_S, sent=sent)
        return failures.explain(url, self._proxy, exc, sent=sent, ca=self._ca_named)

    def _cut(self) -> None:
        self._overdue.set()
        for handle in self._sockets:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended already
                pass


def _ca_from(endpoint: "Endpoint") -> str:
    """What names its CA; unknown of a credential that was kept before that was noted."""
    return endpoint.ca_from or "GIT_SSL_CAINFO, or else http.sslCAInfo"


def _ca_place(endpoint: "Endpoint") -> str | bool:
    """The file or directory of CAs: the one of the endpoint, else the system's, and only without either
    certifi's.
    """
    ca_file = endpoint.ca_file
    if ca_file is None:
        system = ssl.get_default_verify_paths()
        return system.cafile or system.capath or True
    if not ca_file.startswith("/") or not os.access(ca_file, os.R_OK):
        raise SettingsError(
            f"the CA file {printable(ca_file)} cannot be read",
            hint=f"it is named by {_ca_from(endpoint)}: name it there by its whole path, then log in again",
        )
    return ca_file


def _proxy_url(proxy: str | None) -> str | None:
    """The proxy with its scheme, which is http where none is given, as for curl."""
    if not proxy:
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    scheme = url.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        raise SettingsError(
            f"a proxy of the kind {printable(scheme)} is not supported",
            hint="name an http proxy in http.<url>.proxy for this host",
        )
    return url
