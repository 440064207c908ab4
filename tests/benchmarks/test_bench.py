"""The benchmark itself: every measurement works, with few samples; how fast anything is is no matter of a test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import installed
from tests.benchmarks.__main__ import MEASUREMENTS
from tests.benchmarks.figures import Table, ratio


def bench(letter: str, folder: Path, executables: dict[str, Path], path: str) -> "subprocess.CompletedProcess[str]":
    """Take one measurement with few samples; its document is `folder`/results."""
    built = executables["portable"].parents[2]
    words: list[str | Path] = [sys.executable, "-m", "tests.benchmarks", "--quick", "--only", letter]
    words += ["--built", built, "--json", folder / "results"]
    return subprocess.run(
        words,
        cwd=installed.ROOT,
        env={"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("letter", MEASUREMENTS)
def test_each_measurement_gives_a_table_and_figures(letter: str, tmp_path: Path, executables: dict[str, Path]) -> None:
    """In an environment of its own it ends well, prints its rows, and writes them for machines; no token is told."""
    done = bench(letter, tmp_path, executables, os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    (table,) = json.loads((tmp_path / "results").read_text())["tables"]
    assert table["letter"] == letter
    assert table["rows"] or table["absent"]
    assert all(row["name"] in done.stdout for row in table["rows"])
    assert "ATCTT" not in done.stdout + done.stderr


def test_a_missing_peer_is_named_absent(tmp_path: Path, executables: dict[str, Path]) -> None:
    """What is not installed is said so, and the rest is measured."""
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    done = bench("a", tmp_path, executables, str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert "absent: gh auth git-credential" in done.stdout
    assert "get: git credential-cache" in done.stdout


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that is slow for some rounds is slow for both, and the ratio does not move."""
    assert ratio([1, 10, 1, 10, 1], [2, 20, 2, 20, 2]) == pytest.approx(0.5)


def test_a_bar_is_met_or_missed() -> None:
    """The table says which, and so does the document."""
    table = Table("x", "what")
    table.hold("low", 1.0, 2.0)
    table.hold("rate", 1.0, 2.0, at_least=True)
    assert [line.rpartition(": ")[2] for line in table.lines()][1:] == ["met", "MISSED"]
    assert [bar["met"] for bar in table.document()["bars"]] == [True, False]  # type: ignore[attr-defined]  # JSON
