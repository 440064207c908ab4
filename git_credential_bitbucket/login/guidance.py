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
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.ui.prompts import Prompter, Terminal

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


def show_instructions(terminal: Terminal | None, wanted: LoginRequest) -> None:
    """Show where the wanted kind of credential is created, and its scopes; nothing without a terminal."""
    if terminal is None:
        return
    provider, kind = wanted.provider, wanted.kind
    workspace = printable((wanted.path or "").partition("/")[0]) or "WORKSPACE"
    if kind in token_kinds.STATIC:
        for number, address in enumerate(token_pages(kind, provider, wanted.path or "")):
            if number == 0:
                terminal.say(_WHERE[provider.endpoint.product, kind])
            terminal.show(address)
        _show_scopes(terminal, kind, provider.endpoint.product)
    elif provider.endpoint.product == hosts.DATA_CENTER:
        _incoming_link(terminal, provider)
    elif kind == token_kinds.JWT_BEARER:
        terminal.say(
            "An Atlassian Connect app receives `key`, `clientKey` and `sharedSecret` in its `installed` callback."
        )
        terminal.say("Since 2 February 2026 no new apps can be registered.")
        terminal.say("The app needs the OAuth scopes {} to fetch, and {} to push.".format(*least_scopes(kind)))
    else:
        terminal.say("Create an OAuth consumer in the settings of a workspace, under “OAuth consumers”:")
        terminal.show(f"{provider.protocol}://{provider.host}/{workspace}/workspace/settings/api")
        if kind == token_kinds.OAUTH:
            terminal.say("Its callback URL must be exactly:")
            terminal.show(printable(provider.redirect_uri))
        else:
            terminal.say("Select “This is a private consumer”, and enter any callback URL: both are required.")
        _show_scopes(terminal, kind, provider.endpoint.product)
        if kind == token_kinds.OAUTH and provider.client_id is None:
            terminal.say("To store its key in git's configuration, run:")
            terminal.show(f"git config --global {shlex.quote(_setting(provider, 'oauthClientId'))} KEY")
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


def _show_scopes(terminal: Terminal, kind: token_kinds.Kind, product: str) -> None:
    if product == hosts.DATA_CENTER:
        terminal.say("Permissions: repository read to fetch, repository write to push. No others are needed.")
    else:
        terminal.say("Scopes: {} to fetch; add {} to push. No others are needed.".format(*least_scopes(kind)))


def show_secret_note(prompter: Prompter, provider: Provider) -> None:
    """Explain at a terminal why a consumer's secret is asked for, and how to configure it."""
    prompter.say(
        "The secret is asked for at each login, and stored in the vault. git's configuration can hold it as well, but "
        f"in plain text: {printable(_setting(provider, 'oauthClientSecret'))}"
    )
    prompter.say()


def _setting(provider: Provider, key: str) -> str:
    return f"credential.{provider.base_url}.{key}"


def _incoming_link(terminal: Terminal, provider: Provider) -> None:
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
_WHERE: dict[tuple[str, token_kinds.Kind], str] = {
    (hosts.PROVIDER, token_kinds.API_TOKEN): (
        "Create one here, with “Create API token with scopes”, for the app Bitbucket:"
    ),
    (hosts.PROVIDER, token_kinds.ACCESS_TOKEN): (
        "Create one under “Access tokens” in the settings of the repository, its project, or the workspace:"
    ),
    (hosts.DATA_CENTER, token_kinds.PERSONAL_TOKEN): "Create one under Manage account, “HTTP access tokens”:",
    (hosts.DATA_CENTER, token_kinds.ACCESS_TOKEN): (
        "Create one under “HTTP access tokens” in the settings of the repository or of its project:"
    ),
}
"""Where tokens are created; their pages follow."""
