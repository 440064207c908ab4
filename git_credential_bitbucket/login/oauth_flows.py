"""Logins by an OAuth consumer: with the user's consent, in the browser or by pasting, and with the consumer alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.bitbucket import hosts, providers
from git_credential_bitbucket.client import environment_tokens, messages
from git_credential_bitbucket.errors import DaemonUnavailable, Error, LoginFailed
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import guidance, paste_validation
from git_credential_bitbucket.login.address_prompt import show_address, wait_for_browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.login.authorization import CodeGrant
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.ui.prompts import Prompter, Terminal

    Store = Callable[[dict[str, Any]], str]
    """Stores a record durably; returns its id."""

ACCOUNT_SCOPE = "account"
_INTERRUPT = "to give up: Ctrl-C, then log in again"


def consumer(wanted: LoginRequest, prompter: Prompter) -> tuple[str, Secret]:
    """Key and secret of the OAuth consumer: from git's configuration, else the environment, else asked for.

    Without a terminal, what is missing is read from standard input; two lines are the key and the secret, even where
    one of them is configured. Raises `Error`.
    """
    key, secret = wanted.provider.client_id, wanted.provider.client_secret
    if (value := wanted.fetched()) is not None:
        secret = value.secret
    given = environment_tokens.consumer(os.environ)
    if given is not None and secret is None and key in (None, given.client_id):
        key, secret = given.client_id, given.secret
    if key is not None and secret is not None:
        return key, secret
    if prompter.terminal is not None:
        guidance.show_instructions(prompter.terminal, wanted.kind, wanted.provider, wanted.path or "")
        if secret is None:
            guidance.show_secret_note(prompter.terminal, wanted.provider)
    if key is None or prompter.lines_left() > 1:
        key = paste_validation.consumer_key(prompter.line("Key of the consumer"))
    if secret is None or prompter.lines_left():
        secret = paste_validation.consumer_secret(prompter.secret("Secret of the consumer"))
    prompter.check_all_read()
    return key, secret


def consumer_key(wanted: LoginRequest, prompter: Prompter) -> str:
    """The consumer's key, as `consumer` finds it, for the implicit grant."""
    given = environment_tokens.consumer(os.environ) if wanted.provider.client_id is None else None
    if (key := wanted.provider.client_id or (given.client_id if given is not None else None)) is not None:
        return key
    if prompter.terminal is not None:
        guidance.show_instructions(prompter.terminal, wanted.kind, wanted.provider, wanted.path or "")
    return paste_validation.consumer_key(prompter.line("Key of the consumer"))


def with_authorization_code(wanted: LoginRequest, prompter: Prompter, store: Store) -> str:
    """Let the user consent, and store the grant; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    paste = must_paste(wanted, prompter)
    key, secret = consumer(wanted, prompter)
    granted: list[tuple[str, Grant]] = []

    def redeem(code: CodeGrant) -> Page:
        from git_credential_bitbucket.bitbucket import oauth  # lazy: requests-oauthlib costs 130 ms

        endpoint = wanted.provider.endpoint
        with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
            grant = oauth.exchange_code(endpoint, key, secret, code.code, code.redirect_uri, code.verifier)
        granted.append((_store_or_revoke(wanted, key, secret, grant, store), grant))
        return page(wanted, grant)

    if paste:
        redeem(_read_pasted_code(wanted, prompter, key))
    else:
        from git_credential_bitbucket.login import browser  # lazy: other logins need no browser

        wait_for_browser(browser.log_in, wanted, prompter, key, redeem)
    credential_id, grant = granted[0]
    identify(wanted, grant, credential_id)
    return credential_id


def with_client_credentials(wanted: LoginRequest, prompter: Prompter, store: Store) -> str:
    """Log the consumer in without a user, and store it; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    key, secret = consumer(wanted, prompter)
    from git_credential_bitbucket.bitbucket import oauth  # lazy: requests-oauthlib costs 130 ms

    # A token is obtained at once, to report a wrong key or secret now.
    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
        grant = oauth.fetch_with_client_credentials(wanted.provider.endpoint, key, secret)
    return store(_record(wanted, key, secret, grant))


def with_jwt_bearer(wanted: LoginRequest, prompter: Prompter, store: Store) -> str:
    """Log an installation of an Atlassian Connect app in, and store it; returns its id. Raises `Error`."""
    providers.check_oauth(wanted.provider)
    if prompter.terminal is not None:
        guidance.show_instructions(prompter.terminal, wanted.kind, wanted.provider)
    app = paste_validation.app_key(prompter.line("Key of the app"))
    client_key = paste_validation.app_key(prompter.line("Client key of the installation"))
    secret = paste_validation.consumer_secret(prompter.secret("Shared secret of the installation"))
    prompter.check_all_read()
    from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
        grant = oauth.fetch_with_jwt(wanted.provider.endpoint, app, client_key, secret)
    return store({**_record(wanted, app, secret, grant), "subject": client_key})


