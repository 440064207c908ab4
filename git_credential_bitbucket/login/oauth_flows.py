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
from git_credential_bitbucket.ui import dates

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.bitbucket.token_response import Grant
    from git_credential_bitbucket.login.authorization import Attempt, CodeGrant
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.ui.prompts import Prompter, Terminal

    Store = Callable[[dict[str, Any]], str]
    """Stores a record durably; returns its id."""

ACCOUNT_SCOPE = "account"
IMPLICIT_LIFE_S = 2 * 60 * 60
"""The lifetime of Bitbucket's tokens if an answer does not say (developer.atlassian.com/cloud/bitbucket/oauth-2)."""
_INTERRUPT = "to cancel, press Ctrl-C; then log in again"


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
    guidance.show_instructions(prompter.terminal, wanted)
    if secret is None:
        guidance.show_secret_note(prompter, wanted.provider)
    if key is None or prompter.lines_left() > 1:
        key = paste_validation.consumer_key(prompter.line("Key of the consumer"))
    if secret is None or prompter.lines_left():
        secret = paste_validation.consumer_secret(prompter.secret("Secret of the consumer"))
    prompter.check_all_read()
    return key, secret


def consumer_key(wanted: LoginRequest, prompter: Prompter) -> str:
    """The consumer's key, as `consumer` finds it, for the implicit grant."""
    if wanted.provider.client_id is not None:
        return wanted.provider.client_id
    if (given := environment_tokens.consumer(os.environ)) is not None and given.client_id is not None:
        return given.client_id
    guidance.show_instructions(prompter.terminal, wanted)
    return paste_validation.consumer_key(prompter.line("Key of the consumer"))


def with_consent(wanted: LoginRequest, prompter: Prompter, store: Store) -> str:
    """Let the user consent, and store what is granted; returns its id. Raises `Error`.

    By the code grant; with `wanted.implicit` by the implicit one, for a consumer without its secret: it brings a token
    for two hours, which cannot be renewed.
    """
    from git_credential_bitbucket.login.authorization import Attempt  # lazy: requests-oauthlib costs 130 ms

    providers.check_oauth(wanted.provider)
    paste = must_paste(wanted, prompter)
    key, secret = (consumer_key(wanted, prompter), None) if wanted.implicit else consumer(wanted, prompter)
    attempt = Attempt(wanted.provider, key, wanted.provider.scopes, implicit=wanted.implicit)
    granted: list[tuple[str, Grant]] = []

    def redeem(answer: str) -> Page:
        grant = attempt.token(answer) if wanted.implicit else _exchange(wanted, key, secret, attempt.grant(answer))
        granted.append((_store_or_revoke(wanted, key, secret, grant, store), grant))
        return _page(wanted, grant)

    if paste:
        redeem(_read_pasted(attempt, terminal_to_paste_at(prompter)))
    else:
        wait_for_browser(attempt, wanted, prompter, redeem)
    credential_id, grant = granted[0]
    _identify(wanted, grant, credential_id)
    if wanted.implicit:
        wanted.warn(prompter, f"it expires in {_implicit_life(grant)} and cannot be renewed; log in again then")
    return credential_id


def _exchange(wanted: LoginRequest, key: str, secret: Secret | None, code: CodeGrant) -> Grant:
    from git_credential_bitbucket.bitbucket import oauth  # lazy: requests-oauthlib costs 130 ms

    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, _INTERRUPT):
        return oauth.exchange_code(wanted.provider.endpoint, key, secret, code.code, code.redirect_uri, code.verifier)


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
    guidance.show_instructions(prompter.terminal, wanted)
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
        prompter.say(f"{trouble}: you will paste an address from a browser elsewhere.")
    paste = wanted.paste or trouble is not None
    if paste:
        terminal_to_paste_at(prompter)
    return paste


