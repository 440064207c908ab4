"""Owns the REST API: /2.0/user, a repository and a workspace's list of them, with the shapes of their refusals.

Sources: developer.atlassian.com/cloud/bitbucket (oauth-2, rest); the headers x-credential-type and x-oauth-scopes,
and the 403 that still carries them, are seen on the live service; CHANGE-3052: tokens in the Authorization header
only, and only on the API host. The list is filtered by `q` and paged by `next`
(developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories).
"""

import re
from urllib.parse import unquote, urlencode

from tests.fake_bitbucket.access import NO_ACCESS_TEXT, REST_401, has_scope, rest_token
from tests.fake_bitbucket.model import ACCESS_TOKENS, OAUTH, Repository, Token
from tests.fake_bitbucket.plumbing import Request, Response, json_response
from tests.fake_bitbucket.state import State

_WORKSPACE = re.compile(r"^/2\.0/repositories/([^/]+)/?$")
_OF_PROJECT = re.compile(r'project\.key="([^"]+)"')
_PAGE_LENGTH = 10
_REPOSITORY = re.compile(r"^/2\.0/repositories/([^/]+)/([^/]+)/?$")


def serve(state: State, request: Request) -> Response:
    """One REST request; the web host knows no token there."""
    if request.host != "api":
        return json_response(401, REST_401)
    token = rest_token(state, request.offered)
    if isinstance(token, Response):
        return token
    if request.path.rstrip("/") == "/2.0/user":
        return _user(token)
    if found := _WORKSPACE.match(request.path):
        return _list(state, token, unquote(found[1]), request.parameters())
    if found := _REPOSITORY.match(request.path):
        return _repository(state, token, unquote(found[1]), unquote(found[2]))
    return json_response(404, {"type": "error", "error": {"message": "Resource not found"}}, _credential_headers(token))


def _user(token: Token) -> Response:
    # Repository, project and workspace tokens are valid but no person: 403, headers set.
    if token.kind in ACCESS_TOKENS or not has_scope(token, "account"):
        return _lacks_scope(token, "account")
    if token.person is None:
        # CHANGE-3052: client_credentials act as an app user.
        document = {"type": "app_user", "display_name": "OAuth consumer", "kind": "repository_access_token"}
        return json_response(200, document, _credential_headers(token))
    person = token.person
    document = {
        "type": "user",
        "username": person.username,
        "nickname": person.username,
        "display_name": person.display_name,
        "uuid": person.uuid,
        "account_id": person.account_id,
    }
    return json_response(200, document, _credential_headers(token))


def _repository(state: State, token: Token, workspace: str, slug: str) -> Response:
    repository = state.repository(workspace, slug)
    if not has_scope(token, "repository"):
        return _lacks_scope(token, "repository")
    if repository is None or not state.reaches(token, repository):
        status = 404 if repository is None else state.knobs.no_access_status
        return json_response(
            status, {"type": "error", "error": {"message": NO_ACCESS_TEXT}}, _credential_headers(token)
        )
    return json_response(200, _shown(repository), _credential_headers(token))


def _list(state: State, token: Token, workspace: str, parameters: dict[str, str]) -> Response:
    """A page of the repositories that the token reaches; without the scope for a repository it gets 403."""
    if not has_scope(token, "repository"):
        return _lacks_scope(token, "repository")
    query = _OF_PROJECT.fullmatch(parameters.get("q", ""))
    if "q" in parameters and query is None:
        message = "Invalid filter"
        return json_response(400, {"type": "error", "error": {"message": message}}, _credential_headers(token))
    found = [
        repository
        for repository in state.repositories.values()
        if repository.workspace.casefold() == workspace.casefold()
        and (state.reaches(token, repository) or repository.public)
        and (query is None or query[1].casefold() == repository.project.casefold())
    ]
    page, length = int(parameters.get("page", "1")), min(int(parameters.get("pagelen", _PAGE_LENGTH)), _PAGE_LENGTH)
    document: dict[str, object] = {"page": page, "pagelen": length, "size": len(found)}
    document["values"] = [_shown(repository) for repository in found[(page - 1) * length : page * length]]
    if page * length < len(found):
        following = {**parameters, "page": str(page + 1)}
        document["next"] = f"{state.api_url}/repositories/{workspace}?{urlencode(following)}"
    return json_response(200, document, _credential_headers(token))


def _shown(repository: Repository) -> dict[str, object]:
    return {
        "type": "repository",
        "full_name": f"{repository.workspace}/{repository.slug}",
        "slug": repository.slug,
        "uuid": repository.uuid,
        "is_private": not repository.public,
        "project": {"key": repository.project},
    }


def _lacks_scope(token: Token, required: str) -> Response:
    message = "Your credentials lack one or more required privilege scopes."
    detail = {"granted": token.scopes, "required": [required]}
    return json_response(
        403, {"type": "error", "error": {"message": message, "detail": detail}}, _credential_headers(token)
    )


def _credential_headers(token: Token) -> list[tuple[str, str]]:
    headers = [("x-oauth-scopes", ", ".join(token.scopes))]
    return headers if token.kind == OAUTH else [*headers, ("x-credential-type", token.kind)]
