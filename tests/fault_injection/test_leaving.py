"""A daemon that is told to leave in the middle of a renewal, or with a grant that the disk did not take."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from git_credential_bitbucket.vault.storage.file import FileStorage
from tests.daemon.daemons import Daemon, eventually, message, read_all
from tests.fault_injection.sandbox import Machine
from tests.running import Runner

_ENTER = """
import sys
sys.path.append(sys.argv.pop(1))
{code}
from git_credential_bitbucket.client.activate import third_party
third_party()
from git_credential_bitbucket.daemon.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
_IMPATIENT = "from git_credential_bitbucket.daemon import lifecycle; lifecycle.STOP_TIMEOUT_S = 0.0"
_BAD_DISK = """
import errno, os, stat
def if_good(write):
    def call(fd, *what):
        if os.path.exists({flag!r}) and stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(fd, *what)
    return call
os.write, os.pwrite = if_good(os.write), if_good(os.pwrite)
"""


@pytest.fixture
def helper(executables: dict[str, Path]) -> Path:
    """What a person types."""
    return executables["portable"]


@pytest.fixture
def flag(machine: Machine) -> Path:
    """While it is there, the disk takes nothing. A broken disk cannot be had: `write` is made to fail."""
    return machine.home / "bad-disk"


@pytest.fixture
def unwritten(machine: Machine, flag: Path) -> Daemon:
    """A daemon with a grant that the disk did not take."""
    daemon = machine.daemon(enter=_ENTER.format(code=_BAD_DISK.format(flag=str(flag))))
    machine.log_in(daemon, expires_in=0)
    machine.standin.script_fault("token", "hold")
    with asking(machine, daemon) as connection:
        machine.standin.wait_for("token")
        flag.touch()
        machine.standin.release()
        assert read_all(connection) == b""
    return daemon


def asking(machine: Machine, daemon: Daemon, path: str = "acme/app.git") -> socket.socket:
    """A connection on which a `get` was sent."""
    connection = daemon.connect()
    connection.sendall(message("get", machine.request(path)))
    connection.shutdown(socket.SHUT_WR)
    return connection


def living(machine: Machine) -> bool:
    """Whether the refresh token in the vault is one that Bitbucket still takes."""
    (kept,) = machine.records()
    return not machine.standin.is_spent(kept["refresh_token"])


def test_a_request_under_way_is_waited_for_beyond_all_patience(machine: Machine) -> None:
    """The answer may be the only refresh token that still works; it is written, whoever still waits for it or not."""
    daemon = machine.daemon(enter=_ENTER.format(code=_IMPATIENT))
    machine.log_in(daemon, expires_in=0)
    machine.standin.script_fault("token", "hold")
    with asking(machine, daemon):
        machine.standin.wait_for("token")
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: not os.path.exists(daemon.path))
        machine.standin.release()
        assert daemon.ended() == 0
    assert machine.records()[0]["generation"] == 2
    assert living(machine)


def test_a_renewal_that_waits_for_the_vault_asks_nobody_once_the_daemon_leaves(machine: Machine) -> None:
    """Nothing is begun that might not be brought to its end: the refresh token is left to the next daemon."""
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    with FileStorage(str(machine.path)).lock():
        connection = asking(machine, daemon)
        daemon.told_about("ping")  # answered after the `get` was taken
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: not os.path.exists(daemon.path))
    with connection:
        assert read_all(connection) == b""
    assert daemon.ended() == 0
    assert machine.standin.token_requests() == []
    assert living(machine)


@pytest.mark.parametrize("how", ["SIGTERM", "exit"])
def test_what_the_disk_refused_is_written_at_the_end(machine: Machine, unwritten: Daemon, flag: Path, how: str) -> None:
    """The disk has recovered and nobody has asked since."""
    flag.unlink()
    if how == "exit":
        assert unwritten.ask("exit") == b"ok=1\n"
    else:
        unwritten.process.send_signal(signal.SIGTERM)
    assert unwritten.ended() == 0
    assert living(machine)


def test_who_asks_it_to_go_is_told_what_would_be_lost(
    machine: Machine, unwritten: Daemon, flag: Path, helper: Path
) -> None:
    """`daemon stop` says why it stays and what mends it; once that is mended it leaves, and nothing is lost."""
    run = Runner(machine.env, machine.home)
    refused = run(helper, "daemon", "stop", check=False)
    assert refused.returncode == 1
    assert "the new token of a login is not written to the vault yet: the vault" in refused.stderr
    assert "input/output error" in refused.stderr
    assert "; then stop it again; " in refused.stderr
    assert "daemon stop --force" in refused.stderr
    told = json.loads(run(helper, "daemon", "status", "--json").stdout)
    assert told["pid"] == unwritten.pid
    assert "leaving" not in told
    flag.unlink()
    assert "daemon stopped" in run(helper, "daemon", "stop").stdout
    assert unwritten.ended() == 0
    assert living(machine)


@pytest.mark.usefixtures("flag")
def test_by_force_it_goes_all_the_same(machine: Machine, unwritten: Daemon, helper: Path) -> None:
    """Whoever has read what is lost may want that."""
    done = Runner(machine.env, machine.home)(helper, "daemon", "stop", "--force")
    assert "daemon stopped" in done.stdout
    assert unwritten.ended() == 0
    assert not living(machine)
