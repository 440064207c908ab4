"""What a Data Center says of itself, and of a token: whether it is valid, whose it is, and what it reaches.

Asks by Bearer only: a failed Basic attempt with a person's name counts towards the lock of the account (a CAPTCHA).
Sources: confluence.atlassian.com/bitbucketserver, HTTP access tokens; X-AUSERNAME as other clients read it;
/rest/api/1.0/application-properties is public; git-credential-manager takes a 401 of /rest/oauth2/1.0/client for the
sign of OAuth (BitbucketRestApi).
"""

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from git_credential_bitbucket.bitbucket import hosts, providers, scopes, token_kinds
from git_credential_bitbucket.bitbucket.rest import Verdict, document_of, request, verify_for_git
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response

    from git_credential_bitbucket.bitbucket.providers import Endpoint
    from git_credential_bitbucket.git_config import GitConfig
    from git_credential_bitbucket.secret import Secret

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_ANONYMOUS = "anonymous"
WANTS_BEARER = (
    "this server takes project and repository tokens by Bearer only, for which git 2.46 needs the setting "
    "credential.<url>.authtype=bearer"
)


def verify(endpoint: "Endpoint", kind: str, secret: "Secret", repository: str | None = None) -> Verdict:
    """Whether a token is valid, whose it is, and whether it reaches `repository`, a scope.

    `username` is a person's, and empty for a project's or repository's token. Raises `BitbucketUnreachable`.
    """
    answer = ask(endpoint, endpoint.identity_url, secret)
    if answer.status_code == _UNAUTHORIZED:
        return Verdict(valid=False, reason="the token is not valid")
    name = unquote(answer.headers.get("X-AUSERNAME", ""))
    if answer.status_code != _OK or name in ("", _ANONYMOUS):
        reason = f"Bitbucket answered with {answer.status_code} and did not say whose the token is"
        return Verdict(valid=None, reason=reason)
    user = ask(endpoint, f"{endpoint.api_url}/users/{quote(name, safe='')}", secret)
    is_person = user.status_code == _OK and document_of(user).get("type", "NORMAL") == "NORMAL"
    found = Verdict(valid=True, username=printable(name, 100) if is_person else None)
    return found if repository is None else _for_repository(endpoint, kind, secret, repository, found)


def _for_repository(endpoint: "Endpoint", kind: str, secret: "Secret", repository: str, found: Verdict) -> Verdict:
    """`found`, or why git is denied `repository`; without a person's name git's own request locks nobody."""
    project, slug = repository.split("/")[3:5]
    status = ask(endpoint, f"{endpoint.api_url}/projects/{project}/repos/{slug}", secret).status_code
    if status in (_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND):
        reason = f"Bitbucket answered with {status}: no access, or no such repository"
        return Verdict(valid=None, reason=reason, is_denied=True)
    if kind == token_kinds.ACCESS_TOKEN and found.username is None and endpoint.authtype is None:
        by_git = verify_for_git(endpoint, repository, kind, secret)
        return Verdict(valid=True, reason=WANTS_BEARER) if by_git.valid is False else found
    return found


def ask(endpoint: "Endpoint", url: str, secret: "Secret | None" = None) -> "Response":
    """The answer to a GET, with `secret` by Bearer. Raises `BitbucketUnreachable`, `SettingsError`."""
    bearer = None if secret is None else token_kinds.rest_header(token_kinds.PERSONAL_TOKEN, None, secret)
    return request(endpoint, "GET", url, bearer)


class Server(NamedTuple):
    """A Data Center as it describes itself; `url` has its context path.

    `has_oauth`: an administrator can make an incoming OAuth 2.0 link there.
    """

    url: str
    version: str
    has_oauth: bool

    def __str__(self) -> str:
        """In a sentence."""
        offers = "OAuth 2.0 and HTTP access tokens" if self.has_oauth else "HTTP access tokens"
        return f"{printable(self.url)} is Bitbucket Data Center {self.version}, with {offers}"


def detect(settings: "GitConfig | None", url: str, env: "Mapping[str, str]") -> Server | None:
    """The Data Center at `url`, which may be a repository's there; None where there is none, as at bitbucket.org.

    Raises `BitbucketUnreachable`, `SettingsError`.
    """
    protocol, host = scopes.split_host(url)
    context = scopes.context_of(url.removeprefix(scopes.host_of(url)))
    if hosts.is_cloud(protocol, host):
        return None
    for tried in dict.fromkeys([context, ""]):
        endpoint = providers.data_center_endpoint(settings, f"{protocol}://{host}{tried}/", env)
        answer = ask(endpoint, endpoint.identity_url)
        told = document_of(answer) if answer.status_code == _OK else {}
        version = told.get("version")
        if told.get("displayName") == "Bitbucket" and isinstance(version, str):
            client = ask(endpoint, f"{endpoint.token_url.rpartition('/')[0]}/client")
            return Server(f"{protocol}://{host}{tried}", printable(version, 30), client.status_code == _UNAUTHORIZED)
    return None
