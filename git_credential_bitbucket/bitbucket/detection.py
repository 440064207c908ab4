"""What is at an address, asked without a password: a Data Center, its version, and whether it has OAuth 2.0.

Sources: /rest/api/1.0/application-properties is public; git-credential-manager takes a 401 of /rest/oauth2/1.0/client
for the sign of OAuth (BitbucketRestApi).
"""

from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.bitbucket import data_center, hosts, providers, scopes
from git_credential_bitbucket.bitbucket.rest import document_of
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.git_config import GitConfig

_OK, _UNAUTHORIZED = 200, 401


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
        answer = data_center.ask(endpoint, endpoint.identity_url)
        told = document_of(answer) if answer.status_code == _OK else {}
        version = told.get("version")
        if told.get("displayName") == "Bitbucket" and isinstance(version, str):
            client = data_center.ask(endpoint, f"{endpoint.token_url.rpartition('/')[0]}/client")
            return Server(f"{protocol}://{host}{tried}", printable(version, 30), client.status_code == _UNAUTHORIZED)
    return None
