"""CONTRIBUTING.md's complaints: each has its answer, and tests that exist."""

from install import manual
from tests import named

TEXT = (named.ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = list(manual.rows(TEXT, "| | complaint (where) | here | held by |"))


def test_every_test_that_an_answer_names_exists() -> None:
    """A renamed test would leave its answer without anybody to hold it."""
    assert named.missing(TEXT) == []


def test_all_twenty_have_an_answer_and_a_test() -> None:
    assert [cells[0] for cells in ROWS] == [str(number) for number in range(1, 21)]
    assert [cells[1] for cells in ROWS if not cells[2] or not named.named(cells[3])] == []
