"""`BitbucketAuth`: authentication for `requests` with git's credentials, renewed as needed.

A token in the environment precedes stored credentials, as for git. Else each request asks the daemon, which is started
where none runs. Does not import requests: its caller has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from git_credential_bitbucket import git_config, git_protocol, paths
from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.client import interactivity, rest_authorization
from git_credential_bitbucket.client.activate import third_party
from git_credential_bitbucket.client.agent_client import AgentClient, ask
from git_credential_bitbucket.errors import Error, SettingsError, UnknownCredential

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class BitbucketAuth:
    """Authentication for one Bitbucket's REST API, called by requests for each request.

    `place` is the scope of the credential, as a repository is for git: `"acme"` or `"acme/app"`. `url` is the host that
    git clones from; its API's address follows from git's configuration. A request to any other host goes out unsigned.

        requests.get("https://api.bitbucket.org/2.0/user", auth=BitbucketAuth())
    """

    def __init__(self, place: str = "", *, url: str = hosts.CLOUD_URL) -> None:
        """Raises `SettingsError` where `url` is not configured as a Bitbucket, or its API is at plain http."""
        third_party()
        paths.adopt_second_names(os.environ)
        git_config.adopt(os.environ)
        from git_credential_bitbucket.bitbucket import providers  # lazy: only this needs the configuration

        parts = urlsplit(url)
        provider = providers.find_now(os.environ, parts.scheme, git_protocol.normalise_host(parts.scheme, parts.netloc))
        if provider is None:
            raise hosts.unconfigured_host(parts.scheme, parts.netloc.rpartition("@")[2])
        self._api = urlsplit(provider.endpoint.api_url)
        if provider.protocol == "https" != self._api.scheme:
            cause = f"tokens are never sent over plain http, which {providers.origin(provider.endpoint.api_url)} uses"
            raise SettingsError(cause, hint=f"correct credential.{provider.protocol}://{provider.host}.apiURL")
        fields = [("protocol", provider.protocol), ("host", provider.host)]
        self._request = git_protocol.emit([*fields, ("path", place)] if place else fields)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign `request`; a 401 to it is answered by one more try with a renewed token.

        Raises `UnknownCredential` where there is no credential, with the reason, and `SettingsError` where there is
        one that REST cannot be asked with.
        """
        if not self._is_api(request.url):
            return request
        token = self._token()
        request.headers["Authorization"] = rest_authorization.header(token)
        request.hooks["response"].append(lambda response, **sending: self._renewed(response, token, sending))
        return request

    def __repr__(self) -> str:
        return f"BitbucketAuth({self._api.netloc})"

    def _is_api(self, url: str | None) -> bool:
        parts = urlsplit(url or "")
        return (parts.scheme, parts.netloc.lower()) == (self._api.scheme, self._api.netloc.lower())

    def _token(self) -> dict[str, str]:
        if (given := rest_authorization.from_environment(os.environ, self._request)) is not None:
            return given
        told = dict(git_protocol.parse_pairs(AgentClient().for_request(self._request).offered("token", self._request)))
        if not told.get("password"):
            problem = interactivity.missing_credential(dict(ask("why", (), self._request)))
            raise UnknownCredential(problem.cause, hint=problem.hint)
        return told

    def _renewed(self, response: Response, used: dict[str, str], sending: dict[str, Any]) -> Response:
        """The second try, made as requests' own digest authentication does; the body goes out from its start."""
        if response.status_code != 401 or not self._is_api(response.request.url):  # noqa: PLR2004 - Unauthorized
            return response
        was_sent = response.request.headers.get("Authorization") == rest_authorization.header(used)
        if "id" not in used or used["kind"] not in token_kinds.RENEWABLE or not was_sent:
            return response
        try:
            ask("refresh", [("id", used["id"]), ("generation", used["generation"])])
        except Error:
            return response  # the server's answer is the better error
        token = self._token()
        if token["password"] == used["password"]:
            return response
        _ = response.content  # read to its end, so that the connection can be used again
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = rest_authorization.header(token)
        if (seek := getattr(again.body, "seek", None)) is not None:  # a file
            seek(0)
        second: Response = response.connection.send(again, **sending)
        second.history.append(response)
        second.request = again
        return second
