"""The daemon's fixtures: an environment with a key file, daemons that end with their test, their clock."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.daemons import Daemon
from tests.sandbox import KEY_FILE, key_file

Start = Callable[..., Daemon]
A_MOMENT_S = 0.5
"""In which a daemon whose clock is turned looks at its state several times."""
_ENTER = """
import os, sys
sys.path.append(sys.argv.pop(1))
from git_credential_bitbucket.client.activate import third_party
third_party()
from git_credential_bitbucket.daemon import lifecycle
from git_credential_bitbucket.daemon.__main__ import main
clock = lifecycle.clock
lifecycle.clock = lambda: clock() + os.stat({path!r}).st_size
lifecycle.CHECK_INTERVAL_S = 0.1
sys.exit(main(sys.argv[1:]))
"""


class Clock:
    """The clock of daemons that are started with `enter`. Its state: a file with a byte for each second it is ahead."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self.enter = _ENTER.format(path=str(path))

    def turn_on(self, daemon: Daemon, seconds: int) -> None:
        """Let so much time pass at once for a daemon, in which nobody asked it, and the machine may have slept."""
        assert daemon.ask("ping")  # by now it has noted the use before
        os.truncate(self._path, self._path.stat().st_size + seconds)


@pytest.fixture
def keyed_env(bare_env: dict[str, str], home: Path) -> dict[str, str]:
    """`bare_env` with a key file: the vault opens without asking anybody."""
    return {**bare_env, KEY_FILE: str(key_file(home))}


@pytest.fixture
def clock(home: Path) -> Clock:
    """A clock that the test turns."""
    return Clock(home / "clock")


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
