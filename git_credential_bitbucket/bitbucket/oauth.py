"""OAuth 2.0 with Bitbucket: the authorize URL, the grants, renewal, revocation. Keeps nothing.

Imports requests-oauthlib, 130 ms and 15 MiB: others import this module inside their functions. All of it is imported
here, at once and beginning with requests, for threads that import parts of requests side by side break each other.
Sources: https://developer.atlassian.com/cloud/bitbucket/oauth-2/, and for what changed in 2026
community.developer.atlassian.com/t/99003 (CHANGE-3052). requests-oauthlib makes the URLs and the token requests. It
does not read the answers: it would raise over a detail of one, and the new refresh token would be lost with the rest.
transport.py takes an answer before that, and token_response.py reads it.
"""

import logging
import time
from typing import TYPE_CHECKING

import requests
from oauthlib.oauth2 import BackendApplicationClient, MobileApplicationClient, WebApplicationClient
from requests_oauthlib import OAuth2Session

from git_credential_bitbucket.bitbucket import token_response, transport
from git_credential_bitbucket.bitbucket.token_response import Grant, RawAnswer
from git_credential_bitbucket.errors import BitbucketUnreachable, SettingsError
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from oauthlib.oauth2 import Client

    from git_credential_bitbucket.bitbucket.providers import Endpoint

JWT_GRANT = "urn:bitbucket:oauth2:jwt"
JWT_LIFE_S = 180
"""A JWT is used once, at once; Atlassian's own libraries make them for three minutes."""


def authorize_url(
    endpoint: "Endpoint", client_id: str, redirect_uri: str, scopes: tuple[str, ...], state: str, verifier: str
) -> str:
    """The address that the person's browser opens. `verifier` is PKCE's (RFC 7636), of which S256 is sent.

    PKCE is undocumented at Bitbucket; it is tolerated beside the secret, and protects the code unless it is ignored.
    """
    client = WebApplicationClient(client_id)
    pkce = {"code_challenge": client.create_code_challenge(verifier, "S256"), "code_challenge_method": "S256"}
    return _authorize(endpoint, _session(client_id, client, redirect_uri, scopes), state, **pkce)


def implicit_url(endpoint: "Endpoint", client_id: str, redirect_uri: str, scopes: tuple[str, ...], state: str) -> str:
    """As `authorize_url`, for the implicit grant: the token comes in the redirect's fragment, without any secret.

    Which is all that Bitbucket has for a consumer whose secret may not be handed out; there is no refresh token.
    """
    client = MobileApplicationClient(client_id)
    return _authorize(endpoint, _session(client_id, client, redirect_uri, scopes), state)


def exchange_code(
    endpoint: "Endpoint", client_id: str, client_secret: Secret | None, code: str, redirect_uri: str, verifier: str
) -> Grant:
    """Tokens for an authorization code, whose `state` the caller has checked. Codes live ten minutes and work once.

    A scope is never sent here: those of the authorize URL count. Raises `LoginFailed` if the code is rejected,
    `InvalidClient`, `RejectedByBitbucket`, `BitbucketUnreachable`.
    """
    session = _session(client_id, redirect_uri=redirect_uri)
    url, auth = endpoint.token_url, _basic(client_id, client_secret)
    raw = transport.send_token_request(
        endpoint, session, lambda: session.fetch_token(url, code=code, code_verifier=verifier, auth=auth)
    )
    sent = (code, verifier, _revealed(client_secret))
    response = token_response.interpret(raw, "authorization_code", endpoint.token_url, sent)
    if response.grant is None and response.refresh_token is not None:  # the code is spent, and this is not
        raw = send_refresh(endpoint, client_id, client_secret, response.refresh_token)
        response = token_response.interpret(
            raw, "refresh_token", endpoint.token_url, (*sent, response.refresh_token.reveal())
        )
    return response.granted()


def send_refresh(
    endpoint: "Endpoint", client_id: str, client_secret: Secret | None, refresh_token: Secret
) -> RawAnswer:
    """The answer to a refresh token, to be made durable before it is judged. The token is spent once this has left.

    Raises `SettingsError`, and `BitbucketUnreachable` without an answer: the refresh token may be spent all the same.
    """
    session = _session(client_id)
    url, auth, token = endpoint.token_url, _basic(client_id, client_secret), refresh_token.reveal()
    return transport.send_token_request(
        endpoint, session, lambda: session.refresh_token(url, refresh_token=token, auth=auth)
    )


def send_client_credentials(endpoint: "Endpoint", client_id: str, client_secret: Secret | None) -> RawAnswer:
    """The answer to client credentials. Raises `BitbucketUnreachable` where none came, and `SettingsError`."""
    return _send_grant_type(endpoint, client_id, _basic(client_id, client_secret))


