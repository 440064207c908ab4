"""Where the vault's tests have their vault."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The vault's path."""
    return str(tmp_path / "gcb" / "vault")
