"""Owns the token endpoint and the revocation endpoint: every grant, rotation, and the error bodies.

Sources: developer.atlassian.com/cloud/bitbucket/oauth-2 (grants, client authentication); CHANGE-3052 at
community.developer.atlassian.com/t/99003 (rotation, `scope`, no refresh token for client_credentials); answers and
errors as in published probes and issues (github.com/p2/OAuth2 issue 96, github.com/terrakube-io/terrakube issue 47).
"""

import base64
import hashlib
import hmac
import json

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.model import Code, Consumer, Login, RefreshToken, Token
from tests.fake_bitbucket.plumbing import Request, Response, json_response, plain
from tests.fake_bitbucket.state import State

JWT_GRANT = "urn:bitbucket:oauth2:jwt"

# What the log keeps of a form; secrets appear as digests only.
_LOGGED = ("grant_type", "redirect_uri", "scope")
_LOGGED_AS_DIGEST = ("code", "refresh_token", "code_verifier", "token")


def serve_token(state: State, request: Request) -> Response:
    """One request to /site/oauth2/access_token."""
    form = _logged_form(request)
    grant_type = form.get("grant_type")
    grants = {
        "authorization_code": _authorization_code,
        "refresh_token": _refresh,
        "client_credentials": _client_credentials,
    }
    # Grant first, client second: a JSON body has neither, and is told about the grant.
    if grant_type == JWT_GRANT:
        return _jwt(state, request)
    if grant_type not in grants:
        return _error(state, "invalid_grant", f"Unsupported grant type: {grant_type}")
    consumer = _client(state, request, form)
    if isinstance(consumer, Response):
        return consumer
    with state.lock:
        return grants[grant_type](state, consumer, form)


def serve_revoke(state: State, request: Request) -> Response:
    """POST /site/oauth2/revoke, which is not documented: RFC 7009's answer, or 404 by knob."""
    form = _logged_form(request)
    if not state.knobs.revocation:
        return plain(404, "Not found")
    consumer = _client(state, request, form)
    if isinstance(consumer, Response):
        return consumer
    with state.lock:
        secret = form.get("token", "")
        client = state.tokens.get(secret) or state.refresh_tokens.get(secret)
        if client is not None and client.login is not None and client.login.consumer is consumer:
            client.login.revoked = True
    return json_response(200, {})


def answer(state: State, token: Token, refresh: RefreshToken | None, grant_type: str) -> dict[str, object]:
    """The token endpoint's document (its fields as in github.com/terrakube-io/terrakube issue 47)."""
    knobs = state.knobs
    document: dict[str, object] = {
        "access_token": token.secret,
        knobs.scope_field: " ".join([*token.scopes, *knobs.extra_scopes]),
        "token_type": "bearer",
        "state": grant_type,
    }
    if not knobs.omit_expires_in:
        lifetime = knobs.token_lifetime
        document["expires_in"] = int(lifetime) if lifetime == int(lifetime) else lifetime
    if refresh is not None:
        document["refresh_token"] = refresh.secret
    return document


def _authorization_code(state: State, consumer: Consumer, form: dict[str, str]) -> Response:
    code = state.codes.get(form.get("code", ""))
    if code is None or code.used or code.expires_at <= state.now() or code.login.consumer is not consumer:
        return _error(state, "invalid_grant", "The specified code is not valid.")
    # RFC 6749, 4.1.3: what was sent to authorize is sent again, and the same.
    if code.redirect_uri is not None and form.get("redirect_uri") != code.redirect_uri:
        return _error(state, "invalid_grant", "The redirect_uri does not match the one of the authorization request.")
    code.used = True
    if not _verifier_fits(code, form.get("code_verifier", "")):
        return _error(state, "invalid_grant", "The code_verifier does not match the code_challenge.")
    return _minted(state, code.login, "authorization_code", with_refresh_token=True)


