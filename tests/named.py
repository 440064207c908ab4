"""Owns how a document names tests, and whether these exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def named(text: str) -> list[tuple[str, str]]:
    """The tests that `text` names: file and function."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def missing(text: str) -> list[str]:
    """Those of them that do not exist."""
    absent = []
    for path, name in named(text):
        tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            absent.append(f"{path}::{name}")
    return absent
