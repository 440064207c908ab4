"""The pages shown in the browser after the redirect; foreign text is always escaped.

Owns page.html, which loads nothing and runs nothing; the policy sent with it allows its own style and no more. One page
runs fragment.js as well, because a browser shows a redirect's fragment to nobody else: by its hash, and that alone.
"""

import base64
import hashlib
import html
import os
import string
from dataclasses import dataclass
from functools import cache

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable


@dataclass(frozen=True, slots=True)
class Page:
    """A title and paragraphs, as plain text. `good`: the login has not failed."""

    title: str
    paragraphs: tuple[str, ...]
    good: bool = True
    scripted: bool = False


SECOND_TAB = Page(
    "This login is already complete",
    ("It was answered in another tab, or this page was reloaded.", "You can close this tab."),
)
NOT_OURS = Page(
    "This belongs to another login",
    (
        "The address does not match the login waiting in your terminal.",
        "It may be from an earlier login, or from a page that should not have sent you here. Nothing was accepted.",
        "The login in the terminal is still waiting: open the address shown there.",
    ),
    good=False,
)
FRAGMENT = Page(
    "Bitbucket has answered",
    (
        "This page passes the answer to the login in your terminal, and removes it from the address.",
        "It needs JavaScript. If this text does not change, log in with --paste, which works without.",
    ),
    scripted=True,
)
STRANGER = Page(
    "This browser may belong to another user",
    (
        "Only programs of the user who is logging in, on this computer, may open this page.",
        "The system does not show that this browser is one of them, so nothing was accepted.",
        "If the login is yours, run: git-credential-bitbucket login --oauth --paste.",
    ),
    good=False,
)
STARTED = Page(
    "This address works once",
    ("The login in your terminal has already been opened.", "To open it again, use the address shown there."),
    good=False,
)
NOTHING_HERE = Page("Not found", ("This address belongs to a login in a terminal.",), good=False)
INTERRUPTED = Page(
    "The login was cancelled",
    ("It was cancelled in the terminal. Nothing was stored.", "You can close this tab."),
    good=False,
)


def of_error(error: Error) -> Page:
    """The page for a failed login: the same error and hint as at the terminal."""
    hint = (f"Hint: {error.hint}.",) if error.hint else ()
    return Page("The login failed", (f"Error: {error.cause}.", *hint, "You can close this tab."), good=False)


def render(page: Page) -> bytes:
    """The page as HTML."""
    text = "\n".join(f"<p>{_escaped(paragraph)}</p>" for paragraph in page.paragraphs)
    mood = "good" if page.good else "bad"
    script = f"<script>{_content('fragment.js')}</script>\n" if page.scripted else ""
    template = string.Template(_content("page.html"))
    return template.substitute(title=_escaped(page.title), text=text, mood=mood, script=script).encode("utf-8")


@cache
def policy(*, scripted: bool = False) -> str:
    """The Content-Security-Policy: only this page's style, by its hash.

    With `scripted` its one script too, which may ask the server that it came from and nobody else.
    """
    _, _, rest = _content("page.html").partition("<style>")
    style, _, _ = rest.partition("</style>")
    return "; ".join(
        (
            f"default-src 'none'; style-src {_hash(style)}",
            *((f"script-src {_hash(_content('fragment.js'))}; connect-src 'self'",) if scripted else ()),
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            # Not for the script: it needs our origin, to be told from a stranger's, and with that there is no sandbox.
            *(() if scripted else ("sandbox",)),
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


@cache
def _content(name: str) -> str:
    """A file of this package."""
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read()


def _escaped(text: str) -> str:
    return html.escape(printable(text, 1000))
