"""OAuth login without a browser here: the user opens the address elsewhere, and pastes the redirect.

Input and output go through the caller, because stdin and stdout may be git's.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from git_credential_bitbucket.errors import LoginFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.login.authorization import Attempt

TRIES = 5
"""Attempts at pasting before the login fails."""

_AROUND = " \t\r\n\"'`<>"


def obtain_answer(attempt: "Attempt", *, show: "Callable[[str], None]", read_line: "Callable[[], str]") -> str:
    """The query or fragment of the redirect's URL, which the user pastes; or their bare code as such a query.

    `show` is given each line for the person, the address to open among them; `read_line` returns what they typed, and
    must not echo a fragment, which holds the token. An address must carry this login's state; a bare code has none, so
    that only PKCE binds it. Raises `LoginFailed` after `TRIES`.
    """
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
            return query if query is not None else urlencode({"code": pasted}, errors="surrogateescape")
    raise LoginFailed("no address of this login was pasted", hint="log in again")


def _query_of(pasted: str, attempt: "Attempt") -> tuple[str | None, str]:
    """The query or fragment in the pasted text, None for a bare code; and what is wrong with it, or empty."""
    if not any(mark in pasted for mark in ("://", "?", "code=", "error=")) and not (attempt.implicit and pasted):
        return None, ""
    if pasted.startswith(attempt.url.partition("?")[0]):
        return None, "This is the address to open. After you allow access, the browser shows another: paste that one."
    try:
        parts = urlsplit(pasted)
        query = (attempt.implicit and parts.fragment) or parts.query or pasted.rpartition("?")[2]
    except ValueError:
        query = ""
    if not attempt.matches_state(query):
        return None, "This address belongs to another login, or is incomplete: paste all of it, including its state."
    return query, ""
