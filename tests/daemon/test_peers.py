"""Who may ask: tried with a second real user, on a path that was opened to him on purpose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket.daemon import peers
from git_credential_bitbucket.errors import SettingsError
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cloud, message
from tests.standin import tokens

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be a second user")

ASK = (
    "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); answer = b''\n"
    "try:\n"
    "    s.sendall(sys.stdin.buffer.read()); s.shutdown(1)\n"
    "    while chunk := s.recv(4096): answer += chunk\n"
    "except (BrokenPipeError, ConnectionResetError): pass\n"
    "sys.stdout.buffer.write(answer)"
)


def ask_as_nobody(daemon: Daemon, action: str, body: bytes = b"") -> bytes:
    """What the daemon answers to another user's process, which gave up root itself: only root may read our Python."""
    return subprocess.run(
        [sys.executable, "-I", "-c", ASK, daemon.path],
        input=message(action, body),
        cwd="/",
        capture_output=True,
        timeout=20,
        check=True,
    ).stdout


def open_to_all(daemon: Daemon, home: Path) -> None:
    """As a careless chmod, or a container's bind mount, would."""
    for path in (home, home / "run", Path(daemon.path).parent, Path(daemon.path)):
        path.chmod(0o777)


def test_another_user_gets_nothing_even_where_the_path_is_open(daemon: Daemon, home: Path) -> None:
    """The kernel says who is there, whatever the directory's mode lets through."""
    daemon.store("", tokens.api_token())
    open_to_all(daemon, home)
    for action in ("get", "status", "ping", "exit"):
        assert ask_as_nobody(daemon, action, cloud()) == b""
    assert daemon.secret("") is not None


def test_a_user_who_is_admitted_may_do_what_git_does_and_no_more(
    start: Start, keyed_env: dict[str, str], home: Path
) -> None:
    """A container's user by setting: get, store, erase and why; no status, no token, no lock, no exit."""
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_PEERS": str(NOBODY)})
    token = tokens.api_token()
    daemon.store("", token)
    assert os.stat(daemon.path).st_mode & 0o777 == 0o666
    for path in (home, home / "run", Path(daemon.path).parent):
        path.chmod(0o755)
    assert token.encode() in ask_as_nobody(daemon, "get", cloud())
    assert b"state=" in ask_as_nobody(daemon, "why", cloud())
    for action in ("status", "token", "lock", "unlock", "mint", "add", "exit"):
        assert ask_as_nobody(daemon, action, cloud()) == b""
    assert daemon.secret("") == token


def test_the_setting_takes_numbers_only() -> None:
    """A name could mean another user elsewhere."""
    assert peers.admitted_uids({}) == frozenset()
    assert peers.admitted_uids({peers.PEERS: "1000, 1001"}) == {1000, 1001}
    for wrong in ("alice", "-1", "1000;1001", "\u0661"):
        with pytest.raises(SettingsError):
            peers.admitted_uids({peers.PEERS: wrong})
