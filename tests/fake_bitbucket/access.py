"""Owns who may do what: which credential git and REST accept, with which username, and each refusal."""

from tests.fake_bitbucket.model import ACCESS_TOKENS, API_TOKEN, Repository, Token
from tests.fake_bitbucket.plumbing import Offered, Response, json_response, plain
from tests.fake_bitbucket.state import State
from tests.fake_bitbucket.tokens import APP_PASSWORD_PREFIX

# What Bitbucket asks git for (seen by several tools; github.com/dimileeh/agent-workspace-fabric issue 467).
CHALLENGE = ("WWW-Authenticate", 'Basic realm="Bitbucket.org HTTP"')

# community.atlassian.com, "Deprecation notice: Bitbucket Cloud app password brownout": git gets 410 and this.
APP_PASSWORD_TEXT = (
    "CHANGE-3222 remove: App passwords are deprecated and must be replaced with API tokens. "
    "See the deprecation notice for Bitbucket Cloud app passwords."
)
NO_ACCESS_TEXT = "You may not have access to this repository or it no longer exists in this workspace."

# support.atlassian.com, using-api-tokens and using-access-tokens: the usernames that git must give.
API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"

# REST's 401, as bitbucket-cli's users report it (github.com/avivsinai/bitbucket-cli issue 174).
REST_401 = {"type": "error", "error": {"message": "Token is invalid, expired, or not supported for this endpoint."}}


def authorise_git(state: State, offered: Offered, repository: Repository | None, *, write: bool) -> Response | None:
    """None where git may go on; else the answer that git gets."""
    if offered.kind is None and repository is not None and repository.public and not write:
        return None
    token = git_token(state, offered)
    if isinstance(token, Response):
        return token
    if not state.use(token):
        return unauthorised()
    if repository is None:
        return plain(404, NO_ACCESS_TEXT)
    if not state.reaches(token, repository):
        return plain(state.knobs.no_access_status, NO_ACCESS_TEXT)
    if not has_scope(token, "repository", write=write):
        return plain(403, "Your credentials lack one or more required privilege scopes.")
    return None


def git_token(state: State, offered: Offered) -> Token | Response:
    """The living token behind a Basic credential with the username of its kind; else the refusal."""
    if offered.secret.startswith(APP_PASSWORD_PREFIX):
        return plain(410, APP_PASSWORD_TEXT)
    token = state.living(offered.secret) if offered.kind == "basic" else None
    if token is None or not _username_fits(token, offered.username):
        return unauthorised()
    # An API token without scopes gets 401, and so does its owner's email (issue 467, the username matrix).
    if token.kind == API_TOKEN and not token.scopes:
        return unauthorised()
    return token


def rest_token(state: State, offered: Offered) -> Token | Response:
    """The living token behind Bearer, or behind Basic email:token for an API token; else the refusal."""
    if offered.secret.startswith(APP_PASSWORD_PREFIX):
        return json_response(410, {"type": "error", "error": {"message": APP_PASSWORD_TEXT}})
    token = state.living(offered.secret)
    if token is None or (token.kind == API_TOKEN) != (offered.kind == "basic"):
        return json_response(401, REST_401)
    if token.kind == API_TOKEN:
        owner = token.person
        if owner is None or not token.scopes or offered.username.casefold() != owner.email.casefold():
            return json_response(401, REST_401)
    return token


def has_scope(token: Token, subject: str, *, write: bool = False) -> bool:
    """Whether the scopes cover it.

    An API token's write does not imply read (support.atlassian.com, api-token-permissions).
    """
    if token.kind == API_TOKEN:
        names = {"account": "user"}
        return f"{'write' if write else 'read'}:{names.get(subject, subject)}:bitbucket" in token.scopes
    implied = {f"{subject}:write", f"{subject}:admin"}
    return bool(implied.intersection(token.scopes)) or (not write and subject in token.scopes)


def unauthorised() -> Response:
    """What git gets for a credential that is not good."""
    return plain(401, "Unauthorized", [CHALLENGE])


def _username_fits(token: Token, username: str) -> bool:
    if token.kind in ACCESS_TOKENS or token.login is not None:
        return username == TOKEN_USERNAME
    if username == API_TOKEN_USERNAME:
        return True
    return token.person is not None and username.casefold() == token.person.username.casefold()
