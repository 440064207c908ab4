"""How a daemon is started: it has nothing of git's, it knows what it needs, and nobody waits for it for ever."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from git_credential_bitbucket import processes
from git_credential_bitbucket.client import daemon_launcher, ipc
from git_credential_bitbucket.errors import DaemonUnavailable
from git_credential_bitbucket.helper import relay
from git_credential_bitbucket.vault import keyring_key
from tests.fake_bitbucket import tokens
from tests.helpers import request, socket_of
from tests.running import Runner


def daemon_pid(home: Path) -> int:
    """The process that listens."""
    _, reply = ipc.send_request(str(socket_of(home)), ipc.format_request("ping", b""))
    return int(dict(line.split("=", 1) for line in reply.decode().split("\n") if line)["pid"])


def test_git_does_not_wait_for_the_daemon(front: Runner, home: Path) -> None:
    """No descriptor of the starter's is held: git, and whoever reads from git, waits for their end."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        ["git", "credential", "approve"],
        env=front.env,
        cwd=home / "work",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[writing],
    ) as process:
        os.close(writing)
        text = request(username="alice", password=tokens.api_token()).encode()
        assert process.communicate(text, timeout=60) == (b"", b"")
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b""
    assert daemon_pid(home)


def test_daemon_is_in_no_session_of_gits(front: Runner, helper: Path, home: Path) -> None:
    """A session of its own, whose leader it is not: a hangup does not reach it, and it never gets a terminal."""
    front(helper, "get", stdin=request())
    pid = daemon_pid(home)
    assert os.getsid(pid) not in (os.getsid(0), pid)
    os.kill(pid, signal.SIGHUP)
    assert daemon_pid(home) == pid


def test_starter_whose_children_nobody_waits_for(front: Runner, helper: Path, home: Path) -> None:
    """Who ignores SIGCHLD hands that down: neither the start fails of it, nor does the daemon go on with it."""
    front("sh", "-c", f"trap '' CHLD; exec {helper} get", stdin=request())
    status = Path(f"/proc/{daemon_pid(home)}/status").read_text()
    ignored = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    assert not ignored & 1 << signal.SIGCHLD - 1


def test_starter_without_standard_descriptors(front: Runner, helper: Path, home: Path) -> None:
    """Where 0, 1 and 2 are closed, a pipe gets their numbers; the daemon is started all the same."""
    front("sh", "-c", f"exec {helper} store <&- >&- 2>&-", env=front.env)
    text = request(username="alice", password=tokens.api_token())
    (home / "request").write_text(text)
    front("sh", "-c", f"exec {helper} store <{home}/request >&- 2>&-", env=front.env)
    assert daemon_pid(home)


def test_daemon_blocks_no_signal_that_its_starter_blocked(front: Runner, helper: Path, home: Path) -> None:
    """A mask is inherited through everything; a daemon with SIGTERM blocked could only be killed."""
    code = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT});"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    front(sys.executable, "-c", code, helper, "get", stdin=request())
    status = Path(f"/proc/{daemon_pid(home)}/status").read_text()
    assert "SigBlk:\t0000000000000000\n" in status


def test_no_secret_in_arguments_or_environment(front: Runner, helper: Path, home: Path) -> None:
    """The key and all else comes by pipe: other processes may read the one, and of our user the other."""
    key = tokens.oauth_token(43).replace("-", "A").replace("_", "A")
    front.env["GIT_CREDENTIAL_BITBUCKET_KEY"] = key
    front(helper, "get", stdin=request())
    proc = Path(f"/proc/{daemon_pid(home)}")
    assert key.encode() not in (proc / "cmdline").read_bytes()
    try:
        environ = (proc / "environ").read_bytes()
    except PermissionError:  # nobody but root may even look
        return
    assert environ == b""


def test_daemon_learns_what_it_needs_and_nothing_else() -> None:
    """Places, git's configuration, the keyring's bus, proxies; no token and no work tree."""
    kept = {
        "HOME": "/home/alice",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "GIT_CREDENTIAL_BITBUCKET_KEY": "made up",
        "GIT_CONFIG_GLOBAL": "/home/alice/config",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
        "https_proxy": "http://proxy.example",
        "GIT_SSL_CAINFO": "/etc/ca.pem",
        "AWS_PROFILE": "ci",  # for a source: what its secret manager's program is configured by
    }
    dropped = {
        "BITBUCKET_TOKEN": "made up",
        "BITBUCKET_CLIENT_SECRET": "made up",
        "GIT_DIR": "/tree/.git",
        relay.RELAYED: ipc.ABSENT,
        daemon_launcher.SPAWNED: "1 2 3",
        "PYTHONPATH": "/work",
        "LD_PRELOAD": "/tree/lib.so",
        "HTTP_PROXY": "http://cgi.example",
        "NPM_TOKEN": "made up",
    }
    assert daemon_launcher.passed_environment({**kept, **dropped}) == kept


