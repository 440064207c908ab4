"""Shows the login's address, as a line to copy and a QR code to scan, and waits for the browser."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from git_credential_bitbucket.ui import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.login.authorization import Attempt
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.pages import Page
    from git_credential_bitbucket.ui.prompts import Prompter, Terminal

LINES_BESIDE = 6
"""Lines shown above and below the code, which must be visible as a whole to be scanned."""
_QUIET_ZONE = 2
"""Light modules around the code. Four are the norm (ISO/IEC 18004), two do, and leave it narrower than 80 columns."""


def wait_for_browser(attempt: Attempt, wanted: LoginRequest, prompter: Prompter, redeem: Callable[[str], Page]) -> None:
    """Wait for a browser, with a spinner at a terminal, else a line on stderr.

    `redeem` gets the redirect's query or fragment, and returns the page with the outcome.
    """
    from git_credential_bitbucket.login import browser  # lazy: other logins need no browser

    terminal, spinner = prompter.terminal, ExitStack()
    console = None if terminal is None else terminal.console()

    def show(url: str) -> None:
        if terminal is None or console is None:
            output.warn(f"waiting for a browser to open {url}")
            return
        if wanted.no_browser:
            terminal.say("Open this address in a browser on this computer, and allow access:")
        else:
            terminal.say("Allow access in the browser. If it did not open, open this address:")
        show_address(terminal, url)
        terminal.say("Waiting. Press Ctrl-C to cancel without storing anything.", style="dim")
        shape = "dots" if terminal.is_utf8 else "line"
        spinner.enter_context(console.status("waiting for the browser", spinner=shape))

    def warn(cause: str, hint: str) -> None:
        if console is None:
            output.warn(cause, hint)
        else:
            console.print(f"Note: {cause}; {hint}", style="yellow")  # through the spinner's console

    def redeemed(answer: str) -> Page:
        spinner.close()
        return redeem(answer)

    with spinner:
        browser.log_in(attempt, redeem=redeemed, show=show, warn=warn, open_browser=not wanted.no_browser)


def show_address(terminal: Terminal, url: str) -> None:
    """Show the address on its own line, and as a QR code if there is room."""
    terminal.show(url)
    columns, lines = terminal.size()
    code = qr_code(url, columns, lines - LINES_BESIDE) if terminal.is_utf8 else None
    if isinstance(code, str):
        terminal.draw(code)
    elif code is not None:
        width, height = code
        size = f"{width} columns and {height + LINES_BESIDE} lines"
        terminal.say(f"The window is too small for a QR code, which needs {size}.", style="dim")


def qr_code(text: str, columns: int, lines: int) -> str | tuple[int, int] | None:
    """A QR code in half blocks, dark on light; its size if it does not fit. None without segno: it is an extra."""
    try:
        import segno  # lazy: an optional extra
    except ImportError:
        return None
    code = segno.make(text, error="l", micro=False)
    width, height = map(int, code.symbol_size(border=_QUIET_ZONE))
    if width > columns or (height + 1) // 2 > lines:
        return width, (height + 1) // 2
    drawn = io.StringIO()
    code.terminal(drawn, border=_QUIET_ZONE, compact=True)
    rows = drawn.getvalue().rstrip("\n").split("\n")
    if os.environ.get("NO_COLOR"):
        return "\n".join(rows)
    return "\n".join(f"\x1b[97;40m{row}\x1b[0m" for row in rows)
