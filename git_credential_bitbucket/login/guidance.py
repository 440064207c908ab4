"""Instructions for creating credentials at Bitbucket: the kinds, their pages, and the least scopes.

Texts only. Pages and scopes: support.atlassian.com/bitbucket-cloud/docs: using-api-tokens, api-token-permissions,
using-access-tokens, use-oauth-on-bitbucket-cloud.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.ui.prompts import Terminal

_MENUS: dict[str, tuple[tuple[token_kinds.Kind, str], ...]] = {
    hosts.PROVIDER: (
        (token_kinds.OAUTH, "OAuth in the browser: renews itself; needs an OAuth consumer in a workspace"),
        (token_kinds.API_TOKEN, "API token: for all repositories that you can access; expires within a year"),
        (token_kinds.ACCESS_TOKEN, "access token of a repository, project or workspace: not tied to a person"),
        (token_kinds.CLIENT_CREDENTIALS, "OAuth consumer alone (client credentials): for CI and servers"),
    ),
    hosts.DATA_CENTER: (
        (token_kinds.OAUTH, "OAuth in the browser: renews itself; needs an incoming link from an administrator"),
        (token_kinds.PERSONAL_TOKEN, "your HTTP access token: for all repositories that you can access"),
        (token_kinds.ACCESS_TOKEN, "HTTP access token of a project or repository: not tied to a person"),
    ),
}

API_TOKENS_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"
NO_PASSWORD = "Bitbucket accepts no account password, neither for git nor for OAuth (the password grant was removed)"
NO_PASSWORD_HINT = "log in with the browser (login --oauth), or with a token (login --api-token)"


def menu(provider: Provider) -> tuple[tuple[token_kinds.Kind, str], ...]:
    """The kinds in the login menu, in order, each with its line."""
    return _MENUS[provider.endpoint.product]


def kind_at(provider: Provider, kind: token_kinds.Kind) -> token_kinds.Kind:
    """The `kind` as the host has it: a person's token is another one at a Data Center.

    Raises `LoginFailed` where the host has no such kind.
    """
    if provider.endpoint.product != hosts.DATA_CENTER:
        return kind
    if kind in token_kinds.MINTED:
        hint = "use a project's or repository's token: git-credential-bitbucket login --access-token"
        raise LoginFailed(f"{printable(provider.host)} is Bitbucket Data Center, which has no such grant", hint=hint)
    return token_kinds.PERSONAL_TOKEN if kind == token_kinds.API_TOKEN else kind


def default_choice(provider: Provider) -> int:
    """The suggested index in `menu`: OAuth if a consumer is configured, else an API token."""
    return 0 if provider.client_id else 1


def show_instructions(terminal: Terminal, kind: token_kinds.Kind, provider: Provider, path: str = "") -> None:
    """Show where a `kind` of credential is created, and its scopes; `path` is WORKSPACE[/REPOSITORY]."""
    _INSTRUCTIONS[provider.endpoint.product][kind](terminal, provider, path)
    terminal.say()


def least_scopes(kind: token_kinds.Kind) -> tuple[str, str]:
    """The scope that fetch needs, and that push needs as well: an API token's write scope does not imply reading."""
    if kind == token_kinds.API_TOKEN:
        return "read:repository:bitbucket", "write:repository:bitbucket"
    return "repository", "repository:write"


def missing_scope(kind: token_kinds.Kind, scopes: Sequence[str]) -> str:
    """What git cannot do with a token of these OAuth scopes; empty if it can do all, or Bitbucket named none."""
    read, write = least_scopes(kind)
    implied = kind != token_kinds.API_TOKEN and write in scopes  # an API token's write scope does not imply read
    if scopes and read not in scopes and not implied:
        return f"the token lacks the OAuth scope {read}, so git cannot fetch"
    if scopes and write not in scopes:
        return f"the token lacks the OAuth scope {write}, so git can fetch but not push"
    return ""


def show_scopes(terminal: Terminal, kind: token_kinds.Kind) -> None:
    """Show the least scopes."""
    read, write = least_scopes(kind)
    terminal.say(f"Scopes: {read} to fetch; add {write} to push. No others are needed.")


def token_pages(kind: token_kinds.Kind, provider: Provider, path: str = "") -> tuple[str, ...]:
    """The pages at Bitbucket where tokens of a `kind` are created and revoked; none if not known.

    A project's are in its settings, which its page leads to (the `html` link of REST's project object).
    """
    workspace, _, repository = path.partition("/")
    workspace, repository = printable(workspace) or "WORKSPACE", printable(repository) or "REPOSITORY"
    if provider.endpoint.product == hosts.DATA_CENTER:
        if kind == token_kinds.PERSONAL_TOKEN:
            return (f"{provider.base_url}/plugins/servlet/access-tokens/manage",)
        project = f"{provider.base_url}/projects/{workspace}"
        return f"{project}/repos/{repository}/settings", f"{project}/settings"
    if kind == token_kinds.ACCESS_TOKEN:
        base = f"{provider.protocol}://{provider.host}/{workspace}"
        if repository.startswith("{"):  # a project's key, as scopes.project_scope writes it
            return (f"{base}/workspace/projects/{repository[1:-1].upper()}",)
        if path and "/" not in path:
            return (f"{base}/workspace/settings/access-tokens",)
        return f"{base}/{repository}/admin/access-tokens", f"{base}/workspace/settings/access-tokens"
    if kind == token_kinds.API_TOKEN and hosts.is_cloud(provider.protocol, provider.host):
        return (API_TOKENS_PAGE,)
    return ()


