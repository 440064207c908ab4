"""What the fixtures promise: programs end, daemons too, and secrets are not shown."""

import os
import select
import sys
from pathlib import Path

import pytest

from tests.fake_bitbucket import tokens
from tests.running import Runner, end_processes_of

# Leaves its parent's session, as a daemon does, and says its process id.
DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
os.close(1); os.close(2)
time.sleep(600)
"""

# The same, with its environment overwritten: found by the socket that it listens on.
LISTENER = """
import os, socket, sys, time
if os.fork():
    os._exit(0)
os.setsid()
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(os.getpid(), flush=True)
os.close(1); os.close(2)
time.sleep(600)
"""


@pytest.fixture
def runner(bare_env: dict[str, str], home: Path) -> Runner:
    """A runner without a stand-in."""
    return Runner(bare_env, home / "work")


def gone(pid: int) -> bool:
    """Whether that process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 0)[0])
    finally:
        os.close(handle)


def test_a_daemon_ends_with_the_home_it_was_started_with(runner: Runner, home: Path) -> None:
    """Found by HOME in its environment."""
    pid = int(runner(sys.executable, "-c", DAEMON).stdout)
    assert not gone(pid)
    end_processes_of(home)
    assert gone(pid)


def test_a_daemon_is_found_by_its_socket_as_well(runner: Runner, home: Path) -> None:
    """A hardened daemon's environment cannot be read."""
    pid = int(runner(sys.executable, "-c", LISTENER, home / "run" / "s", env={"PATH": "/usr/bin"}).stdout)
    end_processes_of(home)
    assert gone(pid)


def test_a_program_that_does_not_end_is_killed(runner: Runner) -> None:
    with pytest.raises(AssertionError, match="no end within 1 s"):
        runner("sh", "-c", "sleep 600 & sleep 600", timeout=1)


def test_a_failures_text_holds_no_token(runner: Runner) -> None:
    for token in (tokens.api_token(), tokens.app_password(), tokens.oauth_token()):
        with pytest.raises(AssertionError) as failure:
            runner("sh", "-c", 'echo "$1"; exit 1', "sh", token)
        assert token[:-8] not in str(failure.value)
        assert "exit 1" in str(failure.value)
