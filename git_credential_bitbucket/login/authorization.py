"""One OAuth authorization request: its URL, state and PKCE verifier, and the checks of Bitbucket's redirect.

Used by browser and paste. A code comes in the redirect's query, a token (implicit grant) in its fragment; both are
`name=value&…`.
"""

import hmac
import secrets
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from git_credential_bitbucket.bitbucket import oauth, providers, token_kinds, token_response
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.bitbucket.token_response import Grant
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.git_protocol import printable

MAX_CODE_CHARACTERS = 2048
"""Bitbucket's codes have about twenty."""
_MAX_FIELDS = 50
_STATE_BYTES, _VERIFIER_BYTES = 32, 64  # RFC 7636 wants a verifier of 43 to 128 characters; 64 bytes are 86

_SCOPE_HINT = (
    "allow repository read (and write, to push) in the consumer's permissions, "
    "or list the OAuth scopes that it has in credential.<url>.oauthScopes"
)


@dataclass(frozen=True, slots=True)
class CodeGrant:
    """An authorization code, and what the token request must repeat. Codes live ten minutes and work once."""

    code: str = field(repr=False)
    redirect_uri: str
    verifier: str = field(repr=False)


class Attempt:
    """One login in progress: its secrets, and whether it was answered."""

    def __init__(self, provider: Provider, client_id: str, scopes: tuple[str, ...], *, implicit: bool = False) -> None:
        """`implicit`: the implicit grant, for a token instead of a code.

        Raises `SettingsError` if OAuth may not run with this provider.
        """
        providers.check_oauth(provider)
        self.implicit = implicit
        self.redirect_uri = provider.redirect_uri
        self._state = secrets.token_urlsafe(_STATE_BYTES)
        self._verifier = secrets.token_urlsafe(_VERIFIER_BYTES)
        self._claimed = threading.Lock()
        asked = provider.endpoint, client_id, self.redirect_uri, scopes, self._state
        self.url = oauth.implicit_url(*asked) if implicit else oauth.authorize_url(*asked, self._verifier)
        """The authorization URL that the user opens; it contains no secret."""

    def matches_state(self, query: str) -> bool:
        """Whether the redirect's query or fragment has this attempt's `state`, compared in constant time."""
        states = _fields(query).get("state", [])
        if len(states) != 1:
            return False
        return hmac.compare_digest(states[0].encode("utf-8", "surrogateescape"), self._state.encode())

    def claim(self) -> bool:
        """Take the one answer that a state is good for; False for every later one."""
        return self._claimed.acquire(blocking=False)

    def grant(self, query: str) -> CodeGrant:
        """The code in a redirect's query. Raises `LoginFailed` with the error in it, if there is one."""
        codes = _granted_fields(query).get("code", [])
        if len(codes) != 1:
            raise LoginFailed("Bitbucket's answer contains no authorization code", hint="log in again")
        return self.with_code(codes[0])

    def token(self, fragment: str) -> Grant:
        """The token in a redirect's fragment. Raises `LoginFailed` as `grant` does."""
        fields = _granted_fields(fragment)
        grant = token_response.parse_grant({name: values[0] for name, values in fields.items() if len(values) == 1})
        if grant is None:
            raise LoginFailed("Bitbucket's answer contains no usable token", hint="log in again")
        return grant

    def is_error(self, query: str) -> bool:
        """Whether a redirect with this query reports an error."""
        return self.matches_state(query) and "error" in _fields(query)

    def with_code(self, code: str) -> CodeGrant:
        """The grant of a bare code. Raises `LoginFailed` if it is not a code."""
        if not 0 < len(code) <= MAX_CODE_CHARACTERS or not code.isascii() or not code.isprintable() or " " in code:
            raise LoginFailed("not an authorization code", hint="log in again")
        if token_kinds.recognise(code) != token_kinds.UNKNOWN:
            hint = "to store a token, run: git-credential-bitbucket login"
            raise LoginFailed("this is a token, not an authorization code", hint=hint)
        return CodeGrant(code, self.redirect_uri, self._verifier)


def _fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:  # more fields than anything but an attack has
        return {}


def _granted_fields(query: str) -> dict[str, list[str]]:
    """The fields of a redirect. Raises `LoginFailed` where they report an error."""
    fields = _fields(query)
    if "error" not in fields:
        return fields
    error, description = fields["error"][0], fields.get("error_description", [""])[0]
    if error == "access_denied":
        raise LoginFailed("access was denied in the browser", hint="to allow it, log in again")
    text = printable(error, 40) + (f": {printable(description, 160)}" if description else "")
    raise LoginFailed(f"Bitbucket rejected the login ({text})", hint=_SCOPE_HINT if error == "invalid_scope" else None)
