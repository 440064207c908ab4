"""SECURITY.md's promises: each names tests, and these exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github" / "SECURITY.md").read_text()


def test_every_test_that_a_promise_names_exists() -> None:
    """A renamed test would leave its promise without anybody to hold it."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 50
    missing = []
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(f"{path}::{name}")
    assert not missing


def test_every_promise_names_a_test() -> None:
    """What nobody tests is not promised."""
    promises = TEXT.partition("## What you can rely on")[2].partition("## The one window")[0].split("\n- ")[1:]
    assert promises
    assert [promise for promise in promises if "`tests/" not in promise] == []
