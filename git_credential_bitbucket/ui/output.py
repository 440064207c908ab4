"""Output for the user: lines and tables on stdout, warnings on stderr; rich for tables and styles only."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from git_credential_bitbucket import files, text_wrapping
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import InsecurePath
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console
    from rich.segment import Segments

MAX_COLUMNS = 10_000
"""The width where stdout is not a terminal: programs that read a table need each row on one line."""


def console() -> Console:
    """A rich console on stdout: colours on a terminal only and not with NO_COLOR, no markup."""
    from rich.console import Console  # lazy: rich costs 40 ms

    width = None if sys.stdout.isatty() else MAX_COLUMNS
    return Console(width=width, markup=False, highlight=False, emoji=False)


def table(rows: Iterable[tuple[str, ...]], header: tuple[str, ...] = ()) -> None:
    """Print aligned columns with every cell in full: the terminal wraps long rows, so that they can be copied."""
    from rich.console import Console  # lazy: as `console`

    cells = [[(name, "bold") for name in header], *([(shown(cell), "") for cell in row] for row in rows)]
    aligned, _ = align([row for row in cells if row])
    Console(width=MAX_COLUMNS, markup=False, highlight=False, emoji=False).print(aligned, end="", crop=False)


def align(rows: list[list[tuple[str, str]]]) -> tuple[Segments, int]:
    """Rows of cells, each a text without control characters and its style, in columns; and their width.

    rich's own table takes half a millisecond for each row.
    """
    from rich.cells import cell_len  # lazy: as `console`
    from rich.segment import Segment, Segments
    from rich.style import Style

    widths = [max(cell_len(text) for text, _ in column) for column in zip(*rows, strict=True)]
    gaps = [2] * (len(widths) - 1) + [0]
    found = []
    for row in rows:
        for (text, style), width, gap in zip(row, widths, gaps, strict=True):
            found += [Segment(text, Style.parse(style)), Segment(" " * (width - cell_len(text) + gap) if gap else "")]
        found.append(Segment.line())
    return Segments(found), sum(widths) + sum(gaps)


def say(text: str = "", style: str | None = None, *, is_whole: bool = False) -> None:
    """One line with control characters made visible; wrapped at a terminal, unless it `is_whole`, to be copied."""
    if style is not None:
        line(console(), text, style)
        return
    text = shown(text)
    columns = 0 if is_whole or not sys.stdout.isatty() else text_wrapping.columns_of(sys.stdout.fileno())
    print(text_wrapping.wrapped(text, columns), flush=True)  # noqa: T201 - as `console`, whose import costs 40 ms


def line(out: Console, text: str, style: str = "") -> None:
    """One line on `out`, wrapped between words where that is a terminal."""
    lines(out, [(text, style)])


def lines(out: Console, rows: Iterable[tuple[str, str]]) -> None:
    """As `line`, several with a style each: rich takes a third of a millisecond for each that it is given alone."""
    from rich.segment import Segment, Segments  # lazy: as `console`
    from rich.style import Style

    width = out.width if out.width < MAX_COLUMNS else 0
    found = []
    for text, style in rows:
        for part in text_wrapping.wrapped(shown(text), width).split("\n"):
            found += [Segment(part, Style.parse(style)), Segment.line()]
    out.print(Segments(found), end="", crop=False)


def warn(cause: str, hint: str | None = None) -> None:
    """Print a warning on stderr, and its hint."""
    sys.stderr.write(messages.told("warning", shown(cause), hint and shown(hint)))


def abbreviate_home(text: str, env: Mapping[str, str]) -> str:
    """`text` with the home directory as ~ in every path."""
    home = env.get("HOME", "").rstrip("/")
    for path in {home, os.path.realpath(home)} if home else ():
        text = text.replace(f"'{path}/", "~/'")  # a shell does not expand a tilde within quotes
        text = re.sub(r"(?<![\w.-])" + re.escape(path) + r"(?![\w.-])", "~", text)
    return text


def write(path: str, text: str) -> None:
    """Write `text` to the file at `path`, replacing it, or to stdout for `-`. Raises `Error`."""
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        files.replace(path, text.encode(), mode=None)
    except InsecurePath as exc:
        raise InsecurePath(exc.cause, hint="name a file, or - for standard output") from exc


def shown(text: str) -> str:
    """`text` with control characters made visible, in full."""
    return printable(text, MAX_COLUMNS)
