"""A failing machine around the whole program: signals, limits, disks, odd homes, hostile work trees."""

import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.daemon.daemons import Daemon, eventually, message, read_all
from tests.fake_bitbucket import tokens
from tests.fault_injection import outages
from tests.fault_injection.sandbox import Machine
from tests.running import Runner, end_processes_of
from tests.sandbox import write_git_config
from tests.vault import peers


@pytest.fixture
def helper(executables: dict[str, Path]) -> Path:
    """What git executes."""
    return executables.get("native", executables["portable"])


def fill(machine: Machine, helper: Path, env: Mapping[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """What `git credential fill` says of the machine's repository, with that helper."""
    machine.env.update({"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true"})
    command = [shutil.which("git") or "git", "-c", f"credential.helper={helper}", "credential", "fill"]
    return Runner({**machine.env, **env}, cwd)(*command, stdin=machine.request("acme/app.git"), check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_renewal_loses_nothing(machine: Machine, number: signal.Signals) -> None:
    """Who waits is answered with the new token, its refresh token is on disk, and then the daemon leaves."""
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    machine.standin.script_fault("token", "hold")
    with daemon.connect() as connection:
        connection.sendall(message("get", machine.request("acme/app.git")))
        connection.shutdown(socket.SHUT_WR)
        machine.standin.wait_for("token")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.send_signal(number)
        machine.standin.release()
        answer = read_all(connection)
    assert daemon.ended() == 0
    (kept,) = machine.records()
    assert f"password={kept['secret']}\n".encode() in answer
    assert not machine.standin.is_spent(kept["refresh_token"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_in_the_middle_of_a_renewal_without_a_daemon_loses_nothing(
    machine: Machine, helper: Path, home: Path, number: signal.Signals
) -> None:
    """Ctrl-C in `git fetch` reaches the helper, too: it ends by it, once the new refresh token is on disk."""
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    daemon.end()
    (before,) = machine.records()
    machine.standin.script_fault("token", "hold")
    env = {**machine.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}
    with subprocess.Popen([helper, "get"], env=env, cwd=home, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        assert asking.stdin is not None
        asking.stdin.write(machine.request("acme/app.git"))
        asking.stdin.close()
        machine.standin.wait_for("token")
        asking.send_signal(number)
        assert asking.stderr is not None
        said = b""
        while b"hint: press Ctrl-C to exit at once" not in said:
            said += asking.stderr.readline() or pytest.fail(repr(said))
        assert b"Bitbucket has not answered yet" in said
        assert asking.poll() is None
        machine.standin.release()
        assert asking.wait(60) == (130 if number == signal.SIGINT else -number)
    (kept,) = machine.records()
    assert kept["generation"] == before["generation"] + 1
    assert not machine.standin.is_spent(kept["refresh_token"])


def test_a_read_only_disk_serves_what_there_is_and_spends_nothing(machine: Machine) -> None:
    """A read-only mount stops root, too: the living token is served, nothing is spent that could not be replaced."""
    with peers.mounted(machine.path.parent, "size=1m") as disk:
        daemon = machine.daemon()
        login = outages.due_log_in(machine, daemon)
        with peers.read_only(disk):
            assert daemon.told_about("get", machine.request())["password"] == login["secret"]
            told = daemon.told_about(
                "store", machine.request("acme/new.git", username="x", password=tokens.access_token())
            )
            assert "read-only" in told["error"]
            assert "set GIT_CREDENTIAL_BITBUCKET_VAULT to a file" in told["hint"]
            assert machine.standin.token_requests() == []
        assert daemon.told_about("get", machine.request())["password"] != login["secret"]
        daemon.end()


@pytest.mark.parametrize("place", ["run", "whole"])
def test_a_read_only_home_answers_from_cold(machine: Machine, helper: Path, home: Path, place: str) -> None:
    """Vault, configuration and log on a read-only mount; where the socket is there as well, no daemon is needed."""
    whole = home / "whole"
    secret = machine.standin.issue_access_token("acme/app")
    del machine.env["GIT_CREDENTIAL_BITBUCKET_VAULT"]
    env = {"HOME": str(whole), "GIT_CREDENTIAL_BITBUCKET_LOG": "on"}
    with peers.mounted(whole, "size=1m") as disk:
        write_git_config(disk / ".gitconfig", machine.standin.git_config())
        run = Runner({**machine.env, **env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}, home)
        body = machine.request("acme/app.git", username="x-token-auth", password=secret)
        run("git", "-c", f"credential.helper={helper}", "credential", "approve", stdin=body)
        with peers.read_only(disk):
            env["GIT_CREDENTIAL_BITBUCKET_SOCKET"] = str(home / place / "git-credential-bitbucket" / "socket")
            found = fill(machine, helper, env, home)
            assert f"password={secret}\n" in found.stdout
            assert ("read-only" in found.stderr) == (place == "whole")
            end_processes_of(whole)


def test_few_descriptors_are_enough(machine: Machine) -> None:
    """With 100 open files allowed, and 200 connections that stall, a renewal still works."""
    daemon = machine.daemon(launcher=("prlimit", "--nofile=100:100"))
    machine.log_in(daemon, expires_in=0)
    idle = []
    try:
        for _ in range(200):
            idle.append(daemon.connect())
            idle[-1].send(b"action=")
        assert daemon.told_about("get", machine.request())["password"]
    finally:
        for connection in idle:
            connection.close()
    (kept,) = machine.records()
    assert not machine.standin.is_spent(kept["refresh_token"])
    daemon.end()


def test_no_memory_left_is_a_silent_answer_and_not_a_loss(machine: Machine, daemon: Daemon) -> None:
    """Where a renewal finds no memory there is no answer, and what is at hand is served; later all is well.

    An import that failed halfway cannot be mended in the process: the daemon restarts.
    """
    machine.log_in(daemon, expires_in=0, place="/acme")
    static = machine.standin.issue_access_token("other")
    machine.add(daemon, kind="access-token", secret=static, place=f"{machine.standin.url}/other")
    assert daemon.told_about("get", machine.request("other/app.git"))["password"] == static
    before = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
    with open(f"/proc/{daemon.pid}/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (now + (1 << 20), before[1]))
    daemon.told_about("get", machine.request("acme/app.git"))
    for _ in range(20):
        assert daemon.told_about("get", machine.request("other/app.git"))["password"] == static
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, before)
    eventually(lambda: bool(daemon.told_about("get", machine.request("acme/app.git")).get("password")))
    login = next(record for record in machine.records() if record["kind"] == "oauth")
    assert not machine.standin.is_spent(login["refresh_token"])


LONG = "/".join(["x" * 49] * 4)
HOMES = {"spaces": "a home  of one's own", "unicode": "hême-家-\u202e", "200 characters": LONG, "quotes": "a\"b'c$(id)"}


@pytest.mark.parametrize("name", HOMES.values(), ids=HOMES)
def test_odd_homes(home: Path, machine: Machine, helper: Path, name: str) -> None:
    """Vault, socket and log lie in it whatever it is called; where the socket's path is too long, that is said."""
    odd = home / "homes" / name
    odd.mkdir(parents=True, mode=0o700)
    write_git_config(odd / ".gitconfig", machine.standin.git_config())
    del machine.env["GIT_CREDENTIAL_BITBUCKET_VAULT"]
    del machine.env["XDG_RUNTIME_DIR"]
    env = {"HOME": str(odd), "GIT_CREDENTIAL_BITBUCKET_LOG": "on"}
    secret = machine.standin.issue_access_token("acme/app")
    command = ["git", "-c", f"credential.helper={helper}", "credential", "approve"]
    run = Runner({**machine.env, **env}, odd)
    stored = run(*command, stdin=machine.request("acme/app.git", username="x-token-auth", password=secret))
    found = fill(machine, helper, env, odd)
    assert f"password={secret}\n" in found.stdout
    too_long = len(os.fsencode(odd)) > 60
    for told in (stored, found):
        assert told.stderr.count("\n") == (2 if too_long else 0), told.stderr
        assert ("the socket's path is longer" in told.stderr) == too_long
    eventually(lambda: {path.name for path in odd.rglob("*")} >= {"vault", "vault.lock", "log.jsonl"})
    end_processes_of(odd)


def trap(folder: Path, mark: Path) -> None:
    """Fill a work tree with whatever a careless helper might import or run; each of it would leave `mark`."""
    python = f"open({str(mark)!r}, 'a').write(__file__)\n"
    modules = ["json", "socket", "os", "sitecustomize", "usercustomize", "requests", "keyring", "cryptography", "ssl"]
    for name in (*modules, "git_credential_bitbucket", "platformdirs", "selectors"):
        (folder / f"{name}.py").write_text(python)
    for name in (
        "git",
        "sh",
        "python3",
        "git-credential-bitbucket",
        "dbus-launch",
        "xdg-open",
        "readlink",
        "dirname",
        "uname",
        "id",
    ):
        (folder / name).write_text(f"#!/bin/sh\necho $0 >> {mark}\nexit 1\n")
        (folder / name).chmod(0o755)
    (folder / ".env").write_text("BITBUCKET_API_TOKEN=stolen\nGIT_CREDENTIAL_BITBUCKET_KEY=stolen\n")
    (folder / "ca.pem").write_text("no certificate\n")
    (folder / "pyvenv.cfg").write_text(f"home = {folder}\n")


def test_a_hostile_work_tree_and_environment_change_nothing(machine: Machine, helper: Path, home: Path) -> None:
    """A cold start and a renewal in it: nothing of it is imported or run, and TLS trusts whom it did before."""
    tree, mark = home / "work", home / "mark"
    trap(tree, mark)
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    daemon.end()
    hostile = {
        "PYTHONPATH": str(tree),
        "PYTHONSTARTUP": str(tree / "json.py"),
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(tree),
        "PYTHONPLATLIBDIR": str(tree),
        "PYTHONWARNINGS": "error",
        "OAUTHLIB_INSECURE_TRANSPORT": "1",
        "OAUTHLIB_RELAX_TOKEN_SCOPE": "1",
        "REQUESTS_CA_BUNDLE": str(tree / "ca.pem"),
        "CURL_CA_BUNDLE": str(tree / "ca.pem"),
        "SSLKEYLOGFILE": str(home / "keylog"),
        "GIT_DIR": str(tree),
        "GIT_EXEC_PATH": subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout[:-1],
        "PATH": f".:{tree}:{machine.env['PATH']}",
    }
    for off in ("", "off"):
        found = fill(machine, helper, {**hostile, "GIT_CREDENTIAL_BITBUCKET_DAEMON": off}, tree)
        assert "password=" in found.stdout
        assert found.stderr == ""
    assert not mark.exists(), mark.read_text()
    assert not (home / "keylog").exists()
    assert len(machine.standin.token_requests()) == 1


def test_a_repository_cannot_opt_a_host_in(machine: Machine, helper: Path, home: Path) -> None:
    """Its own configuration names the host, and another token endpoint: silence, and nobody is asked."""
    (machine.home / ".gitconfig").write_text("")
    daemon = machine.daemon()
    tree = home / "work"
    Runner(machine.env, tree)("git", "init", "--quiet")
    write_git_config(tree / ".git" / "config", machine.standin.git_config())
    body = machine.request("acme/app.git", username="x", password=tokens.access_token())
    assert daemon.ask("store", body) == b""
    Runner(machine.env, tree)("git", "-c", f"credential.helper={helper}", "credential", "approve", stdin=body)
    assert not machine.path.exists()
    assert "\npassword=\n" in fill(machine, helper, {}, tree).stdout, "askpass said nothing, and nobody else did"


@pytest.mark.parametrize("where", ["socket's directory", "vault's directory", "vault", "lock"])
def test_what_another_could_have_put_there_is_refused_with_the_cure(
    machine: Machine, helper: Path, home: Path, where: str
) -> None:
    """A loose mode, and a link that leads elsewhere: one error, one hint, and the other place untouched."""
    daemon = machine.daemon()
    daemon.ask("store", machine.request("acme/app.git", username="x", password=tokens.access_token()))
    daemon.end()
    elsewhere = home / "elsewhere"
    elsewhere.write_bytes(b"untouched")
    spot = {
        "socket's directory": home / "run" / "git-credential-bitbucket",
        "vault's directory": machine.path.parent,
        "vault": machine.path,
        "lock": Path(f"{machine.path}.lock"),
    }[where]
    if spot.is_dir():
        spot.chmod(0o777)
    else:
        spot.unlink()
        spot.symlink_to(elsewhere)
    run = Runner(machine.env, home / "work")
    told = run(
        *("git", "-c", f"credential.helper={helper}", "credential", "approve"),
        stdin=machine.request("acme/new.git", username="x", password=tokens.access_token()),
    )
    assert "git-credential-bitbucket: error: " in told.stderr
    assert "git-credential-bitbucket: hint: " in told.stderr
    assert elsewhere.read_bytes() == b"untouched"
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    shutil.rmtree(home / "run" / "git-credential-bitbucket", ignore_errors=True)
