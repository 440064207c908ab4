"""Owns a Data Center beside the Cloud: another listener, with the same people and repositories.

Its REST, OAuth and git over HTTPS, at a context path if `dc_context` says so, and the lock after failed logins.
Sources: confluence.atlassian.com/bitbucketserver, HTTP access tokens and OAuth 2.0 provider API; the header
X-AUSERNAME, the realm, login-options and the 401 of /rest/oauth2/1.0/client as git-credential-manager asks for them;
project and repository tokens by Basic with x-token-auth (support.atlassian.com, "Git commands failing with URL
rejected"), which older versions count as a failed login (github.com/fluxcd/pkg issue 442).
"""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tests.fake_bitbucket import git_backend, http_tokens, oauth
from tests.fake_bitbucket.authorize import Authorize
from tests.fake_bitbucket.model import (
    HTTP_TOKEN_OF_PERSON,
    HTTP_TOKEN_OF_PROJECT,
    HTTP_TOKEN_OF_REPOSITORY,
    OAUTH,
    Person,
    Repository,
    Token,
)
from tests.fake_bitbucket.plumbing import Offered, Request, Response, json_response, plain
from tests.fake_bitbucket.state import State

Room = Callable[[State, Request], Response]

CHALLENGE = ("WWW-Authenticate", 'Basic realm="Atlassian Bitbucket"')
TOKEN_USERNAME = "x-token-auth"
TOKENS = frozenset({HTTP_TOKEN_OF_PERSON, HTTP_TOKEN_OF_PROJECT, HTTP_TOKEN_OF_REPOSITORY})

_GIT = re.compile(r"^/scm/([^/]+)/([^/]+?)\.git/(info/refs|git-upload-pack|git-receive-pack)$")
_REST = re.compile(r"^/rest/api/(?:1\.0|latest)(/.*)$")
_OAUTH = re.compile(r"^/rest/oauth2/(?:1\.0|latest)/(authorize|token|revoke|client)$")
_USER = re.compile(r"^/users(?:/([^/]+))?$")
_PROJECT = re.compile(r"^/projects/([^/]+)$")
_REPOSITORIES = re.compile(r"^/projects/([^/]+)/repos$")
_REPOSITORY = re.compile(r"^/projects/([^/]+)/repos/([^/]+)$")
# From the weakest on; a project's permission implies the same on its repositories.
_STRENGTH = ("READ", "WRITE", "ADMIN")
_CAPTCHA = "CAPTCHA required: your Bitbucket account has been marked as requiring a CAPTCHA to be solved."


@dataclass
class Account:
    """Who asks. Without a person and a token: anonymous. `by_password`: as its person in every respect."""

    name: str = ""
    person: Person | None = None
    token: Token | None = None

    @property
    def by_password(self) -> bool:
        """Whether it gave the person's own password."""
        return self.person is not None and self.token is None

    def may(self, state: State, repository: Repository, strength: str) -> bool:
        """Whether it may do there what needs READ, WRITE or ADMIN."""
        if repository.public and strength == "READ":
            return True
        if self.token is None:
            return self.person is not None and state.reaches(Token("", "", [], self.person), repository)
        wanted = _STRENGTH[_STRENGTH.index(strength) :]
        granted = {scope.rpartition("_")[2] for scope in self.token.scopes if scope.startswith(("REPO_", "PROJECT_"))}
        return bool(granted.intersection(wanted)) and _reaches(state, self.token, repository)


def find_room(state: State, authorize: Authorize, path: str) -> tuple[str, Room]:
    """The endpoint's name for the log and the faults, and what serves it."""
    context = state.knobs.dc_context
    if not path.startswith(context + "/"):
        return "none", _nothing
    path = path[len(context) :]
    if _GIT.match(path):
        return "git", lambda state, request: _git(state, request, path)
    if found := _OAUTH.match(path):
        return _oauth_room(state, authorize, found[1])
    if path == "/rest/authconfig/1.0/login-options":
        return "api", lambda _, __: json_response(200, {"results": [{"type": "LOGIN_FORM"}]})
    if http_tokens.PATH.match(path):
        return "access-tokens", lambda state, request: _access_tokens(state, request, path)
    if found := _REST.match(path):
        rest = found[1]
        return "api", lambda state, request: _rest(state, request, rest)
    return "none", _nothing


