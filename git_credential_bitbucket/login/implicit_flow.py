"""Login by the implicit grant, for an OAuth consumer without its secret: two hours, no renewal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import oauth_flows
from git_credential_bitbucket.login.address_prompt import wait_for_browser
from git_credential_bitbucket.ui import dates

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.ui.prompts import Prompter

ASSUMED_LIFE_S = 2 * 60 * 60
"""The lifetime of Bitbucket's tokens if an answer does not say (developer.atlassian.com/cloud/bitbucket/oauth-2)."""


def with_implicit_grant(wanted: LoginRequest, prompter: Prompter, store: oauth_flows.Store) -> str:
    """Let the user consent, and store the token; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    paste = oauth_flows.must_paste(wanted, prompter)
    key = oauth_flows.consumer_key(wanted, prompter)
    granted: list[tuple[str, Grant]] = []

    def redeem(grant: Grant) -> Page:
        granted.append((store(_record(wanted, key, grant)), grant))
        return _page(wanted, grant)

    if paste:
        redeem(_read_pasted_token(wanted, prompter, key))
    else:
        from git_credential_bitbucket.login import browser  # lazy: other logins need no browser

        wait_for_browser(browser.log_in_implicitly, wanted, prompter, key, redeem)
    credential_id, grant = granted[0]
    oauth_flows.identify(wanted, grant, credential_id)
    wanted.warn(prompter, f"it expires in {_life(grant)} and cannot be renewed; log in again then")
    return credential_id


def _read_pasted_token(wanted: LoginRequest, prompter: Prompter, key: str) -> Grant:
    from git_credential_bitbucket.login import paste  # lazy: as the browser

    terminal = oauth_flows.terminal_to_paste_at(prompter)
    return paste.obtain_token(
        wanted.provider,
        key,
        wanted.provider.scopes,
        show=oauth_flows.show_on(terminal),
        read_line=lambda: terminal.secret("(not shown) > "),  # the address holds the token
    )


def _record(wanted: LoginRequest, key: str, grant: Grant) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "place": wanted.scope,
        "account": wanted.account,
        "secret": grant.access_token.reveal(),
        "expires_in": ASSUMED_LIFE_S if grant.expires_in is None else grant.expires_in,
        "scopes": list(grant.scopes),
        "client_id": key,
        "endpoint": wanted.provider.endpoint.to_record(),
    }


def _page(wanted: LoginRequest, grant: Grant) -> Page:
    page = oauth_flows.page(wanted, grant)
    ends = f"It expires in {_life(grant)} and is not renewed: log in again then."
    return type(page)(page.title, (page.paragraphs[0], ends, page.paragraphs[-1]))


def _life(grant: Grant) -> str:
    return printable(dates.time_left(ASSUMED_LIFE_S if grant.expires_in is None else grant.expires_in))
