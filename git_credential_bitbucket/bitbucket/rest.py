"""Asks Bitbucket whether a secret is valid, as git does and by REST, without needing a scope that git does not need.

Imports transport and requests only inside functions.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar
from urllib.parse import urlencode

from git_credential_bitbucket import deadline
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import BitbucketUnreachable, Error, RejectedByBitbucket
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import Response

    from git_credential_bitbucket.bitbucket.providers import Endpoint
    from git_credential_bitbucket.secret import Secret

_T = TypeVar("_T")
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
DEADLINE_S = 6.0
"""How long a person's verb waits for verdicts, name resolution included: without a network it must not hang."""
MAX_PAGES = 100
"""Of a project's repositories, a hundred each."""


class VerdictView(TypedDict):
    """A verdict as verbs show it; empty where Bitbucket did not say, and then `reason` tells why."""

    verdict: Literal["valid", "rejected", "denied", ""]
    reason: str
    bitbucket_username: str | None
    account_id: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Bitbucket says of a secret. `valid` is None where it says nothing; `reason` then tells why.

    `username` and `account_id` are the person's, where Bitbucket tells them. `is_denied`: the secret is known, and has
    no access to the repository, or that does not exist.
    """

    valid: bool | None
    username: str | None = None
    account_id: str | None = None
    scopes: tuple[str, ...] = ()
    reason: str | None = None
    is_denied: bool = False

    def view(self) -> VerdictView:
        """The form that is shown."""
        said = {True: "valid", False: "rejected", None: "denied" if self.is_denied else ""}
        return {
            "verdict": said[self.valid],  # type: ignore[typeddict-item]  # words of the literal
            "reason": printable(self.reason or "", 1000),
            "bitbucket_username": self.username,
            "account_id": self.account_id,
        }


def find_verdict(ask: "Callable[[], Verdict]", seconds: float = DEADLINE_S) -> Verdict:
    """As `find_verdicts`, of one question."""
    return find_verdicts({"": ask}, seconds)[""]


def find_verdicts(
    questions: "Mapping[str, Callable[[], Verdict]]", seconds: float = DEADLINE_S
) -> "dict[str, Verdict]":
    """The verdicts that `questions` get, asked at once; none where one takes longer than `seconds` or cannot be asked.

    An `Error` is that of a proxy of an unknown kind, a CA file that cannot be read, an API token without its email.
    """
    found = {}
    for name, told in _each_within(seconds, questions).items():
        if isinstance(told, Error | TimeoutError):
            found[name] = Verdict(valid=None, reason=told.cause if isinstance(told, Error) else str(told))
        elif isinstance(told, BaseException):
            raise told
        else:
            found[name] = told
    return found


def within_deadline(work: "Callable[[], _T]") -> _T:
    """The result of `work` within `DEADLINE_S`. Raises its `Error`, and `BitbucketUnreachable` after that time."""
    (result,) = _each_within(DEADLINE_S, {"": work}).values()
    if isinstance(result, TimeoutError):
        raise BitbucketUnreachable(str(result))
    if isinstance(result, BaseException):
        raise result
    return result


def _each_within(seconds: float, work: "Mapping[str, Callable[[], _T]]") -> "dict[str, _T | BaseException]":
    from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms, and seconds on a busy machine

    del transport  # each function imports it, which is no part of its time
    return deadline.each_within(seconds, work)


def verify_for_git(endpoint: "Endpoint", repository: str, kind: str, secret: "Secret") -> Verdict:
    """Ask as git does before it fetches from `repository`, a URL without `.git`; a token may be there only to push.

    401 is a rejection, 403 and 404 are a denial. A yes says nothing of write access.
    """
    from git_credential_bitbucket.bitbucket import transport  # lazy: 110 ms, and only a person's verbs ask

    login, header = (token_kinds.git_username(kind), secret.reveal()), {"Git-Protocol": "version=2"}
    status = 0
    for service in ("git-upload-pack", "git-receive-pack"):
        url = f"{endpoint.clone_url(repository)}/info/refs?service={service}"
        try:
            status = transport.send_request(endpoint, "GET", url, auth=login, headers=header, whole=False).status_code
        except BitbucketUnreachable as exc:
            return Verdict(valid=None, reason=exc.cause)
        if status not in (_FORBIDDEN, _NOT_FOUND):
            break
    if status == _OK:
        reason = None if service == "git-upload-pack" else "it can push but not fetch"
        return Verdict(valid=True, reason=reason)
    if status == _UNAUTHORIZED:
        return Verdict(valid=False, reason="the token is not valid")
    if status in (_FORBIDDEN, _NOT_FOUND):
        reason = f"Bitbucket answered git with {status}: no access, or no such repository"
        return Verdict(valid=None, reason=reason, is_denied=True)
    return Verdict(valid=None, reason=_no_verdict(status))


def request(
    endpoint: "Endpoint",
    method: str,
    url: str,
    authorization: str | None = None,
    **more: Any,  # noqa: ANN401 - requests' own
) -> "Response":
    """The answer to a request for JSON. Raises `BitbucketUnreachable`, `SettingsError`."""
    from git_credential_bitbucket.bitbucket import transport  # lazy: as above

    header = {"Accept": "application/json"} | ({"Authorization": authorization} if authorization else {})
    return transport.send_request(endpoint, method, url, headers=header, **more)


def verify(endpoint: "Endpoint", kind: str, email: str | None, secret: "Secret") -> Verdict:
    """Ask `/user` with `secret`. Raises `BitbucketUnreachable`, and `SettingsError` for an API token without its email.

    Only 200, 401 and a 403 with Bitbucket's credential headers are verdicts. The 403 means valid: access tokens are
    no person, and a token with git's scopes alone may not read the account.
    """
    response = request(endpoint, "GET", endpoint.identity_url, token_kinds.rest_header(kind, email, secret))
    scopes = _header(response, "x-oauth-scopes")
    if response.status_code == _UNAUTHORIZED:
        reason = "the token is not valid"
        if kind == token_kinds.API_TOKEN:
            reason += ", belongs to another email address, or was created without scopes"
        return Verdict(valid=False, reason=reason)
    is_known = response.status_code == _FORBIDDEN and (scopes or _header(response, "x-credential-type"))
    if response.status_code == _OK or is_known:
        return Verdict(
            valid=True,
            username=_of_person(response, "username"),
            account_id=_of_person(response, "account_id"),
            scopes=tuple((scopes or "").replace(",", " ").split()),
        )
    return Verdict(valid=None, reason=_no_verdict(response.status_code))


def _no_verdict(status: int) -> str:
    return f"Bitbucket answered with {status}, which says nothing about the token"


def _header(response: "Response", name: str) -> str | None:
    value = response.headers.get(name)
    return printable(value, 1000) if value else None


def document_of(response: "Response") -> dict[str, Any]:
    """The JSON object of an answer; empty where it has none."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def values_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects on a page of a list, as Cloud and Data Center send it."""
    values = page.get("values")
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _of_person(response: "Response", field: str) -> str | None:
    """What the answer says of the person; an app user (client credentials) has no username."""
    name = document_of(response).get(field)
    return printable(name, 100) if isinstance(name, str) and name else None


