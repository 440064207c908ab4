"""Log-ins by the implicit grant, for an OAuth consumer whose secret may not be handed out: two hours, and no renewal.

Imports the login room for the consent; what is granted is kept before anything is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.cli import consumers, times
from git_credential_bitbucket.cli.address import in_browser
from git_credential_bitbucket.wire import printable

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.cli.asking import Answers
    from git_credential_bitbucket.cli.wanted import Wanted
    from git_credential_bitbucket.login.pages import Page

ASSUMED_LIFE_S = 2 * 60 * 60
"""What Bitbucket's tokens live where an answer does not say (developer.atlassian.com/cloud/bitbucket/oauth-2)."""


def by_consent(wanted: Wanted, answers: Answers, keep: consumers.Keep) -> str:
    """Have a person consent, and keep the token; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    paste = consumers.must_paste(wanted, answers)
    key = consumers.consumer_key(wanted, answers)
    granted: list[tuple[str, Grant]] = []

    def redeem(grant: Grant) -> Page:
        granted.append((keep(_record(wanted, key, grant)), grant))
        return _page(wanted, grant)

    if paste:
        redeem(_pasted(wanted, answers, key))
    else:
        from git_credential_bitbucket.login import browser  # here, not above: other log-ins need no browser

        in_browser(browser.log_in_implicitly, wanted, answers, key, redeem)
    kept_id, grant = granted[0]
    consumers.identify(wanted, grant, kept_id)
    wanted.warn(answers, f"it ends in {_life(grant)} and cannot renew itself; log in again then")
    return kept_id


def _pasted(wanted: Wanted, answers: Answers, key: str) -> Grant:
    from git_credential_bitbucket.login import paste  # here, not above: as the browser

    terminal = consumers.terminal_to_paste_at(answers)
    return paste.obtain_token(
        wanted.provider,
        key,
        wanted.provider.scopes,
        show=consumers.shown_on(terminal),
        read_line=lambda: terminal.secret("(not shown) > "),  # the address holds the token
    )


def _record(wanted: Wanted, key: str, grant: Grant) -> dict[str, Any]:
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


def _page(wanted: Wanted, grant: Grant) -> Page:
    page = consumers.page(wanted, grant)
    ends = f"It ends in {_life(grant)} and is not renewed: log in again then."
    return type(page)(page.title, (page.paragraphs[0], ends, page.paragraphs[-1]))


def _life(grant: Grant) -> str:
    return printable(times.left(ASSUMED_LIFE_S if grant.expires_in is None else grant.expires_in))
