"""Logins by the implicit grant, for an OAuth consumer whose secret may not be handed out: two hours, and no renewal.

Imports the login room for the consent; what is granted is kept before anything is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import oauth_flows
from git_credential_bitbucket.login.address_prompt import in_browser
from git_credential_bitbucket.ui import dates

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.ui.prompts import Answers

ASSUMED_LIFE_S = 2 * 60 * 60
"""What Bitbucket's tokens live where an answer does not say (developer.atlassian.com/cloud/bitbucket/oauth-2)."""


def by_consent(wanted: LoginRequest, answers: Answers, keep: oauth_flows.Keep) -> str:
    """Have a person consent, and keep the token; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    paste = oauth_flows.must_paste(wanted, answers)
    key = oauth_flows.consumer_key(wanted, answers)
    granted: list[tuple[str, Grant]] = []

    def redeem(grant: Grant) -> Page:
        granted.append((keep(_record(wanted, key, grant)), grant))
        return _page(wanted, grant)

    if paste:
        redeem(_pasted(wanted, answers, key))
    else:
        from git_credential_bitbucket.login import browser  # lazy: other logins need no browser

        in_browser(browser.log_in_implicitly, wanted, answers, key, redeem)
    kept_id, grant = granted[0]
    oauth_flows.identify(wanted, grant, kept_id)
    wanted.warn(answers, f"it expires in {_life(grant)} and cannot be renewed; log in again then")
    return kept_id


def _pasted(wanted: LoginRequest, answers: Answers, key: str) -> Grant:
    from git_credential_bitbucket.login import paste  # lazy: as the browser

    terminal = oauth_flows.terminal_to_paste_at(answers)
    return paste.obtain_token(
        wanted.provider,
        key,
        wanted.provider.scopes,
        show=oauth_flows.shown_on(terminal),
        read_line=lambda: terminal.secret("(not shown) > "),  # the address holds the token
    )


def _record(wanted: LoginRequest, key: str, grant: Grant) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "place": wanted.place,
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
    return printable(dates.left(ASSUMED_LIFE_S if grant.expires_in is None else grant.expires_in))
