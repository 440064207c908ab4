"""Instructions for creating credentials at Bitbucket: the kinds, their pages, and the least scopes.

Texts only. Pages and scopes: support.atlassian.com/bitbucket-cloud/docs: using-api-tokens, api-token-permissions,
using-access-tokens, use-oauth-on-bitbucket-cloud.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.ui.prompts import Terminal

MENU: tuple[tuple[token_kinds.Kind, str], ...] = (
    (token_kinds.OAUTH, "OAuth in the browser: renews itself; needs an OAuth consumer in a workspace"),
    (token_kinds.API_TOKEN, "API token: for all repositories that you can access; expires within a year"),
    (token_kinds.ACCESS_TOKEN, "access token of a repository, project or workspace: not tied to a person"),
    (token_kinds.CLIENT_CREDENTIALS, "OAuth consumer alone (client credentials): for CI and servers"),
)
"""The kinds in the login menu, in order."""

API_TOKENS_PAGE = "https://id.atlassian.com/manage-profile/security/api-tokens"
READ_SCOPES = {
    token_kinds.API_TOKEN: "read:repository:bitbucket",
    token_kinds.ACCESS_TOKEN: "repository",
    token_kinds.OAUTH: "repository",
    token_kinds.CLIENT_CREDENTIALS: "repository",
    token_kinds.JWT_BEARER: "repository",
}
"""The scope that fetch needs."""
WRITE_SCOPES = {
    token_kinds.API_TOKEN: "write:repository:bitbucket",
    token_kinds.ACCESS_TOKEN: "repository:write",
    token_kinds.OAUTH: "repository:write",
    token_kinds.CLIENT_CREDENTIALS: "repository:write",
    token_kinds.JWT_BEARER: "repository:write",
}
"""The scope that push needs as well: an API token's write scope does not imply its read scope."""

NO_PASSWORD = "Bitbucket accepts no account password, neither for git nor for OAuth (the password grant was removed)"
NO_PASSWORD_HINT = "log in with the browser (login --oauth), or with a token (login --api-token)"


def default_choice(provider: Provider) -> int:
    """The suggested index in `MENU`: OAuth if a consumer is configured, else an API token."""
    return 0 if provider.client_id else 1


def show_instructions(terminal: Terminal, kind: token_kinds.Kind, provider: Provider, place: str = "") -> None:
    """Show where a `kind` of credential is created, and its scopes; `place` is WORKSPACE[/REPOSITORY]."""
    _INSTRUCTIONS[kind](terminal, provider, place)
    terminal.say()


def show_scopes(terminal: Terminal, kind: token_kinds.Kind) -> None:
    """Show the least scopes."""
    terminal.say(f"Scopes: {READ_SCOPES[kind]} to fetch; add {WRITE_SCOPES[kind]} to push. No others are needed.")


def token_pages(kind: token_kinds.Kind, provider: Provider, place: str = "") -> tuple[str, ...]:
    """The pages at Bitbucket where tokens of a `kind` are created and revoked; none if not known."""
    workspace, _, repository = place.partition("/")
    workspace, repository = printable(workspace) or "WORKSPACE", printable(repository) or "REPOSITORY"
    if kind == token_kinds.ACCESS_TOKEN:
        base = f"{provider.protocol}://{provider.host}/{workspace}"
        return f"{base}/{repository}/admin/access-tokens", f"{base}/workspace/settings/access-tokens"
    if kind == token_kinds.API_TOKEN and hosts.is_cloud(provider.protocol, provider.host):
        return (API_TOKENS_PAGE,)
    return ()


def _api_token(terminal: Terminal, provider: Provider, place: str) -> None:
    if addresses := token_pages(token_kinds.API_TOKEN, provider, place):
        terminal.say("Create one here, with “Create API token with scopes”, for the app Bitbucket:")
        terminal.show(addresses[0])
    show_scopes(terminal, token_kinds.API_TOKEN)


def _access_token(terminal: Terminal, provider: Provider, place: str) -> None:
    terminal.say("Create one under “Access tokens” in the settings of the repository, its project, or the workspace:")
    for address in token_pages(token_kinds.ACCESS_TOKEN, provider, place):
        terminal.show(address)
    show_scopes(terminal, token_kinds.ACCESS_TOKEN)


def _oauth(terminal: Terminal, provider: Provider, place: str) -> None:
    _consumer(terminal, provider, place)
    terminal.say("Its callback URL must be exactly:")
    terminal.show(printable(provider.redirect_uri))
    show_scopes(terminal, token_kinds.OAUTH)
    if provider.client_id is None:
        terminal.say("To store its key in git's configuration, run:")
        terminal.show(f"git config --global {shlex.quote(_setting(provider, 'oauthClientId'))} KEY")


def show_secret_note(terminal: Terminal, provider: Provider) -> None:
    """Explain why a consumer's secret is asked for, and how to configure it."""
    terminal.say(
        "Its secret is asked for at each login, and stored in the vault. git's configuration can hold it as well, but "
        f"in plain text: {printable(_setting(provider, 'oauthClientSecret'))}"
    )
    terminal.say()


def _setting(provider: Provider, key: str) -> str:
    return f"credential.{provider.protocol}://{provider.host}.{key}"


def _client_credentials(terminal: Terminal, provider: Provider, place: str) -> None:
    _consumer(terminal, provider, place)
    terminal.say("Select “This is a private consumer”, and enter any callback URL: both are required.")
    show_scopes(terminal, token_kinds.CLIENT_CREDENTIALS)


def _jwt_bearer(terminal: Terminal, provider: Provider, place: str) -> None:
    del provider, place
    terminal.say("An Atlassian Connect app receives `key`, `clientKey` and `sharedSecret` in its `installed` callback.")
    terminal.say("Since 2 February 2026 no new apps can be registered.")
    read, write = READ_SCOPES[token_kinds.JWT_BEARER], WRITE_SCOPES[token_kinds.JWT_BEARER]
    terminal.say(f"The app needs the OAuth scopes {read} to fetch, and {write} to push.")


def _consumer(terminal: Terminal, provider: Provider, place: str) -> None:
    workspace = printable(place.partition("/")[0]) or "WORKSPACE"
    terminal.say("Create an OAuth consumer in the settings of a workspace, under “OAuth consumers”:")
    terminal.show(f"{provider.protocol}://{provider.host}/{workspace}/workspace/settings/api")


_INSTRUCTIONS = {
    token_kinds.API_TOKEN: _api_token,
    token_kinds.ACCESS_TOKEN: _access_token,
    token_kinds.OAUTH: _oauth,
    token_kinds.CLIENT_CREDENTIALS: _client_credentials,
    token_kinds.JWT_BEARER: _jwt_bearer,
}