def _access_tokens(state: State, request: Request, path: str) -> Response:
    account = authenticate(state, request.offered)
    if isinstance(account, Response):
        return account
    return _named(account, http_tokens.serve(state, request, path, account.person, account.token))


def authenticate(state: State, offered: Offered) -> Account | Response:
    """Who that credential is; a refusal where it is none. A failed Basic attempt counts towards the lock."""
    if offered.kind is None:
        return Account()
    name = offered.username.casefold()
    if offered.kind == "basic" and state.failed_attempts.get(name, 0) >= state.knobs.dc_attempts:
        return _locked(state)
    account = _account(state, offered)
    if account is not None:
        state.failed_attempts.pop(name, None)
        return account
    if offered.kind == "basic":
        with state.lock:
            state.failed_attempts[name] = state.failed_attempts.get(name, 0) + 1
    return _unauthorised()


def _account(state: State, offered: Offered) -> Account | None:
    token = state.living(offered.secret)
    if token is not None and (token.kind in TOKENS or token.kind == OAUTH):
        if offered.kind == "basic" and not _username_fits(state, token, offered.username):
            return None
        name = token.person.username if token.person else f"access-token-user/{token.ident}"
        return Account(name, token.person, token)
    person = state.people.get(offered.username.casefold())
    if offered.kind != "basic" or person is None or not person.password:
        return None
    if not hmac.compare_digest(person.password.encode(), offered.secret.encode()):
        return None
    return Account(person.username, person)


def _username_fits(state: State, token: Token, username: str) -> bool:
    if token.kind == OAUTH:
        return True
    if token.kind == HTTP_TOKEN_OF_PERSON:
        return token.person is not None and username.casefold() == token.person.username.casefold()
    return state.knobs.dc_basic_for_tokens and username == TOKEN_USERNAME


def _reaches(state: State, token: Token, repository: Repository) -> bool:
    if token.kind == HTTP_TOKEN_OF_PROJECT:
        return token.place.casefold() == repository.workspace.casefold()
    if token.kind == HTTP_TOKEN_OF_REPOSITORY:
        return token.place.casefold() == f"{repository.workspace}/{repository.slug}".casefold()
    return state.reaches(token, repository)


def _git(state: State, request: Request, path: str) -> Response:
    found = _GIT.match(path)
    assert found is not None
    project, slug, rest = (unquote(part) for part in found.groups())
    service = request.parameters().get("service", "") if rest == "info/refs" else rest
    account = authenticate(state, request.offered)
    if isinstance(account, Response):
        return account
    repository = state.repository(project, slug)
    write = service == "git-receive-pack"
    if repository is None or not account.may(state, repository, "WRITE" if write else "READ"):
        if not account.name:
            return _unauthorised()
        # What a person may not see, Data Center says does not exist; what it may only read, it forbids.
        is_seen = repository is not None and account.may(state, repository, "READ")
        return plain(403 if is_seen else 404, "The requested repository does not exist, or you may not access it.")
    if account.token is not None and not state.use(account.token):
        return _unauthorised()
    return git_backend.run_backend(state, request, repository, rest)


def _rest(state: State, request: Request, path: str) -> Response:
    account = authenticate(state, request.offered)
    if isinstance(account, Response):
        return account
    return _named(account, _answer(state, account, path, request.parameters().get("filter", "").casefold()))


