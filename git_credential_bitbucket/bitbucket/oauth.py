"""OAuth 2.0 with Bitbucket: the authorize URL, the grants, renewal, revocation. Keeps nothing.

Imports providers' and errors' names; requests-oauthlib only inside functions. Its habits that cost people
their log-in are worked around here, each where it is:
https://developer.atlassian.com/cloud/bitbucket/oauth-2/ is what Bitbucket says,
community.developer.atlassian.com/t/99003 (CHANGE-3052) what changed in 2026; both shapes of an answer must
work.
"""

import time
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket.grant import Grant
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from oauthlib.oauth2 import Client
    from requests.auth import HTTPBasicAuth
    from requests_oauthlib import OAuth2Session

    from git_credential_bitbucket.bitbucket.answers import Question
    from git_credential_bitbucket.bitbucket.providers import Endpoint

JWT_GRANT = "urn:bitbucket:oauth2:jwt"
JWT_LIFE_S = 180
"""A JWT is used once, at once; Atlassian's own libraries make them for three minutes."""


def authorize_url(
    endpoint: "Endpoint", client_id: str, redirect_uri: str, scopes: tuple[str, ...], state: str, verifier: str
) -> str:
    """The address that the person's browser opens. `verifier` is PKCE's (RFC 7636), of which S256 is sent.

    PKCE is undocumented at Bitbucket; it is tolerated beside the secret, and protects the code where it is
    not ignored.
    """
    from oauthlib.oauth2 import WebApplicationClient  # here, not above: 60 ms, and only a log-in needs it

    from git_credential_bitbucket.bitbucket import transport  # here, not above: 110 ms

    transport.require_https(endpoint.authorize_url)
    client = WebApplicationClient(client_id)
    url: str = client.prepare_request_uri(
        endpoint.authorize_url,
        redirect_uri=redirect_uri,
        scope=list(scopes) or None,
        state=state,
        code_challenge=client.create_code_challenge(verifier, "S256"),
        code_challenge_method="S256",
    )
    return url


def implicit_url(endpoint: "Endpoint", client_id: str, redirect_uri: str, scopes: tuple[str, ...], state: str) -> str:
    """As `authorize_url`, for the implicit grant: the token comes in the redirect's fragment, without any secret.

    Which is all that Bitbucket has for a consumer whose secret may not be handed out; there is no refresh token.
    """
    from oauthlib.oauth2 import MobileApplicationClient  # here, not above: as authorize_url

    from git_credential_bitbucket.bitbucket import transport  # here, not above: as authorize_url

    transport.require_https(endpoint.authorize_url)
    client = MobileApplicationClient(client_id)
    url: str = client.prepare_request_uri(
        endpoint.authorize_url, redirect_uri=redirect_uri, scope=list(scopes) or None, state=state
    )
    return url


def exchange(
    endpoint: "Endpoint", client_id: str, client_secret: Secret | None, code: str, redirect_uri: str, verifier: str
) -> Grant:
    """Tokens for an authorization code, whose `state` the caller has checked. Codes live ten minutes and work
    once.

    Raises `LoginFailed` if the code is not taken, `ClientRefused`, `BitbucketRefused`,
    `BitbucketUnreachable`.
    """
    from git_credential_bitbucket.bitbucket.answers import EXCHANGE, Question  # here, not above: 110 ms

    question = Question(EXCHANGE, (code, verifier, _revealed(client_secret)))
    with _session(endpoint, client_id, question, redirect_uri=redirect_uri) as session:
        # `code=`, for the library refuses a loopback redirect as `authorization_response`: it is plain http.
        session.fetch_token(
            endpoint.token_url,
            code=code,
            code_verifier=verifier,
            auth=_client(client_id, client_secret),
            include_client_id=False,
        )
    return question.grant()


def refresh(endpoint: "Endpoint", client_id: str, client_secret: Secret | None, refresh_token: Secret) -> Grant:
    """A new access token. The refresh token is spent as soon as the request has left: write the new one down
    first.

    Raises `LoginExpired` if Bitbucket does not take it, `ClientRefused`, `BitbucketRefused`, and
    `BitbucketUnreachable`, after which the refresh token may be spent although no answer came.
    """
    from git_credential_bitbucket.bitbucket.answers import REFRESH, Question  # here, not above: 110 ms

    question = Question(REFRESH, (refresh_token.reveal(), _revealed(client_secret)))
    with _session(endpoint, client_id, question) as session:
        session.refresh_token(
            endpoint.token_url,
            refresh_token=refresh_token.reveal(),
            auth=_client(client_id, client_secret),
        )
    return question.grant()


