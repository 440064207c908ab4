"""Kinds of secret, told apart by prefix, and what each needs. Imports only errors: the hot path uses it.

Prefixes and checksum were published by Atlassian staff and are checked by secret scanners; usernames are from
support.atlassian.com/bitbucket-cloud/docs/using-api-tokens and .../using-access-tokens. A secret's length is
"varied" by Atlassian's own words, so nothing here refuses one for its shape.
"""

from git_credential_bitbucket.errors import Problem, SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal

    from git_credential_bitbucket.secret import Secret

    Kind = Literal[
        "api-token",
        "access-token",
        "personal-token",
        "oauth",
        "client-credentials",
        "jwt-bearer",
        "app-password",
        "unknown",
    ]

API_TOKEN: "Final" = "api-token"
ACCESS_TOKEN: "Final" = "access-token"
PERSONAL_TOKEN: "Final" = "personal-token"
OAUTH: "Final" = "oauth"
CLIENT_CREDENTIALS: "Final" = "client-credentials"
JWT_BEARER: "Final" = "jwt-bearer"
APP_PASSWORD: "Final" = "app-password"
UNKNOWN: "Final" = "unknown"

MINTED: "frozenset[Kind]" = frozenset({CLIENT_CREDENTIALS, JWT_BEARER})
"""Kinds whose access token can be requested at any time, by client credentials or a JWT."""
RENEWABLE: "frozenset[Kind]" = MINTED | {OAUTH}
"""Kinds whose access token we can replace ourselves: by minting again, or by a refresh token."""

STATIC: "frozenset[Kind]" = frozenset({API_TOKEN, ACCESS_TOKEN, PERSONAL_TOKEN})
"""Kinds that a person creates in Bitbucket, and replaces once they have expired or were revoked."""

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
ACCESS_TOKEN_USERNAME = "x-token-auth"

APP_PASSWORDS_GONE = Problem(
    "this is an app password, and Bitbucket removed those on 28 July 2026",
    "create an API token, then run: git-credential-bitbucket login --api-token",
)
NEEDS_EMAIL = "Bitbucket's REST API accepts an API token only with the account's email address"
LOGIN_WITH_EMAIL = "log in again with the email address: git-credential-bitbucket login --api-token"

DATA_CENTER_PREFIX = "BBDC-"
"""Of a Data Center's HTTP access token: a person's (which takes its owner's username), project's or repository's."""
_PREFIXES: "tuple[tuple[str, Kind], ...]" = (
    ("ATATT", API_TOKEN),
    ("ATCTT", ACCESS_TOKEN),
    ("ATBB", APP_PASSWORD),
    (DATA_CENTER_PREFIX, PERSONAL_TOKEN),
)
_USERNAMES: "dict[str, str]" = {
    # The token's kind decides, never what a person typed: an email as the username gets 401, and so does
    # x-token-auth with an API token.
    API_TOKEN: API_TOKEN_USERNAME,
    **dict.fromkeys((ACCESS_TOKEN, OAUTH, CLIENT_CREDENTIALS, JWT_BEARER), ACCESS_TOKEN_USERNAME),
}
TOKEN_USERNAMES = frozenset(_USERNAMES.values())
"""Usernames that go only with tokens which Bitbucket issued."""
MIN_WHOLE_CHARACTERS = 24
"""App passwords have 36 characters, tokens more; a repository may be called ATBB-something."""
_CHECKSUM_DIGITS = 8
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""What web pages and chat programs put between letters: zero-width characters and the soft hyphen."""


def recognise(secret: str) -> "Kind":
    """The kind that `secret`'s prefix tells. OAuth tokens have no prefix of their own, so they are `UNKNOWN` here."""
    for prefix, kind in _PREFIXES:
        if secret.startswith(prefix):
            return kind
    return UNKNOWN


def foreign(secret: str, *, is_data_center: bool) -> Problem | None:
    """Why a Data Center, or else bitbucket.org, never gets a secret, by its prefix the other's; None if it may."""
    if is_data_center and recognise(secret) in (API_TOKEN, ACCESS_TOKEN):
        cause = "this is a token of bitbucket.org, which is never sent to Bitbucket Data Center"
        return Problem(cause, "use an HTTP access token of that server")
    if not is_data_center and recognise(secret) == PERSONAL_TOKEN:
        cause = "this is a token of Bitbucket Data Center, which is never sent to bitbucket.org"
        return Problem(cause, "use an API token or access token of Bitbucket Cloud")
    return None


def recognise_with(secret: str, username: str | None) -> "Kind":
    """As `recognise`; a Data Center's token is a project's or repository's where it goes with their username.

    support.atlassian.com/bitbucket-data-center/kb, "Git commands failing with URL rejected".
    """
    kind = recognise(secret)
    return ACCESS_TOKEN if kind == PERSONAL_TOKEN and username == ACCESS_TOKEN_USERNAME else kind


def git_username(kind: str) -> str | None:
    """The username that git must send with a secret of this kind; None where it is the person's own."""
    return _USERNAMES.get(kind)