def terminal_to_paste_at(prompter: Prompter) -> Terminal:
    """The terminal. Raises `LoginFailed` if there is none."""
    if prompter.terminal is None:
        hint = "log in at a terminal, or with a token: login --api-token"
        raise LoginFailed("there is no terminal to paste into", hint=hint)
    return prompter.terminal


def _why_no_browser(wanted: LoginRequest) -> str | None:
    """Why no browser on this machine can be used; None if one can."""
    from git_credential_bitbucket.login import browser, connection_owner  # lazy: other logins need no browser

    if not wanted.no_browser and not browser.can_open(os.environ):
        return "No browser can be opened from here"
    if not connection_owner.can_identify():
        return "This system cannot show that a browser is yours"
    return None


def _read_pasted(attempt: Attempt, terminal: Terminal) -> str:
    from git_credential_bitbucket.login import paste  # lazy: as the browser

    def show(text: str) -> None:
        if text.startswith("https://"):
            show_address(terminal, text)  # to be copied and scanned
        else:
            terminal.say(text)

    def read_line() -> str:  # the implicit grant's address holds the token
        return terminal.secret("(not shown) > ") if attempt.implicit else terminal.line("> ")

    return paste.obtain_answer(attempt, show=show, read_line=read_line)


def _store_or_revoke(wanted: LoginRequest, key: str, secret: Secret | None, grant: Grant, store: Store) -> str:
    """Store a grant; one that could not be stored is revoked, if Bitbucket allows it. Raises `Error`."""
    try:
        return store(_record(wanted, key, secret, grant))
    except DaemonUnavailable:
        raise  # it may have been stored
    except Error:
        from git_credential_bitbucket.bitbucket import oauth  # lazy: as above

        if secret is not None:
            oauth.revoke(wanted.provider.endpoint, key, secret, grant.refresh_token or grant.access_token)
        raise


def _record(wanted: LoginRequest, key: str, secret: Secret | None, grant: Grant) -> dict[str, Any]:
    record = {
        "kind": wanted.kind,
        "place": wanted.scope,
        "account": wanted.account,
        "secret": grant.access_token.reveal(),
        "expires_in": grant.expires_in,
        "scopes": list(grant.scopes),
        "client_id": key,
        "endpoint": wanted.provider.endpoint.to_record(),
    }
    if secret is None:
        return {**record, "expires_in": _implicit_life_s(grant)}
    refresh_token = grant.refresh_token.reveal() if grant.refresh_token is not None else None
    consumer = {"client_secret": secret.reveal()} if wanted.source is None else {"source": wanted.source}
    return {**record, "refresh_token": refresh_token, **consumer}


def _identify(wanted: LoginRequest, grant: Grant, credential_id: str) -> None:
    """Ask Bitbucket for the login's account, if the grant has that OAuth scope; a Data Center tells it without one."""
    is_told = ACCOUNT_SCOPE in grant.scopes or wanted.provider.endpoint.product == hosts.DATA_CENTER
    if wanted.account or not is_told:
        return
    from git_credential_bitbucket.client.shared_client import ask

    ask("identify", [("id[]", credential_id)])


def _page(wanted: LoginRequest, grant: Grant) -> Page:
    """The page for a stored grant: its scope and OAuth scopes, how long it lasts, and how to remove it."""
    from git_credential_bitbucket.login.pages import Page  # lazy: as above

    allowed = ", ".join(printable(scope) for scope in grant.scopes) or "the permissions of its consumer"
    lasts = "The login renews itself. To remove it, run: git-credential-bitbucket logout."
    if wanted.implicit:
        lasts = f"It expires in {_implicit_life(grant)} and is not renewed: log in again then."
    scope = printable(wanted.scope.partition("://")[2])
    return Page(
        "You are logged in", (f"git on this computer can now use {scope}: {allowed}.", lasts, "You can close this tab.")
    )


def _implicit_life_s(grant: Grant) -> int:
    return IMPLICIT_LIFE_S if grant.expires_in is None else grant.expires_in


def _implicit_life(grant: Grant) -> str:
    return printable(dates.time_left(_implicit_life_s(grant)))