def send_jwt(endpoint: "Endpoint", app_key: str, client_key: str, shared_secret: Secret | None) -> RawAnswer:
    """The answer to a JWT that we sign for a workspace in which an Atlassian Connect app is installed.

    Client key and shared secret came to the app's `installed` callback.
    Source: developer.atlassian.com/cloud/bitbucket/oauth-2-connect. Raises `SettingsError`, also where PyJWT is not
    installed, and `BitbucketUnreachable` where no answer came.
    """
    signed = _signed(app_key, client_key, _revealed(shared_secret))

    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"JWT {signed}"
        return request

    return _send_grant_type(endpoint, app_key, auth, JWT_GRANT)


def fetch_with_client_credentials(endpoint: "Endpoint", client_id: str, client_secret: Secret | None) -> Grant:
    """An access token by client credentials: it acts as the consumer, and there is no refresh token to it.

    Raises `InvalidClient`, `RejectedByBitbucket`, `BitbucketUnreachable`, `SettingsError`.
    """
    raw = send_client_credentials(endpoint, client_id, client_secret)
    return token_response.interpret(
        raw, "client_credentials", endpoint.token_url, (_revealed(client_secret),)
    ).granted()


def fetch_with_jwt(endpoint: "Endpoint", app_key: str, client_key: str, shared_secret: Secret | None) -> Grant:
    """An access token for a Connect app's installation, as `send_jwt` asks for it; there is no refresh token to it.

    Raises as `fetch_with_client_credentials` does.
    """
    raw = send_jwt(endpoint, app_key, client_key, shared_secret)
    return token_response.interpret(raw, "jwt_bearer", endpoint.token_url, (_revealed(shared_secret),)).granted()


def _signed(app_key: str, client_key: str, shared_secret: str) -> str:
    try:
        import jwt  # lazy: an extra, and few have such an app
    except ImportError as exc:
        hint = "run: pipx inject git-credential-bitbucket PyJWT (or: pip install 'git-credential-bitbucket[jwt]')"
        raise SettingsError("PyJWT, which Connect apps need, is not installed", hint=hint) from exc
    now = int(time.time())
    claims = {"iss": app_key, "sub": client_key, "iat": now, "exp": now + JWT_LIFE_S}
    return jwt.encode(claims, shared_secret, algorithm="HS256")


def revoke(endpoint: "Endpoint", client_id: str, client_secret: Secret | None, token: Secret) -> bool | None:
    """Whether Bitbucket accepted the revocation; None if it cannot be told, for the endpoint is undocumented there.

    Raises only `SettingsError`: a logout goes on whatever the answer is.
    """
    form = {"token": token.reveal()}
    try:
        answer = transport.send_request(
            endpoint, "POST", endpoint.revoke_url, data=form, auth=_basic(client_id, client_secret)
        )
    except BitbucketUnreachable:
        return None
    if 200 <= answer.status_code < 300:  # noqa: PLR2004 - success
        return True
    return False if answer.status_code in {400, 401, 403} else None


def _session(
    client_id: str, client: "Client | None" = None, redirect_uri: str | None = None, scopes: tuple[str, ...] = ()
) -> OAuth2Session:
    """A session for one URL or one request, by default of the code grant.

    Only for a URL has it `scopes`: the library would send them with a token request, too. Its logger is off, which
    writes tokens down at debug level.
    """
    logging.getLogger("requests_oauthlib.oauth2_session").disabled = True
    return OAuth2Session(client_id, client, redirect_uri=redirect_uri, scope=list(scopes) or None)


def _authorize(endpoint: "Endpoint", session: OAuth2Session, state: str, **more: str) -> str:
    transport.require_https(endpoint.authorize_url)
    return session.authorization_url(endpoint.authorize_url, state, **more)[0]


def _send_grant_type(
    endpoint: "Endpoint",
    client_id: str,
    auth: "Callable[[requests.PreparedRequest], requests.PreparedRequest]",
    grant_type: str = "client_credentials",
) -> RawAnswer:
    """What is answered to a form that holds nothing but the grant's type."""
    client = BackendApplicationClient(client_id)
    client.grant_type = grant_type
    session = _session(client_id, client)
    return transport.send_token_request(endpoint, session, lambda: session.fetch_token(endpoint.token_url, auth=auth))


def _basic(client_id: str, client_secret: Secret | None) -> requests.auth.HTTPBasicAuth:
    """Client authentication as documented. As bytes, for requests would encode text as Latin-1."""
    pair = client_id, _revealed(client_secret)
    return requests.auth.HTTPBasicAuth(*(part.encode("utf-8", "surrogateescape") for part in pair))


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""
