"""Owns what the tests of the audit share: the verbs' runner, and secrets of real shape."""

from pathlib import Path

import pytest

from tests.cli.conftest import bare_run, keyed, link, person, prefix, run
from tests.running import Runner
from tests.sandbox import key_settings

__all__ = ["bare_run", "keyed", "link", "person", "prefix", "run"]


@pytest.fixture
def alone(bare_run: Runner, home: Path) -> Runner:
    """A person whose vault's key is in a file; no stand-in is needed."""
    bare_run.env |= key_settings(home)
    return bare_run
