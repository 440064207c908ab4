"""What is made once for all tests of the installation."""

from pathlib import Path

import pytest

from install import wheels


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as it is released; nobody may change it."""
    return wheels.pyz(tmp_path_factory.mktemp("pyz"))
