"""OAuth login without a browser here: the user opens the address elsewhere, and pastes the redirect.

Input and output go through the caller, because stdin and stdout may be git's.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login.authorization import Attempt, CodeGrant

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.bitbucket.token_response import Grant

TRIES = 5
"""Attempts at pasting before the login fails."""

_AROUND = " \t\r\n\"'`<>"


def obtain_code(
    provider: "Provider",
    client_id: str,
    scopes: tuple[str, ...],
    *,
    show: "Callable[[str], None]",
    read_line: "Callable[[], str]",
) -> CodeGrant:
    """The code that the user pastes, alone or within the redirect's URL.

    `show` is given each line for the person, the address to open among them; `read_line` returns what they typed. An
    address must carry this login's state; a bare code has none, so that only PKCE binds it. Raises `LoginFailed`.
    """
    attempt = Attempt(provider, client_id, scopes)
    query, code = _pasted(attempt, show, read_line)
    return attempt.with_code(code) if query is None else attempt.grant(query)


def obtain_token(
    provider: "Provider",
    client_id: str,
    scopes: tuple[str, ...],
    *,
    show: "Callable[[str], None]",
    read_line: "Callable[[], str]",
) -> "Grant":
    """As `obtain_code`, by the implicit grant: the URL contains the token, so `read_line` must not echo."""
    attempt = Attempt(provider, client_id, scopes, implicit=True)
    fragment, _ = _pasted(attempt, show, read_line)
    return attempt.token(fragment or "")


def _pasted(attempt: Attempt, show: "Callable[[str], None]", read_line: "Callable[[], str]") -> tuple[str | None, str]:
    """The pasted query or fragment, or else the code. Raises `LoginFailed` after `TRIES`."""
    show("Open this address in a browser on any computer, and allow access:")
    show(attempt.url)
    show(f"The browser then goes to {attempt.redirect_uri}… and shows an error: that is expected.")
    for _ in range(TRIES):
        only = "" if attempt.implicit else ", or only its code"
        show(f"Paste that whole address here{only}:")
        pasted = read_line().strip(_AROUND)
        query, trouble = _query_of(pasted, attempt)
        if trouble:
            show(trouble)
        elif query is not None or pasted:
            return query, pasted
    raise LoginFailed("no address of this login was pasted", hint="log in again")


def _query_of(pasted: str, attempt: Attempt) -> tuple[str | None, str]:
    """The query or fragment in the pasted text, None for a bare code; and what is wrong with it, or empty."""
    if not any(mark in pasted for mark in ("://", "?", "code=", "error=")) and not (attempt.implicit and pasted):
        return None, ""
    if pasted.startswith(attempt.url.partition("?")[0]):
        return None, "This is the address to open. Paste the one that the browser ends at, after you allow access."
    try:
        parts = urlsplit(pasted)
        query = (attempt.implicit and parts.fragment) or parts.query or pasted.rpartition("?")[2]
    except ValueError:
        query = ""
    if not attempt.matches_state(query):
        return None, "This address is not of this login, or is incomplete: paste all of it, with its state."
    return query, ""
