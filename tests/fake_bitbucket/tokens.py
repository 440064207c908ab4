"""Owns the shape of Bitbucket's secrets: makes new ones, random, in that shape.

The shape (prefix, 192 characters, `=` at index 183, the last eight the CRC-32 of all before them in upper-case
hexadecimal) is what published tokens show; Atlassian staff name the prefixes, and call the length "varied".
"""

import base64
import hashlib
import secrets
import zlib

API_TOKEN_PREFIX = "ATATT3xFfGF0"
ACCESS_TOKEN_PREFIX = "ATCTT3xFfGN0"
APP_PASSWORD_PREFIX = "ATBB"
HTTP_TOKEN_PREFIX = "BBDC-"

TOKEN_LENGTH = 192
APP_PASSWORD_LENGTH = 36
CHECKSUM_LENGTH = 8

# An access or refresh token of an OAuth login is said to exceed 2,500 characters regularly
# (an Atlassian engineer in github.com/git-ecosystem/git-credential-manager, pull request 2433).
OAUTH_LENGTH = 2600


def api_token() -> str:
    """A person's API token (support.atlassian.com: using-api-tokens)."""
    return _checked(API_TOKEN_PREFIX, TOKEN_LENGTH, "=")


def access_token() -> str:
    """A repository, project or workspace access token (support.atlassian.com: using-access-tokens)."""
    return _checked(ACCESS_TOKEN_PREFIX, TOKEN_LENGTH, "=")


def app_password() -> str:
    """An app password, as people still have them in their configuration although they are dead."""
    return _checked(APP_PASSWORD_PREFIX, APP_PASSWORD_LENGTH, "")


def http_token(ident: str = "") -> str:
    """A Data Center HTTP access token: base64 of a 12-digit id, a colon and 20 random bytes (support.atlassian.com,
    "Git commands failing with URL rejected when using HTTP access tokens as basic auth").
    """
    ident = ident or f"{secrets.randbelow(10**12):012}"
    return HTTP_TOKEN_PREFIX + base64.b64encode(ident.encode() + b":" + secrets.token_bytes(20)).decode()


def oauth_token(length: int = OAUTH_LENGTH) -> str:
    """An OAuth access or refresh token of `length` characters, `=` at its end."""
    return _letters(length - 1) + "="


def consumer_pair(*, old: bool = False) -> tuple[str, str]:
    """Key and secret of an OAuth consumer: 32 and 76 characters since June 2026, 18 and 32 before."""
    return (_letters(18), _letters(32)) if old else (_letters(32), _letters(76))


def digest(secret: str) -> str:
    """What the log shows of a secret: enough to tell two apart, nothing to use."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _checked(prefix: str, length: int, before_checksum: str) -> str:
    body = prefix + _letters(length - len(prefix) - len(before_checksum) - CHECKSUM_LENGTH) + before_checksum
    return body + format(zlib.crc32(body.encode()), "08X")


def _letters(count: int) -> str:
    return secrets.token_urlsafe(count)[:count]