def _api_token(terminal: Terminal, provider: Provider, path: str) -> None:
    if addresses := token_pages(token_kinds.API_TOKEN, provider, path):
        terminal.say("Create one here, with “Create API token with scopes”, for the app Bitbucket:")
        terminal.show(addresses[0])
    show_scopes(terminal, token_kinds.API_TOKEN)


def _access_token(terminal: Terminal, provider: Provider, path: str) -> None:
    terminal.say("Create one under “Access tokens” in the settings of the repository, its project, or the workspace:")
    for address in token_pages(token_kinds.ACCESS_TOKEN, provider, path):
        terminal.show(address)
    show_scopes(terminal, token_kinds.ACCESS_TOKEN)


def _oauth(terminal: Terminal, provider: Provider, path: str) -> None:
    _consumer(terminal, provider, path)
    terminal.say("Its callback URL must be exactly:")
    terminal.show(printable(provider.redirect_uri))
    show_scopes(terminal, token_kinds.OAUTH)
    if provider.client_id is None:
        terminal.say("To store its key in git's configuration, run:")
        terminal.show(f"git config --global {shlex.quote(_setting(provider, 'oauthClientId'))} KEY")


def show_secret_note(terminal: Terminal, provider: Provider) -> None:
    """Explain why a consumer's secret is asked for, and how to configure it."""
    terminal.say(
        "The secret is asked for at each login, and stored in the vault. git's configuration can hold it as well, but "
        f"in plain text: {printable(_setting(provider, 'oauthClientSecret'))}"
    )
    terminal.say()


def _setting(provider: Provider, key: str) -> str:
    return f"credential.{provider.base_url}.{key}"


def _client_credentials(terminal: Terminal, provider: Provider, path: str) -> None:
    _consumer(terminal, provider, path)
    terminal.say("Select “This is a private consumer”, and enter any callback URL: both are required.")
    show_scopes(terminal, token_kinds.CLIENT_CREDENTIALS)


def _jwt_bearer(terminal: Terminal, provider: Provider, path: str) -> None:
    del provider, path
    terminal.say("An Atlassian Connect app receives `key`, `clientKey` and `sharedSecret` in its `installed` callback.")
    terminal.say("Since 2 February 2026 no new apps can be registered.")
    read, write = least_scopes(token_kinds.JWT_BEARER)
    terminal.say(f"The app needs the OAuth scopes {read} to fetch, and {write} to push.")


def _consumer(terminal: Terminal, provider: Provider, path: str) -> None:
    workspace = printable(path.partition("/")[0]) or "WORKSPACE"
    terminal.say("Create an OAuth consumer in the settings of a workspace, under “OAuth consumers”:")
    terminal.show(f"{provider.protocol}://{provider.host}/{workspace}/workspace/settings/api")


def _http_token(terminal: Terminal, provider: Provider, path: str) -> None:
    terminal.say("Create one under Manage account, “HTTP access tokens”:")
    terminal.show(token_pages(token_kinds.PERSONAL_TOKEN, provider, path)[0])
    _show_permissions(terminal)


def _http_token_of_project(terminal: Terminal, provider: Provider, path: str) -> None:
    terminal.say("Create one under “HTTP access tokens” in the settings of the repository or of its project:")
    for address in token_pages(token_kinds.ACCESS_TOKEN, provider, path):
        terminal.show(address)
    _show_permissions(terminal)


def _show_permissions(terminal: Terminal) -> None:
    terminal.say("Permissions: repository read to fetch, repository write to push. No others are needed.")


def _incoming_link(terminal: Terminal, provider: Provider, path: str) -> None:
    del path
    terminal.say("An administrator creates an incoming link for an external application, under “Application links”:")
    terminal.show(f"{provider.base_url}/plugins/servlet/applinks/listApplicationLinks")
    terminal.say("Its redirect URL must be exactly:")
    terminal.show(printable(provider.redirect_uri))
    terminal.say(f"Permissions: {', '.join(provider.scopes)}.")
    if provider.redirect_uri.startswith("http:"):
        terminal.say(
            "Data Center requires https there. For a redirect to this computer, the administrator sets the property "
            f"{REDIRECT_PROPERTY}=true; or use --paste with an https redirect URL of your own "
            f"({printable(_setting(provider, 'oauthRedirectURI'))})."
        )


REDIRECT_PROPERTY = "atlassian.oauth2.provider.skip.redirect.url.https.requirement"
"""confluence.atlassian.com/bitbucketserver101/oauth-2-0-provider-system-properties-1721011884.html"""
_INSTRUCTIONS = {
    hosts.PROVIDER: {
        token_kinds.API_TOKEN: _api_token,
        token_kinds.ACCESS_TOKEN: _access_token,
        token_kinds.OAUTH: _oauth,
        token_kinds.CLIENT_CREDENTIALS: _client_credentials,
        token_kinds.JWT_BEARER: _jwt_bearer,
    },
    hosts.DATA_CENTER: {
        token_kinds.PERSONAL_TOKEN: _http_token,
        token_kinds.ACCESS_TOKEN: _http_token_of_project,
        token_kinds.OAUTH: _incoming_link,
    },
}