class TokenScope(NamedTuple):
    """What an access token is of: a repository, a project's key where it is a project's, or else a workspace."""

    path: str
    project: str | None = None


def find_token_scope(endpoint: "Endpoint", secret: "Secret", repository: str) -> TokenScope | None:
    """What an access token reaches that reaches `repository` (`workspace/name`); None where Bitbucket does not tell.

    Bitbucket names the kind of token beside every answer. A public repository says nothing, for it answers everybody;
    no list tells more, since those across workspaces are gone (CHANGE-2770). Raises `Error`.
    """
    bearer = token_kinds.rest_header(token_kinds.ACCESS_TOKEN, None, secret)
    response = request(endpoint, "GET", f"{endpoint.api_url}/repositories/{repository}", bearer)
    told = document_of(response)
    if response.status_code != _OK or told.get("is_private") is not True:
        return None
    kind, workspace = _header(response, "x-credential-type"), repository.partition("/")[0]
    if kind == "repo_access_token":
        return TokenScope(repository)
    if kind == "workspace_access_token":
        return TokenScope(workspace)
    project = told.get("project")
    key = project.get("key") if isinstance(project, dict) else None
    return TokenScope(workspace, key) if kind == "project_access_token" and is_project_key(key) else None


def is_project_key(key: object) -> bool:
    """Whether this is the key of a project: letters, digits and `_`, beginning with a letter."""
    return isinstance(key, str) and key.isascii() and key.isidentifier() and not key.startswith("_")


def repositories_of(
    endpoint: "Endpoint",
    kind: str,
    secret: "Secret",
    workspace: str,
    project: str,
    run: "Callable[[Callable[[], Response]], Response]" = lambda ask: ask(),
) -> tuple[str, ...]:
    """The names of a project's repositories, page by page; `run` performs each request. Raises `Error`.

    developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories; it needs the scope that git's fetch needs.
    """
    authorization = token_kinds.rest_header(kind, None, secret)
    base = f"{endpoint.api_url}/repositories/{workspace}"
    query = {"q": f'project.key="{project}"', "pagelen": "100", "fields": "next,values.full_name"}
    url, names = f"{base}?{urlencode(query)}", dict[str, None]()
    for _ in range(MAX_PAGES):
        response = run(partial(request, endpoint, "GET", url, authorization))
        if response.status_code != _OK:
            reason = {_UNAUTHORIZED: "the token is not valid", _FORBIDDEN: "the token may not list the repositories"}
            raise RejectedByBitbucket(reason.get(response.status_code, _no_verdict(response.status_code)))
        document = document_of(response)
        for one in values_of(document):
            name = one.get("full_name")
            if isinstance(name, str) and (found := re.search(r"(?:^|/)([a-z0-9._-]+)$", name.lower())):
                names[found[1]] = None
        url = document.get("next") or ""
        if not url:
            return tuple(names)
        if not (isinstance(url, str) and url.startswith(f"{base}?")):
            break  # the token goes to no other address
    raise RejectedByBitbucket("Bitbucket's list of repositories is too long to be read")
