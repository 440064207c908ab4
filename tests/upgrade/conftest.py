"""The fixtures of an upgrade's tests: the release's package, and those of the verbs and of the daemon."""

from pathlib import Path

import pytest

from tests.cli.conftest import bare_run, link, prefix  # noqa: F401 - fixtures
from tests.daemon.conftest import daemon, keyed_env, start  # noqa: F401 - fixtures
from tests.upgrade import release


@pytest.fixture
def package(home: Path) -> Path:
    """The folder of the release's package, free to be changed."""
    return release.unpack(home / "site")
