"""Another user's process at the daemon's socket: told nothing, believed nothing, by either executable.

Its directory is looked at before, and may be exchanged after that where the one above it is open to others.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_bitbucket import tokens
from tests.helpers import request, socket_of
from tests.running import Runner

LISTENING = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
listener.listen(8)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    heard = b""
    try:
        while chunk := connection.recv(65536):
            heard += chunk
        connection.sendall(b"username=theirs\\npassword=theirs\\n" if heard.startswith(b"action=get") else b"ok=1\\n")
    except OSError:
        pass
    connection.close()
    print(len(heard), flush=True)
"""


@pytest.fixture
def stranger(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process of another user that listens at the daemon's socket, and tells how much it is told."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    socket_of(home).parent.mkdir(mode=0o700)
    command = [sys.executable, "-I", "-c", LISTENING, str(socket_of(home))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("operation", ["get", "store", "erase", "status"])
def test_a_stranger_is_told_nothing(
    executable: Path, bare_env: dict[str, str], home: Path, stranger: "subprocess.Popen[str]", operation: str
) -> None:
    """One error with the cure; nothing for git, and nothing of the request has left."""
    run = Runner(bare_env, home / "work")
    text = request() if operation == "get" else request(username="alice", password=tokens.api_token())
    done = run(executable, operation, stdin=text, check=False)
    assert "password=" not in done.stdout
    assert "another user's process (user id 65534) listens at the daemon's socket" in done.stderr
    assert "hint: " in done.stderr
    stranger.kill()
    assert stranger.stdout is not None
    assert set(stranger.stdout.read().split()) <= {"0"}
