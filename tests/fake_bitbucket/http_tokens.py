"""Owns the REST of Data Center's HTTP access tokens: a person's, a project's, a repository's are made, listed, revoked.

Sources: developer.atlassian.com/server/bitbucket/rest, api-group-access-tokens (PUT answers 200 with the token, DELETE
204); confluence.atlassian.com/bitbucketserver, HTTP access tokens: a token can make no tokens, a project's permission
implies the same on its repositories, an expiry may be required and cannot be changed.
"""

import json
import re
from urllib.parse import unquote

from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.model import (
    HTTP_TOKEN_OF_PERSON,
    HTTP_TOKEN_OF_PROJECT,
    HTTP_TOKEN_OF_REPOSITORY,
    OAUTH,
    Person,
    Token,
)
from tests.fake_bitbucket.plumbing import Request, Response, json_response
from tests.fake_bitbucket.state import State

PATH = re.compile(r"^/rest/access-tokens/(?:1\.0|latest)/(users/[^/]+|projects/[^/]+(?:/repos/[^/]+)?)(?:/([^/]+))?$")
_PERMISSIONS = frozenset(f"{of}_{what}" for of in ("PROJECT", "REPO") for what in ("READ", "WRITE", "ADMIN"))
_DAY_S = 86400


def new_ident(state: State) -> str:
    """The next token's id, twelve digits."""
    return f"{len(state.tokens) + 1:012}"


def make(state: State, person: Person | None, place: str, permissions: list[str], name: str = "") -> Token:
    """A token of that person, or else of the project or repository `place`, made known; its id is in it, as seen."""
    kind = (HTTP_TOKEN_OF_REPOSITORY if "/" in place else HTTP_TOKEN_OF_PROJECT) if place else HTTP_TOKEN_OF_PERSON
    with state.lock:
        ident = new_ident(state)
        secret = tokens.http_token(ident if state.knobs.dc_id_in_token else "")
        token = Token(secret, kind, permissions, person, place=place, ident=ident, name=name)
        state.add_token(token)
    return token


def serve(state: State, request: Request, path: str, person: Person | None, used: Token | None) -> Response:
    """The answer to somebody: by password where `used` is None, else by that token."""
    found = PATH.match(path)
    assert found is not None
    if person is None and used is None:
        return _refusal(401, "Authentication failed. Please check your credentials and try again.")
    owner, place = _owner(state, unquote(found[1]))
    if not _may_manage(state, person, used, owner, place):
        return _refusal(403, "You are not permitted to access this resource")
    own = [one for one in state.tokens.values() if state.living(one.secret) and _is_of(one, owner, place)]
    if found[2] is not None:
        (*match,) = (one for one in own if one.ident == found[2])
        for one in match:
            one.revoked = True
        return Response(204) if match else _refusal(404, "There is no such token")
    if request.method == "GET":
        shown = [_shown(one) for one in own]
        return json_response(200, {"size": len(shown), "limit": 25, "isLastPage": True, "values": shown, "start": 0})
    if request.method != "PUT":
        return _refusal(405, "Method not allowed")
    return _made(state, json.loads(request.text()), owner, place)


def _made(state: State, wanted: dict[str, object], owner: Person | None, place: str) -> Response:
    permissions, days = wanted.get("permissions"), wanted.get("expiryDays")
    if not wanted.get("name") or not isinstance(permissions, list) or not _PERMISSIONS.issuperset(permissions):
        return _refusal(400, "The token needs a name and permissions")
    if days is None and state.knobs.dc_expiry_required:
        return _refusal(400, "Tokens must have an expiry")
    token = make(state, owner, place, permissions, str(wanted["name"]))
    if isinstance(days, int):
        token.expires_at = state.now() + days * _DAY_S
    return json_response(200, {**_shown(token), "token": token.secret})


def _owner(state: State, path: str) -> tuple[Person | None, str]:
    kind, *names = path.split("/")
    if kind == "users":
        return next((one for one in state.people.values() if slug_of(one) == names[0]), None), ""
    return None, "/".join(name for name in names if name != "repos")


def _may_manage(state: State, person: Person | None, used: Token | None, owner: Person | None, place: str) -> bool:
    """A person's own by password only; a project's or repository's by whoever reaches it, by password or OAuth."""
    if person is None or (used is not None and used.kind != OAUTH):
        return False
    if used is not None and not {"PROJECT_ADMIN", "REPO_ADMIN"} & set(used.scopes):
        return False
    if not place:
        return used is None and person is owner
    project = place.partition("/")[0].casefold()
    of_project = [one for one in state.repositories.values() if one.workspace.casefold() == project]
    return any(state.reaches(Token("", "", [], person), one) for one in of_project)


def _is_of(token: Token, owner: Person | None, place: str) -> bool:
    if not token.kind.startswith("dc_"):
        return False
    return token.place.casefold() == place.casefold() if place else token.person is owner and not token.place


def slug_of(person: Person) -> str:
    """A person's name in addresses: in lower case, other signs than letters and digits replaced."""
    return re.sub(r"[^a-z0-9._-]", "_", person.username.lower())


def _shown(token: Token) -> dict[str, object]:
    document: dict[str, object] = {"id": token.ident, "name": token.name, "permissions": token.scopes}
    if token.expires_at is not None:
        document |= {"expiryDate": int(token.expires_at * 1000), "expiryDays": 90}
    return document


def _refusal(status: int, message: str) -> Response:
    return json_response(status, {"errors": [{"context": None, "message": message, "exceptionName": None}]})
