"""The REST of Data Center's HTTP access tokens: list, create, revoke. Cloud has nothing like it.

Who asks is a person by password, or an OAuth login with an admin's OAuth scopes: a token can neither create tokens nor
revoke them (confluence.atlassian.com/bitbucketserver, HTTP access tokens; BSERV-10482). Paths and fields:
developer.atlassian.com/server/bitbucket/rest, api-group-access-tokens.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from git_credential_bitbucket.bitbucket import rest, token_kinds
from git_credential_bitbucket.errors import BitbucketUnreachable, Error, RejectedByBitbucket
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from requests import Response

    from git_credential_bitbucket.bitbucket.providers import Endpoint

_OK, _NO_CONTENT, _UNAUTHORIZED, _NOT_FOUND = 200, 204, 401, 404
_TOO_MANY, _SERVER_ERROR = 429, 500
_ID = re.compile(rb"(\d{12}):")
_LISTED_ID, _SECRET = re.compile(r"[0-9A-Za-z_-]{1,100}"), re.compile(r"[!-~]{8,1000}")
_MAX_EXPIRY_MS, _MAX_DAYS = 10**14, 10**5
"""The year 5138, and 273 years: what is later is no date."""
_ID_CHARACTERS = 20
"""Base64 of the id, the colon and a little of what follows."""


@dataclass(frozen=True, slots=True)
class HttpToken:
    """A token as its server lists it; `expires_at` is in epoch seconds."""

    id: str
    name: str
    permissions: tuple[str, ...]
    expires_at: float | None = None
    expiry_days: int | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose tokens are meant (`path`: `users/SLUG`, `projects/KEY` or `projects/KEY/repos/SLUG`), and who asks."""

    endpoint: Endpoint
    path: str
    authorization: Secret

    def list_tokens(self) -> list[HttpToken]:
        """All tokens of the owner, page by page. Raises `Error`; `RejectedByBitbucket` where who asks may not."""
        found: list[HttpToken] = []
        start: object = 0
        for _ in range(rest.MAX_PAGES):
            page = rest.document_of(self._request("GET", f"?limit=100&start={start}", expected=(_OK,)))
            found += [one for one in map(_token, rest.values_of(page)) if _LISTED_ID.fullmatch(one.id)]
            start = page.get("nextPageStart")
            if page.get("isLastPage", True) or not isinstance(start, int):
                return found
        raise RejectedByBitbucket("Bitbucket's list of tokens is too long to be read")

    def create_token(self, name: str, permissions: tuple[str, ...], days: int | None) -> tuple[HttpToken, Secret]:
        """A new token and its secret, which is told only now. Raises `Error`."""
        wanted: dict[str, Any] = {"name": name, "permissions": list(permissions)}
        if days is not None:
            wanted["expiryDays"] = days
        told = rest.document_of(self._request("PUT", "", expected=(_OK,), json=wanted))
        new, secret = _token(told), told.get("token")
        if not (isinstance(secret, str) and _SECRET.fullmatch(secret) and _LISTED_ID.fullmatch(new.id)):
            hint = "the old token stays in use; the next rotation revokes the new one, if it was created"
            raise RejectedByBitbucket("Bitbucket answered without the new token", hint=hint)
        return new, Secret(secret)

    def revoke_token(self, token: HttpToken) -> None:
        """Revoke a token; one that is gone already counts. Raises `Error`."""
        self._request("DELETE", f"/{quote(token.id, safe='')}", expected=(_OK, _NO_CONTENT, _NOT_FOUND))

    def _request(self, method: str, rest_of_path: str, *, expected: tuple[int, ...], **more: Any) -> Response:  # noqa: ANN401 - requests' own
        base = self.endpoint.api_url.rpartition("/rest/")[0]
        url = f"{base}/rest/access-tokens/latest/{self.path}{rest_of_path}"
        answer = rest.request(self.endpoint, method, url, self.authorization.reveal(), **more)
        if answer.status_code not in expected:
            raise _rejection(answer)
        return answer


def owner_path(endpoint: Endpoint, scope: str, username: str | None, authorization: Secret) -> str:
    """The path of a person's tokens, or without a `username` of those of the project or repository of `scope`.

    A person's slug is mostly the username in lower case; the server tells. Raises `Error`.
    """
    if username is None:
        names = [quote(part, safe="~") for part in scope.split("/")[3:5]]
        if not names:
            hint = "create one in Bitbucket's settings, and log in with it and with --for PROJECT or PROJECT/REPOSITORY"
            raise Error("this token is stored for the whole server, so its project or repository is unknown", hint=hint)
        return "/".join(f"{kind}/{name}" for kind, name in zip(("projects", "repos"), names, strict=False))
    url = f"{endpoint.api_url}/users?limit=100&filter={quote(username, safe='')}"
    answer = rest.request(endpoint, "GET", url, authorization.reveal())
    if answer.status_code == _UNAUTHORIZED or _denial(answer):
        raise _rejection(answer)
    people = rest.values_of(rest.document_of(answer))
    named = (one for one in people if str(one.get("name")).lower() == username.lower())
    slug = next((one.get("slug") for one in named), None)
    return f"users/{quote(slug if isinstance(slug, str) else username.lower(), safe='')}"


def find_token(tokens: list[HttpToken], secret: Secret) -> HttpToken | None:
    """The listed token that has this secret, by the id in it; None where it has none, or it is not listed.

    support.atlassian.com/bitbucket-data-center/kb, "Git commands failing with URL rejected", has a token whose base64
    begins with twelve digits and a colon.
    """
    encoded = secret.reveal().removeprefix(token_kinds.DATA_CENTER_PREFIX)[:_ID_CHARACTERS]
    try:
        match = _ID.match(b64decode(encoded, validate=True))
    except ValueError:
        return None
    return next((one for one in tokens if match and one.id == match[1].decode()), None)


def _token(told: dict[str, Any]) -> HttpToken:
    permissions, expiry, days = told.get("permissions"), told.get("expiryDate"), told.get("expiryDays")
    return HttpToken(
        id=str(told.get("id") or ""),
        name=printable(str(told.get("name", "")), 200),
        permissions=tuple(map(str, permissions)) if isinstance(permissions, list) else (),
        expires_at=expiry / 1000 if isinstance(expiry, int) and 0 < expiry < _MAX_EXPIRY_MS else None,
        expiry_days=days if isinstance(days, int) and 0 < days < _MAX_DAYS else None,
    )


def _denial(answer: Response) -> str:
    return answer.headers.get("X-Authentication-Denied-Reason", "")


def _rejection(answer: Response) -> Error:
    if _denial(answer).startswith("CAPTCHA"):
        hint = "log in with a browser and solve it there, then run the command again"
        return RejectedByBitbucket("the server requires a CAPTCHA for this account", hint=hint)
    if answer.status_code == _UNAUTHORIZED:
        hint = "it was sent once: servers lock an account after wrong attempts; check it before you run this again"
        return RejectedByBitbucket("the server rejected the username or the password", hint=hint)
    errors = rest.document_of(answer).get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    said = f": {printable(str(first['message']), 200)}" if first.get("message") else ""
    is_passing = answer.status_code >= _SERVER_ERROR or answer.status_code == _TOO_MANY
    return (BitbucketUnreachable if is_passing else RejectedByBitbucket)(
        f"the server answered with {answer.status_code}{said}"
    )
