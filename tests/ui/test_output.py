"""How tables are aligned."""

import io

from rich.console import Console

from git_credential_bitbucket.ui import output


def test_columns_are_aligned_by_what_a_terminal_shows() -> None:
    """A wide character takes two columns, a combining one none; nothing is cut, and nothing follows a row's end."""
    rows = [[("NAME", "bold"), ("ID", "bold")], [("漢字", ""), ("c1", "dim")], [("e\u0301", "red"), ("", "")]]
    aligned, width = output.align([*rows, [("a" * 300, ""), ("c2", "")]])
    file = io.StringIO()
    Console(file=file, width=80).print(aligned, end="", crop=False)
    gap = " " * 298
    assert file.getvalue() == f"NAME{gap}ID\n漢字{gap}c1\ne\u0301{' ' * 301}\n{'a' * 300}  c2\n"
    assert width == 304
