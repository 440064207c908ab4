"""Reads what the token endpoint answers: a grant in either of its two shapes, or an error in any of its
many.

Imports requests and failures, so oauth.py imports it inside functions. An answer with
a new refresh token in it must never be lost to a detail: the old one is spent. So nothing here is stricter
than it has to be.
"""

import io
import json
import math
from collections.abc import Mapping
from typing import Any

from requests import Response

from git_credential_bitbucket.bitbucket import failures
from git_credential_bitbucket.bitbucket.grant import Grant
from git_credential_bitbucket.bitbucket.providers import origin
from git_credential_bitbucket.errors import (
    BitbucketRefused,
    BitbucketUnreachable,
    ClientRefused,
    Error,
    LoginExpired,
    LoginFailed,
)
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.wire import printable

EXCHANGE, REFRESH, MINT, SWAP = "exchange", "refresh", "mint", "swap"

MAX_LIFETIME_S = 366 * 86400
"""Nothing that Bitbucket mints lives longer; a number beyond it is no lifetime."""
MAX_TOKEN_CHARACTERS = 32768
"""Less than git's own limit for a line of its protocol."""

_LATER = frozenset({"server_error", "temporarily_unavailable", "slow_down"})
_LOGIN_AGAIN = "type: git-credential-bitbucket login --oauth"
_CHECK_CONSUMER = (
    "check the consumer's key and secret in the workspace's settings under OAuth consumers, then log in again"
)
_CALLBACK_HINT = "give the consumer a callback URL in the workspace's settings, also for client credentials"
_APP_HINT = "check the app's key, the client key and the shared secret, which came with its installation; and the clock"
_PRIVATE_HINT = 'check key and secret, and that "This is a private consumer" is ticked in the consumer\'s settings'


class Question:
    """One question to the token endpoint. A class for its state: what was asked with, and the grant
    that came.
    """

    def __init__(self, grant_type: str, sent: tuple[str, ...]) -> None:
        """`sent` is what no error's text may repeat."""
        self._grant_type = grant_type
        self._sent = tuple(text for text in sent if text)
        self._grant: Grant | None = None

    def grant(self) -> Grant:
        """What `read` found."""
        if self._grant is None:
            raise BitbucketUnreachable("the token endpoint was not asked")
        return self._grant

    def read(self, response: Response) -> Response:
        """Take the grant from an answer, or raise the error that it is; a compliance hook of
        requests-oauthlib.

        Returns the answer as the library can read it: it would raise on an `expires_in` that is no number,
        and with OAUTHLIB_STRICT_TOKEN_TYPE in the environment on a missing `token_type`.
        """
        document = self._document(response)
        self._grant = self._granted(response, document)
        plain = Response()
        plain.status_code, plain.encoding = response.status_code, "utf-8"
        plain.raw = io.BytesIO(json.dumps({"access_token": document["access_token"], "token_type": "bearer"}).encode())
        return plain

    def _document(self, response: Response) -> dict[str, Any]:
        where = origin(response.url)
        unavailable = failures.unavailable(response)
        if unavailable is not None:
            raise unavailable
        try:
            document = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
        error = document.get("error") if isinstance(document, dict) else None
        if error:  # also beside a 200
            raise self._refusal(where, response.status_code, document)
        if not response.ok:
            raise BitbucketRefused(
                f"{where} refused with {response.status_code} and gave no reason",
                hint="check credential.<url>.oauthTokenURL",
            )
        if not isinstance(document, dict):
            # By what it is and not by its Content-Type: a grant under a wrong one is still a grant.
            raise BitbucketUnreachable(f"{where} answered with something that is no JSON object")
        return document

    def _granted(self, response: Response, document: dict[str, Any]) -> Grant:
        grant = granted(document)
        if grant is None:
            raise BitbucketUnreachable(f"{origin(response.url)} answered without a usable access token")
        return grant

    def _refusal(self, where: str, status: int, document: dict[str, Any]) -> Error:
        """The error that `document` names. Bitbucket sends them with 400 and with 401, so the status tells
        nothing.
        """
        code = document["error"] if isinstance(document["error"], str) else "error"
        said = self._said(document)
        if code in _LATER:
            return BitbucketUnreachable(f"{where} has a problem{said}", hint="try again later")
        if "callback uri" in said.lower():
            return ClientRefused(f"the OAuth consumer has no callback URL{said}", hint=_CALLBACK_HINT)
        if self._grant_type == REFRESH and code in {"invalid_grant", "unauthorized_client"}:
            # A refresh token that was used before has been answered with either of them.
            return LoginExpired(f"Bitbucket does not take the refresh token{said}", hint=_LOGIN_AGAIN)
        if code in {"invalid_client", "unauthorized_client"}:
            hint = _PRIVATE_HINT if self._grant_type == MINT else _CHECK_CONSUMER
            return ClientRefused(f"Bitbucket does not take the OAuth consumer{said}", hint=hint)
        if self._grant_type == SWAP and code == "invalid_grant":
            return ClientRefused(f"Bitbucket does not take the Connect app's JWT{said}", hint=_APP_HINT)
        if self._grant_type == EXCHANGE and code == "invalid_grant":
            return LoginFailed(
                f"Bitbucket does not take the authorization code{said}",
                hint="codes live ten minutes and work once: log in again",
            )
        return BitbucketRefused(f"{where} refused with {status} {printable(code, 40)}{said}")

    def _said(self, document: dict[str, Any]) -> str:
        """The server's own words, in brackets, without anything secret that it may have repeated."""
        words = document.get("error_description")
        error = document["error"]
        if not isinstance(words, str) and isinstance(error, dict):
            words = error.get("message")
        if not isinstance(words, str) or not words.strip():
            words = error if isinstance(error, str) else ""
        for secret in self._sent:
            words = words.replace(secret, "…")
        return f" ({printable(words.strip(), 160)})" if words else ""


def granted(document: Mapping[str, object]) -> Grant | None:
    """The grant in an answer's fields, which stand in a JSON object or in a redirect's fragment; None without one."""
    token = _token(document.get("access_token"))
    if token is None:
        return None
    return Grant(
        access_token=token,
        refresh_token=_token(document.get("refresh_token")),
        expires_in=_lifetime(document.get("expires_in")),
        scopes=_scopes(document.get("scope", document.get("scopes"))),
    )


def _token(value: object) -> Secret | None:
    """A token that git can be given: one line of visible ASCII."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN_CHARACTERS:
        return None
    return Secret(value) if value.isascii() and value.isprintable() and " " not in value else None


def _lifetime(value: object) -> int | None:
    """Whole seconds; None for what is none, which means short and not for ever."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) or not 0 < value <= MAX_LIFETIME_S:
        return None
    return int(value)


def _scopes(value: object) -> tuple[str, ...]:
    """Names from `scope` (new) or `scopes` (old), in a string with blanks or commas between, or in a list."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list):
        return ()
    names = (each for each in value if isinstance(each, str) and each.isascii() and each.isprintable())
    return tuple(dict.fromkeys(names))