def _refresh(state: State, consumer: Consumer, form: dict[str, str]) -> Response:
    refresh = state.refresh_tokens.get(form.get("refresh_token", ""))
    if refresh is None or refresh.login.consumer is not consumer or refresh.login.revoked:
        return _error(state, "invalid_grant", "Invalid refresh_token")
    login, now = refresh.login, state.now()
    if refresh.used:
        # No grace: a published probe was refused at once, and for a while with the valid token as well.
        login.locked_until = now + state.knobs.reuse_lockout
    if refresh.used or now < login.locked_until:
        return _error(state, state.knobs.reuse_error, "Invalid OAuth client credentials")
    if refresh.expires_at <= now:
        return _error(state, "invalid_grant", "Invalid refresh_token")
    if not state.knobs.rotate_refresh_tokens:
        token, _ = state.mint(login, with_refresh_token=False)
        told = None if state.knobs.omit_refresh_token else refresh
        return json_response(200, answer(state, token, told, "refresh_token"))
    refresh.used = True
    return _minted(state, login, "refresh_token", with_refresh_token=True)


def _client_credentials(state: State, consumer: Consumer, _form: dict[str, str]) -> Response:
    if not consumer.callback:
        return _error(state, "invalid_request", "No callback uri defined for the OAuth client.", status=400)
    if not consumer.private:
        return _error(state, "unauthorized_client", "The client_credentials grant needs a private consumer.")
    login = state.add_login(consumer, None, consumer.scopes)
    with_refresh_token = state.knobs.client_credentials_refresh_token
    return _minted(state, login, "client_credentials", with_refresh_token=with_refresh_token)


def _jwt(state: State, request: Request) -> Response:
    """Bitbucket's own grant: `Authorization: JWT …`, HS256 with the client's secret, issued by its key."""
    claims = _claims(state, request.offered.secret) if request.offered.kind == "jwt" else None
    if claims is None:
        return _error(state, "invalid_grant", "The JWT is missing, not valid, or has expired.")
    with state.lock:
        consumer = state.consumers[str(claims["iss"])]
        login = state.add_login(consumer, None, consumer.scopes)
        return _minted(state, login, JWT_GRANT, with_refresh_token=False)


def _claims(state: State, encoded: str) -> dict[str, object] | None:
    try:
        header, payload, signature = encoded.split(".")
        claims = json.loads(_unpadded(payload))
        consumer = state.consumers[claims["iss"]]
        wanted = hmac.new(consumer.secret.encode(), f"{header}.{payload}".encode(), hashlib.sha256).digest()
        fits = json.loads(_unpadded(header))["alg"] == "HS256" and hmac.compare_digest(wanted, _unpadded(signature))
        return claims if fits and float(claims["exp"]) > state.now() else None
    except (ValueError, KeyError, TypeError):
        return None


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _minted(state: State, login: Login, grant_type: str, *, with_refresh_token: bool) -> Response:
    token, refresh = state.mint(login, with_refresh_token=with_refresh_token)
    return json_response(200, answer(state, token, refresh, grant_type))


def _client(state: State, request: Request, form: dict[str, str]) -> Consumer | Response:
    """The consumer that asks: by Basic, as documented, or by client_id and client_secret in the body."""
    if request.offered.kind == "basic":
        key, secret = request.offered.username, request.offered.secret
    else:
        key, secret = form.get("client_id", ""), form.get("client_secret", "")
    if not key and not secret:
        text = "Requests must be authenticated using OAuth client credentials"
        return _error(state, "unauthorized_client", text)
    request.entry.username = key
    request.entry.secret = tokens.digest(secret)
    consumer = state.consumers.get(key)
    if consumer is None or not hmac.compare_digest(consumer.secret.encode(), secret.encode()):
        return _error(state, "unauthorized_client", "Invalid OAuth client credentials")
    return consumer


def _verifier_fits(code: Code, verifier: str) -> bool:
    """PKCE is undocumented but tolerated; a challenge that was sent is checked (RFC 7636, 4.6)."""
    if code.challenge is None:
        return True
    if code.challenge_method == "S256":
        made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    else:
        made = verifier
    return hmac.compare_digest(made.encode(), code.challenge.encode())


def _logged_form(request: Request) -> dict[str, str]:
    form = request.form()
    logged = request.entry.form
    logged.update({name: form[name] for name in _LOGGED if name in form})
    logged.update({name: tokens.digest(form[name]) for name in _LOGGED_AS_DIGEST if name in form})
    logged["client_authentication"] = request.offered.kind or ("body" if "client_id" in form else "none")
    return form


def _error(state: State, error: str, description: str, *, status: int = 0) -> Response:
    return json_response(status or state.knobs.error_status, {"error": error, "error_description": description})
