"""Owns the REST API: /2.0/user and the repository endpoint, with the shapes of their refusals.

Sources: developer.atlassian.com/cloud/bitbucket (oauth-2, rest); the headers x-credential-type and x-oauth-scopes,
and the 403 that still carries them, are seen on the live service; CHANGE-3052: tokens in the Authorization header
only, and only on the API host.
"""

import re
from urllib.parse import unquote

from tests.standin.access import NO_ACCESS_TEXT, REST_401, has_scope, rest_token
from tests.standin.model import ACCESS_TOKENS, OAUTH, Token
from tests.standin.plumbing import Request, Response, json_response
from tests.standin.state import State

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
    document = {
        "type": "repository",
        "full_name": f"{repository.workspace}/{repository.slug}",
        "uuid": repository.uuid,
        "is_private": not repository.public,
        "project": {"key": repository.project},
    }
    return json_response(200, document, _credential_headers(token))


def _lacks_scope(token: Token, required: str) -> Response:
    message = "Your credentials lack one or more required privilege scopes."
    detail = {"granted": token.scopes, "required": [required]}
    return json_response(
        403, {"type": "error", "error": {"message": message, "detail": detail}}, _credential_headers(token)
    )


def _credential_headers(token: Token) -> list[tuple[str, str]]:
    headers = [("x-oauth-scopes", ", ".join(token.scopes))]
    return headers if token.kind == OAUTH else [*headers, ("x-credential-type", token.kind)]
