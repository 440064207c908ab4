"""Asks Bitbucket's REST API whether a secret is valid, without needing a scope that git does not need.

Imports kinds; transport and requests only inside functions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.errors import BitbucketUnreachable
from git_credential_bitbucket.wire import printable

if TYPE_CHECKING:
    from requests import Response

    from git_credential_bitbucket.bitbucket.providers import Endpoint
    from git_credential_bitbucket.secret import Secret

_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Bitbucket says of a secret. `valid` is None where it says nothing; `reason` then tells why.

    `username` and `account_id` are the person's, where Bitbucket tells them.
    """

    valid: bool | None
    username: str | None = None
    account_id: str | None = None
    scopes: tuple[str, ...] = ()
    reason: str | None = None


def verify(endpoint: "Endpoint", kind: str, email: str | None, secret: "Secret") -> Verdict:
    """Ask `/user` with `secret`. Raises `SettingsError` where it cannot even be asked (an API token without its
    email).

    Only 200, 401 and a 403 with Bitbucket's credential headers are verdicts. The 403 means valid: access tokens are
    no person, and a token with git's scopes alone may not read the account.
    """
    from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms, and only a person's verbs ask

    header = {"Authorization": kinds.rest_header(kind, email, secret), "Accept": "application/json"}
    try:
        response = transport.ask(endpoint, "GET", endpoint.api_url + "/user", headers=header)
    except BitbucketUnreachable as exc:
        return Verdict(valid=None, reason=exc.cause)
    return _verdict(response, kind)


def _verdict(response: "Response", kind: str) -> Verdict:
    scopes = _header(response, "x-oauth-scopes")
    if response.status_code == _UNAUTHORIZED:
        reason = "the token is not valid"
        if kind == kinds.API_TOKEN:
            reason += ", or it belongs to another email address, or it was made without scopes"
        return Verdict(valid=False, reason=reason)
    if response.status_code == _OK or _is_of_a_credential(response, scopes):
        return Verdict(
            valid=True,
            username=_of_person(response, "username"),
            account_id=_of_person(response, "account_id"),
            scopes=tuple((scopes or "").replace(",", " ").split()),
        )
    return Verdict(valid=None, reason=f"Bitbucket answered with {response.status_code}, which is no verdict")


def _is_of_a_credential(response: "Response", scopes: str | None) -> bool:
    """Whether a 403 is Bitbucket's own, which knows the token."""
    return response.status_code == _FORBIDDEN and bool(scopes or _header(response, "x-credential-type"))


def _header(response: "Response", name: str) -> str | None:
    value = response.headers.get(name)
    return printable(value, 1000) if value else None


def _of_person(response: "Response", field: str) -> str | None:
    """What the answer says of the person; an app user (client credentials) has no username."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    name = document.get(field) if isinstance(document, dict) else None
    return printable(name, 100) if isinstance(name, str) and name else None