def username_problem(secret: str, username: str | None) -> Problem | None:
    """What is wrong where git sent `secret` with a username that Bitbucket never takes for its kind; else None.

    A rejection then says nothing about the secret. An API token goes with its owner's Bitbucket username as well.
    """
    kind = recognise(secret)
    if kind == API_TOKEN and "@" in (username or ""):
        cause = "Bitbucket rejects an API token from git with an email address as the username"
    elif kind == ACCESS_TOKEN and username not in (None, ACCESS_TOKEN_USERNAME):
        cause = "Bitbucket rejects an access token from git with a username other than " + ACCESS_TOKEN_USERNAME
    else:
        return None
    hint = f"run: git-credential-bitbucket login --{kind} (or give git the username {git_username(kind)})"
    return Problem(cause, hint)


def rest_header(kind: str, email: str | None, secret: "Secret", hint: str = LOGIN_WITH_EMAIL) -> str:
    """The value of `Authorization` for api.bitbucket.org.

    An API token takes Basic with the account's email (the username gets 401), all others take Bearer. Raises
    `SettingsError` for an app password and, with the `hint`, for an API token whose email is not known.
    """
    if kind == APP_PASSWORD:
        raise SettingsError(APP_PASSWORDS_GONE.cause, hint=APP_PASSWORDS_GONE.hint)
    if kind != API_TOKEN:
        return f"Bearer {secret.reveal()}"
    if not email or "@" not in email or ":" in email:
        raise SettingsError(NEEDS_EMAIL, hint=hint)
    return basic_header(email, secret.reveal())


def basic_header(username: str, password: str) -> str:
    """The value of `Authorization` with a username and password."""
    from binascii import b2a_base64  # lazy: only REST needs it

    return "Basic " + b2a_base64(f"{username}:{password}".encode("utf-8", "surrogateescape"), newline=False).decode()


def is_checksum_valid(secret: str) -> bool | None:
    """Whether the CRC-32 at a token's end fits (8 upper-case hex digits, over all before); None if none is due."""
    if recognise(secret) in (UNKNOWN, PERSONAL_TOKEN):
        return None
    body, digits = secret[:-_CHECKSUM_DIGITS], secret[-_CHECKSUM_DIGITS:]
    from binascii import crc32  # lazy: only what a person types is checked

    return digits == f"{crc32(body.encode('utf-8', 'surrogateescape')):08X}"


def whole_tokens(text: str) -> set[str]:
    """The tokens in a URL or another text that splits at blanks and `:/@`; a Data Center's may hold slashes itself."""
    import re  # lazy: as unquote, only for what a person types
    from urllib.parse import unquote

    parts = map(unquote, re.findall(r"BBDC-[\w+/%=]+|[^\s:/@]+", text))
    return {part for part in parts if recognise(part) != UNKNOWN and len(part) >= MIN_WHOLE_CHARACTERS}


def has_id(secret: str) -> bool:
    """Whether a Data Center's token holds what they all do: base64 of a decimal id of twelve digits, and a colon."""
    from binascii import a2b_base64  # lazy: only the secret scan needs it

    try:
        decoded = a2b_base64(secret.removeprefix(DATA_CENTER_PREFIX))
    except ValueError:
        return False
    return decoded[:12].isdigit() and decoded[12:13] == b":"


def strip_wrapping(pasted: str) -> tuple[str, list[str]]:
    """A secret without what stands around it, and what that was; what is inside is left as it is."""
    removed: list[str] = []
    visible = "".join(c for c in pasted if c not in _INVISIBLE)
    secret = _without("invisible characters", pasted, visible, removed)
    secret = secret.rstrip("\r\n")  # every paste may end so: no warning
    secret = _without("spaces around it", secret, secret.strip(), removed)
    secret = _without("quotes around it", secret, _unquoted(secret), removed)
    for scheme in ("bearer ", "authorization: bearer "):
        if secret.lower().startswith(scheme):
            rest = secret[len(scheme) :].strip()
            secret = _without(f"`{scheme.strip()}` before it", secret, rest, removed)
    return secret, removed


def clean_paste(pasted: str) -> tuple[str, list[str]]:
    """A pasted secret without what came along with it, and what to tell the person, which does not repeat it."""
    secret, warnings = strip_wrapping(pasted)
    if recognise(secret) != UNKNOWN:  # a token has no blanks inside, but one copied over two lines does
        secret = _without("spaces inside it", secret, "".join(secret.split()), warnings)
    if recognise(secret) == APP_PASSWORD:
        warnings.append(f"{APP_PASSWORDS_GONE.cause}; {APP_PASSWORDS_GONE.hint}")
    elif "@" in secret and " " not in secret and "." in secret.rpartition("@")[2]:
        warnings.append("this looks like an email address, not a token")
    return secret, warnings


def _without(what: str, before: str, after: str, warnings: list[str]) -> str:
    if before != after:
        warnings.append(f"removed {what}")
    return after


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        return text[1:-1].strip()
    return text
