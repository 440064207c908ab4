"""What the token endpoint answered, and what it means: tokens in any of its shapes, or an error in any of its many.

Imports no HTTP library. A refresh token is spent once it was sent, so the answer is kept as it came (`RawAnswer`), and
a new refresh token in it is found whatever else is wrong with it; only then the rest is judged. The shapes are those of
developer.atlassian.com/cloud/bitbucket/oauth-2, of CHANGE-3052 (community.developer.atlassian.com/t/99003), and of
published probes and issues.
"""

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl

from git_credential_bitbucket.bitbucket.providers import origin
from git_credential_bitbucket.errors import (
    BitbucketUnreachable,
    Error,
    InvalidClient,
    LoginExpired,
    LoginFailed,
    RejectedByBitbucket,
)
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.secret import Secret

GrantType = Literal["authorization_code", "refresh_token", "client_credentials", "jwt_bearer"]
"""What was asked for: tokens for an authorization code, for a refresh token, for client credentials, for a JWT."""

TOKEN_TIMEOUT_S = 300.0
"""How long an answer is waited for: the refresh token that was sent is spent, and the new one is in it."""
MAX_LIFETIME_S = 366 * 86400
"""Nothing that Bitbucket mints lives longer; a number beyond it is no lifetime."""
MAX_TOKEN_CHARACTERS = 32768
"""Less than git's own limit for a line of its protocol."""
MAX_KEPT_BYTES = 64 * 1024
"""The largest body that is kept as it came; of a larger one only the fields that count are."""

