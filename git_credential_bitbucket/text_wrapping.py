"""Lines that fit a terminal, broken between words; what a pipe gets is not wrapped. Imports os."""

import os

MIN_COLUMNS = 20
"""On a narrower terminal, or one that does not tell its width, nothing is wrapped."""
_COMMAND = (
    r"(?<=run: )[^;]+"
    r"|(?<!/)git-credential-bitbucket(?: (?!(?:for|about) )[a-z]+)?"
    r"(?: --?[a-z-]+(?:[ =][^\s;,-][^\s;,]*)?| [0-9a-f]{12}| [A-Z]+| https?://[^\s;,]+)*"
    r"|git (?:config|remote|credential) [^;,]+"
)
"""A command is not broken where it fits: it is there to be copied."""


def wrapped(text: str, columns: int, indent: int | None = None) -> str:
    """`text` in lines of at most `columns`, all but the first indented; a longer word or command stays whole.

    `indent` is in columns; without it, it is two more than the first line's.
    """
    if columns < MIN_COLUMNS or len(text) <= columns:
        return text
    import re  # lazy: only a terminal needs these two
    import textwrap

    indent = len(text) - len(text.lstrip(" ")) + 2 if indent is None else indent
    kept = re.sub(_COMMAND, lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(
        kept,
        columns,
        subsequent_indent=" " * min(indent, columns // 2),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return "\n".join(lines).replace("\0", " ")


def columns_of(descriptor: int) -> int:
    """The width of the terminal at `descriptor`; 0 where there is none."""
    try:
        return os.get_terminal_size(descriptor).columns
    except OSError:
        return 0
