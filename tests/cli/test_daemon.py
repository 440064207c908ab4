"""`daemon start|stop|status` with real daemons, and with what else may listen at the socket."""

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket import __version__
from tests.running import Runner
from tests.sockets import listener_at

NAME = "git-credential-bitbucket"


@pytest.fixture
def path(home: Path) -> Path:
    """Where the daemon's socket is; its directory is there."""
    path = home / "run" / NAME / "socket"
    path.parent.mkdir(mode=0o700)
    return path


@pytest.fixture
def silent(path: Path) -> Iterator[socket.socket]:
    """Somebody who takes connections and never says anything."""
    with listener_at(path, 64) as listener:
        yield listener


def pid_of(run: Runner) -> int:
    """The running daemon's."""
    return int(json.loads(run(NAME, "daemon", "status", "--json").stdout)["pid"])


def test_start_is_done_when_it_listens_and_changes_nothing_twice(bare_run: Runner, path: Path) -> None:
    """The second start finds the first one's daemon."""
    first = bare_run(NAME, "daemon", "start").stdout
    assert path.is_socket()
    second = bare_run(NAME, "daemon", "start").stdout
    assert first == f"daemon started (pid {pid_of(bare_run)})\n"
    assert second == f"daemon already running (pid {pid_of(bare_run)})\n"


def test_stop_is_done_when_it_has_left(bare_run: Runner, path: Path) -> None:
    """Its socket is gone and so is its process; a second stop has nothing to do."""
    bare_run(NAME, "daemon", "start")
    pid = pid_of(bare_run)
    handle = os.pidfd_open(pid)
    try:
        assert bare_run(NAME, "daemon", "stop").stdout == f"daemon stopped (pid {pid})\n"
        assert not path.exists()
        assert select.select([handle], [], [], 10)[0]
    finally:
        os.close(handle)
    assert bare_run(NAME, "daemon", "stop").stdout == "no daemon is running\n"


def test_its_verbs_have_whole_lines_in_a_narrow_terminal(bare_run: Runner) -> None:
    """Click cuts a line that is too long off."""
    said = bare_run(NAME, "daemon", "--help", env={**bare_run.env, "COLUMNS": "80"}).stdout
    assert "in the foreground." in said
    assert "..." not in said.partition("Commands:")[2]


def test_status_tells_how_it_is_and_does_not_start_it(bare_run: Runner, path: Path) -> None:
    """For people and as JSON; 3 where none runs, as systemctl says it."""
    none = bare_run(NAME, "daemon", "status", check=False)
    assert (none.returncode, none.stdout) == (3, f"no daemon is running at {path}\n")
    none = bare_run(NAME, "daemon", "status", "--json", check=False)
    assert (none.returncode, json.loads(none.stdout)) == (3, {"running": False, "socket": str(path)})
    bare_run(NAME, "daemon", "start")
    told = json.loads(bare_run(NAME, "daemon", "status", "--json").stdout)
    assert told["running"] is True
    assert told["version"] == __version__
    assert told["uptime"] >= 0
    shown = bare_run(NAME, "daemon", "status").stdout
    assert str(told["pid"]) in shown
    assert str(path) in shown


@pytest.mark.parametrize("verb", ["start", "stop", "status"])
def test_where_no_daemon_may_run_it_says_so(bare_run: Runner, verb: str) -> None:
    env = {**bare_run.env, "GIT_CREDENTIAL_BITBUCKET_DAEMON": "off"}
    done = bare_run(NAME, "daemon", verb, env=env, check=False)
    assert done.returncode == 1
    assert "the daemon is switched off" in done.stderr


@pytest.mark.usefixtures("silent")
def test_one_that_does_not_answer_is_named(bare_run: Runner) -> None:
    """With the command that ends it, and in seconds rather than never."""
    with ThreadPoolExecutor() as pool:  # each waits for seconds
        for done in pool.map(lambda verb: bare_run(NAME, "daemon", verb, check=False), ("stop", "status")):
            assert done.returncode == 1
            assert f"process {os.getpid()} listens at the daemon's socket and does not answer" in done.stderr
            assert f"kill {os.getpid()}" in done.stderr


def test_git_s_own_cache_daemon_gives_way(bare_run: Runner, path: Path) -> None:
    """`git credential-cache store` starts one where it finds none; `start` takes its place."""
    storing = "protocol=https\nhost=example.com\nusername=a\npassword=b\n\n"
    with subprocess.Popen(
        ["git", "credential-cache", "--socket", str(path), "store"], env=bare_run.env, stdin=subprocess.PIPE
    ) as storer:
        storer.communicate(storing.encode(), timeout=60)
    assert path.is_socket()
    assert bare_run(NAME, "daemon", "status", check=False).returncode == 3
    assert "daemon started" in bare_run(NAME, "daemon", "start").stdout
    assert pid_of(bare_run) > 0


def test_a_directory_open_to_others_is_refused(bare_run: Runner, path: Path) -> None:
    """Somebody else could have put the socket there."""
    path.parent.chmod(0o755)
    done = bare_run(NAME, "daemon", "start", check=False)
    assert done.returncode == 1
    assert "chmod 0700" in done.stderr
