"""Answers of Bitbucket's that come late: who asked has given up, and the new refresh token is kept all the same."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from git_credential_bitbucket.bitbucket import token_response
from git_credential_bitbucket.daemon import limits
from tests.daemon.daemons import Daemon, eventually, message, read_all
from tests.daemon.test_upgrade import PACKAGE, hasten, install
from tests.fault_injection.sandbox import Machine
from tests.fault_injection.test_leaving import _ENTER, asking, living

_HASTY = """
import os
from git_credential_bitbucket.daemon import limits
class Hasty(limits.Limits):
    answer_s = property(lambda self: 0.5 if os.path.exists({flag!r}) else 120.0)
limits.Limits = Hasty
"""
"""A request that comes while the flag is there is given up after a moment."""

_SLOW_TO_SAY_WHY = """
import time
from git_credential_bitbucket.agent.dispatch import Dispatcher
def after_the_renewal(self, action, *rest, verb=Dispatcher._verb):
    if action == "why":
        open({flag!r}, "w").close()
        while self.agent.renewals.is_any_under_way:
            time.sleep(0.01)
    return verb(self, action, *rest)
Dispatcher._verb = after_the_renewal
"""
"""The renewal succeeds between the `get` that gave it up and the question why that was empty."""

_FEW_THREADS = """
from git_credential_bitbucket.daemon import thread_pool
thread_pool.MAX_JOBS, thread_pool.MAX_RENEWALS = 1, 2
"""


@pytest.fixture
def haste(machine: Machine) -> Path:
    """While it is there, a hasty daemon gives up what it is asked."""
    return machine.home / "haste"


@pytest.fixture
def hasty(machine: Machine, haste: Path) -> Iterator[Daemon]:
    """A daemon that has given an answer up, and has sent a refresh token that Bitbucket holds on to."""
    daemon = machine.daemon(enter=_ENTER.format(code=_HASTY.format(flag=str(haste))))
    machine.log_in(daemon, expires_in=0)
    machine.standin.script_fault("token", "hold")
    haste.touch()
    with asking(machine, daemon) as connection:
        machine.standin.wait_for("token")
        assert read_all(connection) == b""
    haste.unlink()
    yield daemon
    os.kill(machine.standin.pid, signal.SIGCONT)
    daemon.process.send_signal(signal.SIGCONT)
    machine.standin.release()


def is_renewed(machine: Machine) -> bool:
    """Whether the vault has the answer."""
    (kept,) = machine.records()
    return bool(kept["generation"] == 2)


def test_an_answer_is_waited_for_much_longer_than_a_client_waits() -> None:
    """A stopped process, a suspended laptop, a server that is started again: minutes, not seconds."""
    assert 5 * limits.Limits().answer_s <= token_response.TOKEN_TIMEOUT_S


def test_a_stopped_server_loses_nothing(machine: Machine, hasty: Daemon, haste: Path) -> None:
    """The client gives up by itself and is told what is waited for; the answer comes when the server goes on."""
    os.kill(machine.standin.pid, signal.SIGSTOP)
    told = hasty.told_about("why", machine.request("acme/app.git"))
    assert (told["state"], "has not answered yet" in told["error"]) == ("unreachable", True)
    haste.touch()
    assert hasty.told_about("refresh", f"id={machine.records()[0]['id']}\n".encode()) == {"pending": "1"}
    haste.unlink()
    os.kill(machine.standin.pid, signal.SIGCONT)
    machine.standin.release()
    eventually(lambda: is_renewed(machine))
    assert living(machine)
    assert hasty.told_about("get", machine.request("acme/app.git"))["password"]
    assert len(machine.standin.token_requests()) == 1


def test_a_renewal_that_succeeds_after_the_deadline_answers_git(
    machine: Machine, executables: dict[str, Path], haste: Path
) -> None:
    """Not as a missing credential, which a login or a password would have to mend: it is asked for once more."""
    flag = machine.home / "asked-why"
    code = _HASTY.format(flag=str(haste)) + _SLOW_TO_SAY_WHY.format(flag=str(flag))
    daemon = machine.daemon(enter=_ENTER.format(code=code))
    machine.log_in(daemon, expires_in=0)
    haste.touch()
    machine.standin.script_fault("token", "hold")
    env = {**machine.env, "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-c", f"credential.helper={executables['portable']}", "credential", "fill"]
    with subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=machine.home) as git:
        assert git.stdin is not None
        git.stdin.write(machine.request("acme/app.git"))
        git.stdin.close()
        git.stdin = None
        eventually(flag.exists)
        haste.unlink()
        machine.standin.release()
        out, err = git.communicate(timeout=60)
    assert b"username=x-token-auth\n" in out
    assert err == b""
    assert len(machine.standin.token_requests()) == 1
    assert daemon.told_about("why", machine.request("acme/app.git"))["state"] == "ready"


def test_renewals_that_hang_take_no_thread_from_other_jobs(machine: Machine) -> None:
    """As many hang as may run at once: one more waits its turn, everything else is done meanwhile, and none is lost."""
    daemon = machine.daemon(enter=_ENTER.format(code=_FEW_THREADS))
    for path in ("acme/held", "acme/next"):
        machine.log_in(daemon, expires_in=0, place=f"/{path}")
    consumer = machine.standin.add_consumer()
    mint = message("mint", f"client_id={consumer.key}\nclient_secret={consumer.secret}\n".encode() + machine.request())
    machine.standin.script_fault("token", "hold", count=2)
    with daemon.connect(daemon.control) as minting, asking(machine, daemon, "acme/held") as held:
        minting.sendall(mint)
        minting.shutdown(socket.SHUT_WR)
        machine.standin.wait_for("token", 2)
        waiting = asking(machine, daemon, "acme/next")
        token = machine.standin.issue_access_token("acme/other")
        machine.add(daemon, place=f"{machine.standin.url}/acme/other", kind="access-token", secret=token)
        assert daemon.told_about("get", machine.request("acme/other"))["password"] == token
        assert len(machine.standin.token_requests()) == 2
        machine.standin.release()
        with waiting:
            assert all(b"password=" in read_all(connection) for connection in (minting, held, waiting))
    assert [kept["generation"] for kept in machine.records() if kept["kind"] == "oauth"] == [2, 2]


def test_a_stopped_daemon_loses_nothing(machine: Machine, hasty: Daemon) -> None:
    """The answer waits in the socket until the daemon goes on."""
    os.kill(hasty.pid, signal.SIGSTOP)
    machine.standin.release()
    machine.standin.wait_for("token", answered=True)
    assert not is_renewed(machine)
    os.kill(hasty.pid, signal.SIGCONT)
    eventually(lambda: is_renewed(machine))
    assert living(machine)


def test_an_upgrade_waits_for_the_answer_and_holds_up_nobody(machine: Machine, haste: Path) -> None:
    """Newcomers queue for seconds at most while a daemon starts anew, and not for Bitbucket's minutes."""
    flag, copy = machine.home / "upgrading", machine.home / "site"
    shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, usual, here in (
        ("lifecycle.py", "UPGRADE_WAIT_S = 10.0", "UPGRADE_WAIT_S = 0.0"),
        ("lifecycle.py", '"""Start the successor once it is idle."""', f"open({str(flag)!r}, 'w').close()"),
    ):
        file = copy / PACKAGE.name / "daemon" / name
        assert usual in file.read_text()
        file.write_text(file.read_text().replace(usual, here))
    hasten(copy)
    daemon = Daemon(machine.env, package=str(copy), enter=_ENTER.format(code=_HASTY.format(flag=str(haste))))
    machine.started.append(daemon)
    machine.log_in(daemon, expires_in=0)
    haste.touch()
    machine.standin.script_fault("token", "hold")
    with asking(machine, daemon) as connection:
        machine.standin.wait_for("token")
        install(copy, "9.9.9")
        eventually(flag.exists)
        for _ in range(20):
            flag.unlink(missing_ok=True)
            eventually(flag.exists)
            assert daemon.told_about("ping")["version"] != "9.9.9"
        machine.standin.release()
        read_all(connection)
    eventually(lambda: daemon.told_about("ping")["version"] == "9.9.9")
    assert living(machine)


@pytest.mark.parametrize("body", [b"", b"force=1\n"], ids=["asked", "by force"])
def test_whoever_has_it_stopped_waits_for_the_answer(machine: Machine, hasty: Daemon, body: bytes) -> None:
    """Also by force: what is lost by it is what cannot be kept, and not what has not come yet."""
    with hasty.connect(hasty.control) as connection:
        connection.sendall(message("exit", body))
        connection.shutdown(socket.SHUT_WR)
        eventually(lambda: not os.path.exists(hasty.path) if body else bool(hasty.told_about("ping")))
        assert hasty.process.poll() is None
        machine.standin.release()
        assert read_all(connection) == b"ok=1\n"
    assert hasty.ended() == 0
    assert is_renewed(machine)
    assert living(machine)