def test_environment_larger_than_a_pipe(bare_env: dict[str, str], home: Path) -> None:
    more = {f"GIT_CREDENTIAL_BITBUCKET_{i}": "x" * 1000 for i in range(200)}
    daemon_launcher.start({**bare_env, **more})
    assert daemon_pid(home)


def test_daemon_of_a_starter_that_went_away_exits(bare_env: dict[str, str]) -> None:
    """Spawned before it was known to be needed, it is told nothing then: the variables of its own are no user's."""
    command = [*daemon_launcher.command(), "--detached"]
    done = subprocess.run(command, env=bare_env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.stdout.startswith(b"error=the document on the daemon's standard input is invalid\n")


def test_only_the_process_that_a_daemon_was_spawned_for_talks_to_it(
    bare_env: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process's variable says are no pipes here, but any files."""
    with (home / "file").open("w+b") as file:
        monkeypatch.setenv(daemon_launcher.SPAWNED, f"{os.getppid()} {file.fileno()} {file.fileno()}")
        daemon_launcher.start(bare_env)
        assert daemon_pid(home)
        assert file.read() == b""
    assert daemon_launcher.SPAWNED not in os.environ


def test_second_start_finds_the_first(bare_env: dict[str, str], home: Path) -> None:
    daemon_launcher.start(bare_env)
    pid = daemon_pid(home)
    daemon_launcher.start(bare_env)
    assert daemon_pid(home) == pid


def test_daemon_leaves_with_the_pipe_it_was_given(bare_env: dict[str, str], home: Path) -> None:
    """A private daemon ends with its command, however that ends."""
    reading, writing = os.pipe()
    daemon_launcher.start(bare_env, memory=True, until_eof=reading)
    os.close(reading)
    handle = os.pidfd_open(daemon_pid(home))
    os.close(writing)
    try:
        assert select.select([handle], [], [], 20)[0]
    finally:
        os.close(handle)


def test_daemons_refusal_is_the_starters_error(bare_env: dict[str, str]) -> None:
    """What is wrong with a setting is said where the person is, with its cure."""
    with pytest.raises(DaemonUnavailable, match="GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT") as caught:
        daemon_launcher.start({**bare_env, "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "soon"})
    assert caught.value.hint


def test_git_is_answered_where_no_daemon_can_be_started(front: Runner, helper: Path, home: Path) -> None:
    """The reason is told, and the vault answers in this process."""
    secret = tokens.api_token()
    front.env["GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT"] = "soon"
    done = front("git", "credential", "approve", stdin=request(username="alice", password=secret))
    assert "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT" in done.stderr
    assert secret in front(helper, "get", stdin=request()).stdout
    assert not socket_of(home).exists()


def test_a_daemon_has_the_time_that_a_keyrings_child_may_take() -> None:
    """It is started before the daemon is ready."""
    assert daemon_launcher.START_TIMEOUT_S > processes.START_LIMIT_S + keyring_key.PROBE_TIMEOUT_S


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/bin/sh", "-c", "while [ -d {home} ]; do sleep 0.1; done"], "was not ready within"),
        (["/bin/false"], "stopped before it was ready"),
        (["/nowhere/python"], "stopped before it was ready"),
        (["/bin/echo", "hello"], "stopped before it was ready: hello"),
        ([sys.executable, "-I", "-c", "import nothing_of_that_name"], "No module named 'nothing_of_that_name'"),
    ],
)
def test_daemon_that_does_not_come_up_is_not_waited_for(
    bare_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: list[str], says: str
) -> None:
    """Hung, failed at once, gone from the disk, or something else altogether: one error, within the time."""
    words = [word.replace("{home}", bare_env["HOME"]) for word in command]  # what hangs ends with the test
    monkeypatch.setattr(daemon_launcher, "command", lambda: words)
    monkeypatch.setattr(daemon_launcher, "START_TIMEOUT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(DaemonUnavailable, match=says):
        daemon_launcher.start(bare_env)
    assert time.monotonic() - began < 60
