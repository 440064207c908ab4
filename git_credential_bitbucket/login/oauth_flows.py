"""Logins by an OAuth consumer: with a person's consent in the browser or by pasting, and with the consumer alone.

Imports the login room for the consent, bitbucket.oauth for the tokens; what is granted is kept before anything is said.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import environment, messages
from git_credential_bitbucket.errors import DaemonUnavailable, Error, LoginFailed
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import guidance, paste_validation
from git_credential_bitbucket.login.address_prompt import in_browser, present

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.login.authorization import CodeGrant
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.ui.prompts import Answers, Terminal

    Keep = Callable[[dict[str, Any]], str]
    """Writes a record down, durably, and returns its id."""

ACCOUNT_SCOPE = "account"
_INTERRUPT = "to give up: Ctrl-C, then log in again"


def consumer(wanted: LoginRequest, answers: Answers) -> tuple[str, Secret]:
    """Key and secret of the OAuth consumer: from git's configuration, else the environment, else asked for.

    Without a terminal, what is missing is read from standard input; two lines are the key and the secret, even where
    one of them is configured. Raises `Error`.
    """
    key, secret = wanted.provider.client_id, wanted.provider.client_secret
    if (value := wanted.fetched()) is not None:
        secret = value.secret
    given = environment.consumer(os.environ)
    if given is not None and secret is None and key in (None, given.client_id):
        key, secret = given.client_id, given.secret
    if key is not None and secret is not None:
        return key, secret
    if answers.terminal is not None:
        guidance.tell(answers.terminal, wanted.kind, wanted.provider, wanted.path or "")
        if secret is None:
            guidance.tell_of_secret(answers.terminal, wanted.provider)
    if key is None or answers.lines_left() > 1:
        key = paste_validation.consumer_key(answers.line("Key of the consumer"))
    if secret is None or answers.lines_left():
        secret = paste_validation.consumer_secret(answers.secret("Secret of the consumer"))
    answers.check_all_read()
    return key, secret


def consumer_key(wanted: LoginRequest, answers: Answers) -> str:
    """As `consumer`, where its secret is neither known nor needed."""
    given = environment.consumer(os.environ) if wanted.provider.client_id is None else None
    if (key := wanted.provider.client_id or (given.client_id if given is not None else None)) is not None:
        return key
    if answers.terminal is not None:
        guidance.tell(answers.terminal, wanted.kind, wanted.provider, wanted.path or "")
    return paste_validation.consumer_key(answers.line("Key of the consumer"))


def by_consent(wanted: LoginRequest, answers: Answers, keep: Keep) -> str:
    """Have a person consent, and keep the grant; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    paste = must_paste(wanted, answers)
    key, secret = consumer(wanted, answers)
    granted: list[tuple[str, Grant]] = []

    def redeem(code: CodeGrant) -> Page:
        from git_credential_bitbucket.bitbucket import oauth  # lazy: 130 ms, and only now is it needed

        endpoint = wanted.provider.endpoint
        with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
            grant = oauth.exchange_code(endpoint, key, secret, code.code, code.redirect_uri, code.verifier)
        granted.append((_kept(wanted, key, secret, grant, keep), grant))
        return page(wanted, grant)

    if paste:
        redeem(_pasted(wanted, answers, key))
    else:
        from git_credential_bitbucket.login import browser  # lazy: other logins need no browser

        in_browser(browser.log_in, wanted, answers, key, redeem)
    kept_id, grant = granted[0]
    identify(wanted, grant, kept_id)
    return kept_id


def with_client_credentials(wanted: LoginRequest, answers: Answers, keep: Keep) -> str:
    """Let the consumer log in without a person, and keep it; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    key, secret = consumer(wanted, answers)
    from git_credential_bitbucket.bitbucket import oauth  # lazy: 130 ms, and only now is it needed

    # Minted at once, for a slip in key or secret is better told now than by git.
    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
        grant = oauth.fetch_with_client_credentials(wanted.provider.endpoint, key, secret)
    return keep(_record(wanted, key, secret, grant))


def with_jwt_bearer(wanted: LoginRequest, answers: Answers, keep: Keep) -> str:
    """Let an installation of an Atlassian Connect app log in without a person, and keep it. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    if answers.terminal is not None:
        guidance.tell(answers.terminal, wanted.kind, wanted.provider)
    app = paste_validation.app_key(answers.line("Key of the app"))
    client_key = paste_validation.app_key(answers.line("Client key of the installation"))
    secret = paste_validation.consumer_secret(answers.secret("Shared secret of the installation"))
    answers.check_all_read()
    from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
        grant = oauth.fetch_with_jwt(wanted.provider.endpoint, app, client_key, secret)
    return keep({**_record(wanted, app, secret, grant), "subject": client_key})