def _answer(state: State, account: Account, path: str, filter_text: str) -> Response:
    if path == "/application-properties":
        version = state.knobs.dc_version
        document = {"version": version, "buildNumber": "9004001", "buildDate": "1700000000", "displayName": "Bitbucket"}
        return json_response(200, document)
    if not account.name:
        return _unauthorised()
    if found := _USER.match(path):
        return _people(state, found[1], filter_text)
    projects = {repository.workspace for repository in _readable(state, account)}
    if path == "/projects":
        return json_response(200, _page([{"key": key} for key in sorted(projects)]))
    if found := _PROJECT.match(path):
        key = unquote(found[1]).casefold()
        return next((json_response(200, {"key": one}) for one in projects if one.casefold() == key), _missing())
    if found := _REPOSITORIES.match(path):
        key = unquote(found[1]).casefold()
        own = [_shown(one) for one in _readable(state, account) if one.workspace.casefold() == key]
        return json_response(200, _page(own))
    if found := _REPOSITORY.match(path):
        repository = state.repository(unquote(found[1]), unquote(found[2]))
        if repository is not None and account.may(state, repository, "READ"):
            return json_response(200, _shown(repository))
    return _missing()


def _people(state: State, name: str | None, filter_text: str) -> Response:
    if name is None:
        people = [_shown_person(one) for one in state.people.values() if filter_text in one.username.casefold()]
        return json_response(200, _page(people))
    person = state.people.get(unquote(name).casefold())
    return _missing() if person is None else json_response(200, _shown_person(person))


def _readable(state: State, account: Account) -> list[Repository]:
    return [one for one in state.repositories.values() if account.may(state, one, "READ")]


def _page(values: list[dict[str, object]]) -> dict[str, object]:
    return {"size": len(values), "limit": 25, "isLastPage": True, "values": values, "start": 0}


def _shown(repository: Repository) -> dict[str, object]:
    return {"slug": repository.slug, "public": repository.public, "project": {"key": repository.workspace}}


def _shown_person(person: Person) -> dict[str, object]:
    name = person.username
    return {
        "name": name,
        "slug": http_tokens.slug_of(person),
        "emailAddress": person.email,
        "active": True,
        "type": "NORMAL",
    }


def _oauth_room(state: State, authorize: Authorize, name: str) -> tuple[str, Room]:
    if not state.knobs.dc_oauth:
        return "none", _nothing
    rooms: dict[str, tuple[str, Room]] = {
        "authorize": ("authorize", lambda _, request: _authorize(state, authorize, request)),
        "token": ("token", oauth.serve_token),
        "revoke": ("revoke", oauth.serve_revoke),
        "client": ("api", lambda _, __: _unauthorised()),
    }
    return rooms[name]


def _authorize(state: State, authorize: Authorize, request: Request) -> Response:
    """The consent page; a redirect that is not https is refused unless an administrator allowed it."""
    redirect = request.parameters().get("redirect_uri", "https:")
    if state.knobs.dc_https_redirects_only and request.method == "GET" and not redirect.startswith("https:"):
        return plain(400, "redirect_uri must use https")
    return authorize.serve(request)


def _named(account: Account, response: Response) -> Response:
    if account.name:
        response.headers.append(("X-AUSERNAME", account.name))
    response.headers.append(("X-AREQUESTID", "@1VK2Y3Ax600x1x0"))
    return response


def _unauthorised() -> Response:
    errors = [{"context": None, "message": "Authentication failed. Please check your credentials and try again."}]
    headers = [CHALLENGE, ("X-AREQUESTID", "@1VK2Y3Ax600x2x0")]
    return json_response(401, {"errors": errors}, headers)


def _locked(state: State) -> Response:
    reason = f"CAPTCHA_CHALLENGE; login-url={state.data_center_origin}{state.knobs.dc_context}/login"
    return plain(403, _CAPTCHA, [("X-Authentication-Denied-Reason", reason)])


def _missing() -> Response:
    return json_response(404, {"errors": [{"message": "Not found, or you may not see it."}]})


def _nothing(_state: State, _request: Request) -> Response:
    return plain(404, "Not found")
