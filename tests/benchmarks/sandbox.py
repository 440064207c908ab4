"""A user as a measurement needs one: a home, an environment built up, a key file, a vault filled at will, a daemon."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.vault.storage.selection import open_storage
from git_credential_bitbucket.vault.vault import Vault
from tests.daemon.daemons import read_all
from tests.fake_bitbucket import tokens
from tests.sandbox import Sandbox, new_home
from tests.sockets import connected, listener_of

PATIENCE_S = 20.0
REQUEST = b"protocol=https\nhost=bitbucket.org\npath=acme/app.git\n"
"""git's words for one repository, with useHttpPath as `configure` sets it."""


class Seat(Sandbox):
    """One user. Its state: the home, the environment, and the tokens kept."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.token = tokens.access_token()

    @property
    def answered(self) -> bytes:
        """What an answer to `REQUEST` must contain."""
        return f"password={self.token}\n".encode()

    @property
    def store(self) -> bytes:
        """What git says once that answer has worked."""
        return REQUEST + b"username=x-token-auth\n" + self.answered

    def fill(self, count: int = 1, env: Mapping[str, str] | None = None) -> None:
        """Write a vault with `count` repositories' access tokens, the first of them `REQUEST`'s."""
        places = ["acme/app", *(f"acme/app{nth}" for nth in range(1, count))]
        vault = Vault(open_storage(self.env))
        vault.acquire(env or self.env, create=True)
        with vault.transaction() as tx:
            tx.content["credentials"] = [
                {
                    "id": f"c{nth}",
                    "kind": "access-token",
                    "place": f"https://bitbucket.org/{place}",
                    "secret": tokens.access_token() if nth else self.token,
                    "generation": 1,
                }
                for nth, place in enumerate(places)
            ]

    def connected(self, action: str = "get") -> socket.socket:
        """A connection to the daemon, at the socket for `action`. Raises OSError where there is none."""
        path = str(self.socket)
        return connected(path if action in git_protocol.GIT_ACTIONS else paths.control_socket(path), PATIENCE_S)

    def ask(self, action: str, request: bytes = b"") -> bytes:
        """The daemon's answer."""
        with self.connected(action) as connection:
            connection.sendall(message(action, request))
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def daemon_pid(self) -> int:
        """The daemon's process."""
        return listener_of(self.socket, PATIENCE_S)

    def stop(self) -> None:
        """Stop the daemon, if one runs; returns when it has ended."""
        with contextlib.suppress(OSError):
            process = os.pidfd_open(self.daemon_pid())
            try:
                self.ask("exit")
                select.select([process], [], [], PATIENCE_S)
            finally:
                os.close(process)

    def cpu_s(self) -> float:
        """The processor time that the daemon has used."""
        fields = Path(f"/proc/{self.daemon_pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """The daemon's resident memory, what it shares with others included."""
        status = Path(f"/proc/{self.daemon_pid()}/status").read_text()
        return next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmRSS:")) / 1024


def message(action: str, request: bytes) -> bytes:
    """A request as our own front ends send it."""
    return b"action=%b\ntimeout=35\n%b" % (action.encode(), request)


@contextlib.contextmanager
def seat() -> Iterator[Seat]:
    """A user of one measurement; what was started for them ends with it."""
    with new_home() as home:
        yield Seat(home)