def must_paste(wanted: LoginRequest, prompter: Prompter) -> bool:
    """Whether the redirect must be pasted. Raises `LoginFailed` if so and there is no terminal."""
    trouble = None if wanted.paste else _why_no_browser(wanted)
    if trouble is not None:
        prompter.say(f"{trouble}, so you will paste the address that it ends at.")
    paste = wanted.paste or trouble is not None
    if paste:
        terminal_to_paste_at(prompter)
    return paste


def terminal_to_paste_at(prompter: Prompter) -> Terminal:
    """The terminal. Raises `LoginFailed` if there is none."""
    if prompter.terminal is None:
        raise LoginFailed(
            "there is no terminal to paste into", hint="log in at a terminal, or with a token: login --api-token"
        )
    return prompter.terminal


def show_on(terminal: Terminal) -> Callable[[str], None]:
    """A function that shows text on `terminal`, and URLs so that they can be copied and scanned."""
    return lambda text: show_address(terminal, text) if text.startswith("https://") else terminal.say(text)


def _why_no_browser(wanted: LoginRequest) -> str | None:
    """Why no browser on this machine can be used; None if one can."""
    from git_credential_bitbucket.login import (
        browser,
        connection_owner,
    )  # lazy: other logins need no browser

    if not wanted.no_browser and not browser.can_open(os.environ):
        return "No browser can be opened from here"
    if not connection_owner.can_identify():
        return "This system cannot show that a browser is yours"
    return None


def _read_pasted_code(wanted: LoginRequest, prompter: Prompter, key: str) -> CodeGrant:
    from git_credential_bitbucket.login import paste  # lazy: as the browser

    terminal = terminal_to_paste_at(prompter)
    return paste.obtain_code(
        wanted.provider,
        key,
        wanted.provider.scopes,
        show=show_on(terminal),
        read_line=lambda: terminal.line("> "),
    )


def _store_or_revoke(wanted: LoginRequest, key: str, secret: Secret, grant: Grant, store: Store) -> str:
    try:
        return store(_record(wanted, key, secret, grant))
    except DaemonUnavailable:
        raise  # it may have been stored
    except Error:
        _revoke(wanted, key, secret, grant)
        raise


def _revoke(wanted: LoginRequest, key: str, secret: Secret, grant: Grant) -> None:
    """Revoke a grant that could not be stored, if Bitbucket allows it."""
    from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

    oauth.revoke(wanted.provider.endpoint, key, secret, grant.refresh_token or grant.access_token)


def _record(wanted: LoginRequest, key: str, secret: Secret, grant: Grant) -> dict[str, Any]:
    return {
        "kind": wanted.kind,
        "place": wanted.scope,
        "account": wanted.account,
        "secret": grant.access_token.reveal(),
        "refresh_token": grant.refresh_token.reveal() if grant.refresh_token is not None else None,
        "expires_in": grant.expires_in,
        "scopes": list(grant.scopes),
        "client_id": key,
        **({"client_secret": secret.reveal()} if wanted.source is None else {"source": wanted.source}),
        "endpoint": wanted.provider.endpoint.to_record(),
    }


def identify(wanted: LoginRequest, grant: Grant, credential_id: str) -> None:
    """Ask Bitbucket for the login's account, if the grant has that OAuth scope; a Data Center tells it without one."""
    is_told = ACCOUNT_SCOPE in grant.scopes or wanted.provider.endpoint.product == hosts.DATA_CENTER
    if wanted.account or not is_told:
        return
    from git_credential_bitbucket.client.shared_client import ask

    ask("identify", [("id[]", credential_id)])


def page(wanted: LoginRequest, grant: Grant) -> Page:
    """The page for a stored grant: its scope and OAuth scopes, and how to remove it."""
    from git_credential_bitbucket.login.pages import Page  # lazy: as above

    allowed = ", ".join(printable(scope) for scope in grant.scopes) or "the permissions of its consumer"
    return Page(
        "You are logged in",
        (
            f"git on this computer can now use {printable(wanted.scope.partition('://')[2])}: {allowed}.",
            "The login renews itself. To remove it, run: git-credential-bitbucket logout.",
            "You can close this tab.",
        ),
    )
