"""What a person sees: lines and tables on stdout, warnings on stderr. Imports rich for tables and styles only."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import InsecurePath
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

UNBROKEN = 10_000
"""The width of what is no terminal: a program that reads a table wants a line to stay a line."""


def console() -> Console:
    """Standard output by rich: colours on a terminal only and not under NO_COLOR, nothing taken for markup."""
    from rich.console import Console  # lazy: 40 ms that a verb without a table does without

    width = None if sys.stdout.isatty() else UNBROKEN
    return Console(width=width, markup=False, highlight=False, emoji=False)


def table(rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    """Aligned columns, every cell in full: what is wider than the terminal is wrapped by it, and can be copied."""
    from rich.console import Console  # lazy: as `console`
    from rich.table import Table
    from rich.text import Text

    grid = Table(*header, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(header))
    for row in rows:
        grid.add_row(*(Text(shown(cell)) for cell in row))
    Console(width=UNBROKEN, markup=False, highlight=False, emoji=False).print(grid)


def say(text: str = "", style: str | None = None) -> None:
    """One line, never wrapped, with control characters made visible."""
    if style is None:
        print(shown(text), flush=True)  # noqa: T201 - as `console`, whose import costs 40 ms
    else:
        console().print(shown(text), style=style, soft_wrap=True)


def warn(cause: str, hint: str | None = None) -> None:
    """A line on stderr about what was not asked for but ought to be known, and one with the cure."""
    sys.stderr.write(f"{messages.NAME}: warning: {shown(cause)}\n")
    if hint:
        sys.stderr.write(f"{messages.NAME}: hint: {shown(hint)}\n")


def from_home(text: str, env: Mapping[str, str]) -> str:
    """`text` with the home directory as ~ in every path, as people write it; programs get whole paths."""
    home = env.get("HOME", "").rstrip("/")
    for path in {home, os.path.realpath(home)} if home else ():
        text = text.replace(f"'{path}/", "~/'")  # quoted for a shell, which takes a tilde within quotes as it is
        text = re.sub(r"(?<![\w.-])" + re.escape(path) + r"(?![\w.-])", "~", text)
    return text


def write(path: str, text: str) -> None:
    """Put `text` in place of the file at `path`, or on standard output for `-`. Raises `Error`."""
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.replace(path, text.encode(), mode=None)
    except InsecurePath as exc:
        raise InsecurePath(exc.cause, hint="name a file, or - for standard output") from exc


def shown(text: str) -> str:
    """`text` fit for a terminal, in full."""
    return printable(text, UNBROKEN)
