"""The daemon's fixtures: an environment with a key file, and daemons that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.daemons import Daemon
from tests.sandbox import KEY_FILE, key_file

Start = Callable[..., Daemon]


@pytest.fixture
def keyed_env(bare_env: dict[str, str], home: Path) -> dict[str, str]:
    """`bare_env` with a key file: the vault opens without asking anybody."""
    return {**bare_env, KEY_FILE: str(key_file(home))}


@pytest.fixture
def start(keyed_env: dict[str, str]) -> Iterator[Start]:
    """Starts daemons, in `keyed_env` unless told otherwise."""
    started: list[Daemon] = []

    def start_one(*arguments: str, env: dict[str, str] | None = None, **more: object) -> Daemon:
        daemon = Daemon(keyed_env if env is None else env, *arguments, **more)  # type: ignore[arg-type]  # passed on as it is
        started.append(daemon)
        return daemon

    yield start_one
    for daemon in started:
        daemon.end()


@pytest.fixture
def daemon(start: Start) -> Daemon:
    """A running daemon."""
    daemon = start()
    assert daemon.told == "ready\n"
    return daemon