_FIELDS = ("access_token", "refresh_token", "expires_in", "scope", "scopes", "error", "error_description")
_MAX_FIELD = 8192
_IN_JSON = re.compile(r'"refresh_token"\s*:\s*("(?:[^"\\]|\\.)+")')
_IN_FORM = re.compile(r"(?:^|[&\s])refresh_token=([^&\s\"<]+)(?=([&\s\"<])?)")
_TOO_MANY, _SERVER_ERROR = 429, 500
_LATER = frozenset({"server_error", "temporarily_unavailable", "slow_down"})
_LOGIN_AGAIN = "run: git-credential-bitbucket login --oauth"
_CHECK_CONSUMER = (
    "check the consumer's key and secret in the workspace's settings under OAuth consumers, then log in again"
)
_CALLBACK_HINT = "set a callback URL in the consumer's settings, which client credentials need as well"
_APP_HINT = "check the app's key, the installation's client key and shared secret, and this machine's clock"
_PRIVATE_HINT = 'check key and secret, and that "This is a private consumer" is ticked in the consumer\'s settings'


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came. `retry_after` is in seconds; `incomplete` says in words why the body is not whole."""

    status: int
    content_type: str
    retry_after: float | None
    body: bytes = field(repr=False)
    incomplete: str | None = None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object, which holds the body and so may hold tokens."""
        return {**asdict(self), "body": base64.b64encode(self.body).decode()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "RawAnswer":
        """From `to_record`'s object. Raises `KeyError`, `TypeError` or `ValueError` if it is none."""
        known = {name: record[name] for name in cls.__slots__}
        return cls(**{**known, "body": base64.b64decode(known["body"], validate=True)})

    def compact(self) -> "RawAnswer":
        """The same to `interpret`, with a body of at most `MAX_KEPT_BYTES`."""
        if len(self.body) <= MAX_KEPT_BYTES:
            return self
        document = _document(self)
        kept = {name: value for name, value in (document or {}).items() if name in _FIELDS}
        kept = {name: value for name, value in kept.items() if _token(value) or len(json.dumps(value)) <= _MAX_FIELD}
        if (found := next(_refresh_tokens(self, document), None)) is not None:
            kept["refresh_token"] = found.reveal()
        body = json.dumps(kept if document is not None else [kept])  # a list is no document either
        if len(body) > MAX_KEPT_BYTES:
            body = json.dumps([{"refresh_token": kept.get("refresh_token")}])
        return replace(self, body=body.encode())


@dataclass(frozen=True, slots=True)
class Grant:
    """What Bitbucket granted. `expires_in` is in seconds from now, None if it did not say; then it is short.

    `refresh_token` is None if none came: client credentials are minted again, and without rotation the old one stays.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_in: int | None
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """An answer's meaning: a grant or an error, and the new refresh token, which may come with either.

    `refresh_token` is None where none came, and where it is the one that was sent.
    """

    refresh_token: Secret | None
    grant: Grant | None
    error: Error | None

    def granted(self) -> Grant:
        """The grant. Raises the error."""
        if self.grant is None:
            raise self.error or BitbucketUnreachable("the token endpoint was not asked")
        return self.grant


def interpret(raw: RawAnswer, asked: GrantType, url: str, sent: tuple[str, ...] = ()) -> TokenResponse:
    """What `raw`, which `url` answered, means. `sent` are the secrets of the request, which no error's text repeats.

    Raises nothing.
    """
    document = _document(raw)
    new = next((token for token in _refresh_tokens(raw, document) if token.reveal() not in sent), None)
    error = _error(raw, document, asked, origin(url), sent)
    grant = None if error is not None or document is None else parse_grant(document)
    if grant is None:
        lacks = "without a usable access token" if document is not None else "with something other than a JSON object"
        why = raw.incomplete or f"{origin(url)} answered {lacks}"
        return TokenResponse(new, None, error or BitbucketUnreachable(why))
    return TokenResponse(new, replace(grant, refresh_token=new or grant.refresh_token), None)


def parse_grant(document: Mapping[str, object]) -> Grant | None:
    """The grant in an answer's fields, which stand in a JSON object or in a redirect's fragment; None without one."""
    token = _token(document.get("access_token"))
    if token is None:
        return None
    return Grant(
        access_token=token,
        refresh_token=_token(document.get("refresh_token")),
        expires_in=_lifetime(document.get("expires_in")),
        scopes=_scopes(document.get("scope") or document.get("scopes")),
    )


def _document(raw: RawAnswer) -> dict[str, Any] | None:
    """The fields of an answer, by what its body is and not by its Content-Type; None where it has none."""
    text = raw.body.decode(json.detect_encoding(raw.body), "replace")
    try:
        document = json.loads(text, parse_int=_number)
    except (ValueError, RecursionError):
        fields = dict(parse_qsl(text.strip())) if raw.incomplete is None and text.isascii() else {}
        return fields if fields.keys() & {"access_token", "error"} else None
    return document if isinstance(document, dict) else None


def _number(digits: str) -> int | float:
    """Python refuses to read an integer of thousands of digits, and everything around it with it."""
    return int(digits) if len(digits) < 20 else math.inf  # noqa: PLR2004 - more than any number that counts


def _refresh_tokens(raw: RawAnswer, document: Mapping[str, object] | None) -> Iterator[Secret]:
    """Every usable refresh token in an answer, the likeliest first: the answer's own, else the last one anywhere.

    Looked for in the text, so that neither a broken end nor nesting nor a wrong encoding hides one.
    """
    if document is not None and (own := _token(document.get("refresh_token"))) is not None:
        yield own
    text = raw.body.replace(b"\0", b"").decode("utf-8", "replace")  # without NULs, UTF-16 and UTF-32 read as ASCII
    quoted = [_unquoted(each) for each in _IN_JSON.findall(text)]
    plain = [
        dict(parse_qsl("t=" + value)).get("t") for value, end in _IN_FORM.findall(text) if end or not raw.incomplete
    ]
    for value in (*reversed(quoted), *reversed(plain)):
        if (token := _token(value)) is not None:
            yield token


def _unquoted(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _error(
    raw: RawAnswer, document: dict[str, Any] | None, asked: GrantType, where: str, sent: tuple[str, ...]
) -> Error | None:
    """The error that an answer is, by its status or by its `error`; None where neither tells of one."""
    if raw.status == _TOO_MANY or raw.status >= _SERVER_ERROR:
        is_limited = raw.status == _TOO_MANY
        cause = "limits the rate of requests (429)" if is_limited else f"reported a server error ({raw.status})"
        return BitbucketUnreachable(f"{where} {cause}", hint="wait, then try again", retry_after=raw.retry_after)
    if 300 <= raw.status < 400:  # noqa: PLR2004 - redirects
        return RejectedByBitbucket(
            f"{where} answered with a redirect, which is not followed",
            hint="if it has moved, set credential.<url>.oauthTokenURL to the new address",
        )
    if document is not None and document.get("error"):  # also beside a 200
        return _named_error(document, asked, f"{where} rejected the request with {raw.status}", where, sent)
    if not 200 <= raw.status < 300:  # noqa: PLR2004 - success
        return RejectedByBitbucket(
            f"{where} rejected the request with {raw.status} and gave no reason",
            hint="check credential.<url>.oauthTokenURL",
        )
    return None


def _named_error(document: dict[str, Any], asked: GrantType, rejected: str, where: str, sent: tuple[str, ...]) -> Error:
    """The error that `document` names. Bitbucket sends them with 400 and with 401, so the status tells nothing."""
    code = document["error"] if isinstance(document["error"], str) else "error"
    said = _server_text(document, sent)
    if code in _LATER:
        return BitbucketUnreachable(f"{where} reported a server error{said}", hint="try again later")
    if "callback uri" in said.lower():
        return InvalidClient(f"the OAuth consumer has no callback URL{said}", hint=_CALLBACK_HINT)
    if asked == "refresh_token" and code in {"invalid_grant", "unauthorized_client"}:
        # A refresh token that was used before has been answered with either of them.
        return LoginExpired(f"Bitbucket rejected the refresh token{said}", hint=_LOGIN_AGAIN)
    if code in {"invalid_client", "unauthorized_client"}:
        hint = _PRIVATE_HINT if asked == "client_credentials" else _CHECK_CONSUMER
        return InvalidClient(f"Bitbucket rejected the OAuth consumer{said}", hint=hint)
    if asked == "jwt_bearer" and code == "invalid_grant":
        return InvalidClient(f"Bitbucket rejected the Connect app's JWT{said}", hint=_APP_HINT)
    if asked == "authorization_code" and code == "invalid_grant":
        return LoginFailed(
            f"Bitbucket rejected the authorization code{said}",
            hint="a code works once, and only for ten minutes: log in again",
        )
    return RejectedByBitbucket(f"{rejected} {_redacted(code, 40, sent)}{said}")


def _server_text(document: dict[str, Any], sent: tuple[str, ...]) -> str:
    """The server's own words, in brackets."""
    words = document.get("error_description")
    error = document["error"]
    if not isinstance(words, str) and isinstance(error, dict):
        words = error.get("message")
    if not isinstance(words, str) or not words.strip():
        words = error if isinstance(error, str) else ""
    return f" ({_redacted(words.strip(), 160, sent)})" if words else ""


def _redacted(words: str, characters: int, sent: tuple[str, ...]) -> str:
    """The server's words without anything secret that they may have repeated."""
    for secret in sent:
        words = words.replace(secret, "…") if secret else words
    return printable(words, characters)


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