def mint(endpoint: "Endpoint", client_id: str, client_secret: Secret | None) -> Grant:
    """An access token by client credentials: it acts as the consumer, and there is no refresh token to it.

    Raises `ClientRefused`, `BitbucketRefused`, `BitbucketUnreachable`.
    """
    from oauthlib.oauth2 import BackendApplicationClient  # here, not above: 60 ms

    from git_credential_bitbucket.bitbucket.answers import MINT, Question  # here, not above: 110 ms

    question = Question(MINT, (_revealed(client_secret),))
    with _session(endpoint, client_id, question, client=BackendApplicationClient(client_id)) as session:
        session.fetch_token(endpoint.token_url, auth=_client(client_id, client_secret), include_client_id=False)
    return question.grant()


def swap(endpoint: "Endpoint", app_key: str, client_key: str, shared_secret: Secret | None) -> Grant:
    """An access token for the workspace that an Atlassian Connect app is installed in, for a JWT that we sign.

    Client key and shared secret came to the app's `installed` callback. There is no refresh token to it.
    Source: developer.atlassian.com/cloud/bitbucket/oauth-2-connect. Raises `SettingsError` where PyJWT is not
    installed, `ClientRefused`, `BitbucketRefused`, `BitbucketUnreachable`.
    """
    import requests  # here, not above: 100 ms, and most answers need no request

    from git_credential_bitbucket.bitbucket import transport  # here, not above: as above
    from git_credential_bitbucket.bitbucket.answers import SWAP, Question  # here, not above: as above

    signed = _signed(app_key, client_key, _revealed(shared_secret))
    question = Question(SWAP, (signed, _revealed(shared_secret)))
    transport.require_https(endpoint.token_url)
    with requests.Session() as session:
        transport.attach(session, endpoint)
        form, headers = {"grant_type": JWT_GRANT}, {"Authorization": f"JWT {signed}"}
        question.read(session.post(endpoint.token_url, data=form, headers=headers))
    return question.grant()


def _signed(app_key: str, client_key: str, shared_secret: str) -> str:
    try:
        import jwt  # here, not above: an extra, and few have such an app
    except ImportError as exc:
        raise SettingsError(
            "PyJWT, which signs for Connect apps, is not installed",
            hint="type: pipx inject git-credential-bitbucket PyJWT (or: pip install 'git-credential-bitbucket[jwt]')",
        ) from exc
    now = int(time.time())
    claims = {"iss": app_key, "sub": client_key, "iat": now, "exp": now + JWT_LIFE_S}
    return jwt.encode(claims, shared_secret, algorithm="HS256")


def revoke(endpoint: "Endpoint", client_id: str, client_secret: Secret | None, token: Secret) -> bool | None:
    """Whether Bitbucket took the revocation; None if it cannot be told, for the endpoint is undocumented
    there.

    Raises only `SettingsError`: a log-out goes on whatever the answer is.
    """
    import requests  # here, not above: 100 ms, and only a log-out needs it

    from git_credential_bitbucket.bitbucket import transport  # here, not above: as above
    from git_credential_bitbucket.errors import BitbucketRefused, BitbucketUnreachable  # beside its only use

    transport.require_https(endpoint.revoke_url)
    with requests.Session() as session:
        transport.attach(session, endpoint)
        try:
            answer = session.post(
                endpoint.revoke_url, data={"token": token.reveal()}, auth=_client(client_id, client_secret)
            )
        except (BitbucketUnreachable, BitbucketRefused):
            return None
    if answer.ok:
        return True
    return False if answer.status_code in {400, 401, 403} else None


def _session(
    endpoint: "Endpoint",
    client_id: str,
    question: "Question",
    *,
    client: "Client | None" = None,
    redirect_uri: str | None = None,
) -> "OAuth2Session":
    """A session for one request to the token endpoint, which has nothing of the environment in it.

    It never has a `scope`: the library would raise when the answer's scope differs from it, and Bitbucket
    answers with the consumer's; by then the code or the refresh token is spent. Scopes are for the authorize
    URL alone.
    """
    from requests_oauthlib import OAuth2Session  # here, not above: 130 ms, and most answers need no request

    from git_credential_bitbucket.bitbucket import transport  # here, not above: as above

    transport.require_https(endpoint.token_url)
    session = OAuth2Session(client_id, client=client, redirect_uri=redirect_uri)
    transport.attach(session, endpoint)
    for hook in ("access_token_response", "refresh_token_response"):
        session.register_compliance_hook(hook, question.read)
    return session


def _client(client_id: str, client_secret: Secret | None) -> "HTTPBasicAuth":
    """Client authentication as documented. As bytes, for requests would encode text as Latin-1."""
    from requests.auth import HTTPBasicAuth  # here, not above: 100 ms

    pair = client_id, _revealed(client_secret)
    return HTTPBasicAuth(*(part.encode("utf-8", "surrogateescape") for part in pair))


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""