def must_paste(wanted: LoginRequest, answers: Answers) -> bool:
    """Whether the answer has to be pasted. Raises `LoginFailed` where it has to and there is no terminal."""
    trouble = None if wanted.paste else _against_browser(wanted)
    if trouble is not None:
        answers.say(f"{trouble}, so you will paste the address that it ends at.")
    paste = wanted.paste or trouble is not None
    if paste:
        terminal_to_paste_at(answers)
    return paste


def terminal_to_paste_at(answers: Answers) -> Terminal:
    """The terminal. Raises `LoginFailed` where there is none."""
    if answers.terminal is None:
        raise LoginFailed(
            "there is no terminal to paste into", hint="log in at a terminal, or with a token: login --api-token"
        )
    return answers.terminal


def shown_on(terminal: Terminal) -> Callable[[str], None]:
    """Shows there what the login room has to say: addresses so that they can be copied and scanned."""
    return lambda text: present(terminal, text) if text.startswith("https://") else terminal.say(text)


def _against_browser(wanted: LoginRequest) -> str | None:
    """Why no browser on this machine can bring the answer; None where one can."""
    from git_credential_bitbucket.login import (
        browser,
        connection_owner,
    )  # lazy: other logins need no browser

    if not wanted.no_browser and not browser.can_open(os.environ):
        return "No browser can be opened from here"
    if not connection_owner.can_tell():
        return "This system cannot show that a browser is yours"
    return None


def _pasted(wanted: LoginRequest, answers: Answers, key: str) -> CodeGrant:
    from git_credential_bitbucket.login import paste  # lazy: as the browser

    terminal = terminal_to_paste_at(answers)
    return paste.obtain_code(
        wanted.provider,
        key,
        wanted.provider.scopes,
        show=shown_on(terminal),
        read_line=lambda: terminal.line("> "),
    )


def _kept(wanted: LoginRequest, key: str, secret: Secret, grant: Grant, keep: Keep) -> str:
    try:
        return keep(_record(wanted, key, secret, grant))
    except DaemonUnavailable:
        raise  # it may have been kept all the same
    except Error:
        _give_back(wanted, key, secret, grant)
        raise


def _give_back(wanted: LoginRequest, key: str, secret: Secret, grant: Grant) -> None:
    """A grant that nobody keeps is revoked, as far as Bitbucket takes that."""
    from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

    oauth.revoke(wanted.provider.endpoint, key, secret, grant.refresh_token or grant.access_token)


def _record(wanted: LoginRequest, key: str, secret: Secret, grant: Grant) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "place": wanted.place,
        "account": wanted.account,
        "secret": grant.access_token.reveal(),
        "refresh_token": grant.refresh_token.reveal() if grant.refresh_token is not None else None,
        "expires_in": grant.expires_in,
        "scopes": list(grant.scopes),
        "client_id": key,
        **({"client_secret": secret.reveal()} if wanted.source is None else {"source": wanted.source}),
        "endpoint": wanted.provider.endpoint.to_record(),
    }


def identify(wanted: LoginRequest, grant: Grant, kept_id: str) -> None:
    """Note whose login it is, if the consumer may ask: git does not need that scope, so nobody is made to grant it."""
    if wanted.account or ACCOUNT_SCOPE not in grant.scopes:
        return
    from git_credential_bitbucket.client.shared_client import ask

    ask("identify", [("id[]", kept_id)])


def page(wanted: LoginRequest, grant: Grant) -> Page:
    """What the browser shows of a grant that is kept: where and for what it is, and how to end it."""
    from git_credential_bitbucket.login.pages import Page  # lazy: as above

    allowed = ", ".join(printable(scope) for scope in grant.scopes) or "the permissions of its consumer"
    return Page(
        "You are logged in",
        (
            f"git on this computer can now use {printable(wanted.place.partition('://')[2])}: {allowed}.",
            "The login renews itself. To remove it, run: git-credential-bitbucket logout.",
            "You can close this tab.",
        ),
    )
