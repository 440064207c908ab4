"""Who may ask: tried with a second real user, on a path that was opened to him on purpose."""

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from git_credential_bitbucket.agent.dispatch import ACTIONS
from git_credential_bitbucket.daemon import peers
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_protocol import GIT_ACTIONS, emit
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cache_client, cloud, message
from tests.fake_bitbucket import tokens

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be a second user")

ASK = (
    "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    "s = socket.socket(socket.AF_UNIX); answer = b''\n"
    "try:\n"
    "    s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); s.shutdown(1)\n"
    "    while chunk := s.recv(4096): answer += chunk\n"
    "except (BrokenPipeError, ConnectionResetError, PermissionError): pass\n"
    "sys.stdout.buffer.write(answer)"
)


def ask_as_nobody(path: str, action: str, body: bytes = b"") -> bytes:
    """What is answered at a socket to another user's process, which gave up root itself: only root may read our Python.

    Empty where it may not even connect.
    """
    return subprocess.run(
        [sys.executable, "-I", "-c", ASK, path],
        input=message(action, body),
        cwd="/",
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout


AS_NOBODY = "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"
CHANGES = sorted(set(ACTIONS) - {"get", "why", "ping"})


def open_to_all(*places: str | Path) -> None:
    """As a careless chmod, or a container's bind mount, would."""
    for place in places:
        Path(place).chmod(0o777)


@pytest.mark.parametrize("peers", ["", str(NOBODY)])
def test_another_user_gets_nothing_even_where_the_path_is_open(
    start: Start, keyed_env: dict[str, str], home: Path, peers: str
) -> None:
    """The kernel says who is there, whatever the modes let through; who is admitted, only at the guests' socket."""
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_PEERS": peers})
    daemon.store("", tokens.api_token())
    for path in (daemon.path, daemon.control):
        open_to_all(home, home / "run", Path(path).parent, path)
        for action in ("get", "status", "ping", "exit"):
            assert ask_as_nobody(path, action, cloud()) == b""
    assert daemon.secret("") is not None


def test_a_user_who_is_admitted_may_get_and_no_more(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """A container's user by setting, with the modes that the daemon gives: get, why and ping; nothing that changes."""
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_PEERS": str(NOBODY)})
    token = tokens.api_token()
    daemon.store("", token)
    directory = Path(daemon.guests).parent
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (directory, daemon.guests)] == [0o711, 0o666]
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (daemon.path, daemon.control)] == [0o600, 0o600]
    for above in (home, home / "run"):
        above.chmod(0o711)  # a mount into a container leads past these
    assert token.encode() in ask_as_nobody(daemon.guests, "get", cloud())
    assert b"state=" in ask_as_nobody(daemon.guests, "why", cloud())
    assert b"pid=" in ask_as_nobody(daemon.guests, "ping")
    given = cloud() + f"username=x-bitbucket-api-token-auth\npassword={token}\n".encode()
    for action in CHANGES:
        assert ask_as_nobody(daemon.guests, action, given) == b""
        assert ask_as_nobody(daemon.path, action, given) == b""
    assert daemon.secret("") == token


def test_who_is_not_admitted_gets_nothing_from_the_guests_socket(
    start: Start, keyed_env: dict[str, str], home: Path
) -> None:
    """Its modes let everybody in; the kernel's word decides."""
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_PEERS": str(NOBODY - 1)})
    daemon.store("", tokens.api_token())
    for above in (home, home / "run"):
        above.chmod(0o711)
    assert ask_as_nobody(daemon.guests, "get", cloud()) == b""
    assert b"password=" in daemon.ask("get", cloud(), daemon.guests)


def test_there_is_no_guests_socket_where_nobody_is_admitted(daemon: Daemon) -> None:
    assert not Path(daemon.guests).parent.exists()


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - GIT_ACTIONS))
def test_gits_socket_obeys_no_control_verb(daemon: Daemon, action: str) -> None:
    """It is the one that is forwarded: whoever is at the other end has the same uid here, and gets git's answers."""
    token = tokens.api_token()
    daemon.store("", token)
    before = daemon.told_about("status")["credential[]"]
    own = {"key": base64.b64encode(bytes(32)).decode(), "source": "file", "person": "1", "force": "1", "part": "x"}
    fields = emit([*own.items(), ("id", json.loads(before)["id"]), ("batch", "x"), ("ends_at", "9")])
    assert daemon.ask(action, fields, daemon.path) == b""
    after = json.loads(daemon.told_about("status")["credential[]"])
    assert {**after, "last_used_at": None} == {**json.loads(before), "last_used_at": None}
    assert daemon.told_about("status")["vault"] == "open"
    assert daemon.secret("") == token


def test_gits_own_client_does_not_end_the_daemon(daemon: Daemon) -> None:
    """`git credential-cache exit` at the far end of a forwarded socket: no error there, and nothing here."""
    assert cache_client(daemon.env, daemon.path, "exit") == b""
    assert daemon.told_about("ping")["pid"] == str(daemon.pid)


def test_git_in_a_container_of_another_user_is_served(start: Start, keyed_env: dict[str, str], home: Path) -> None:
    """The guide's mount: another uid's git with git's own client, at a socket that its user may enter."""
    daemon = start(env={**keyed_env, "GIT_CREDENTIAL_BITBUCKET_PEERS": str(NOBODY)})
    token = daemon.store("acme/app")
    for above in (home, home / "run"):
        above.chmod(0o711)
    client = f"git credential-cache --socket {daemon.guests}"
    helper = f"!f() {{ case $1 in get|erase) exec {client} $1;; esac; }}; f"  # as the guide has it
    git = [
        shutil.which("git", path=keyed_env["PATH"]) or "",
        "-c",
        f"credential.helper={helper}",
        "-c",
        "credential.useHttpPath=true",
        "credential",
    ]
    given = cloud("acme/app") + f"username=x-token-auth\npassword={token}\n".encode()
    answers = [
        subprocess.run(
            [sys.executable, "-I", "-c", AS_NOBODY, *git, operation],
            input=text,
            env={**keyed_env, "HOME": "/", "XDG_CONFIG_HOME": "/"},
            cwd="/",
            capture_output=True,
            timeout=60,
            check=False,
        )
        for operation, text in (("fill", cloud("acme/app")), ("reject", given), ("fill", cloud("acme/app")))
    ]
    assert [answer.stderr for answer in answers] == [b""] * 3
    for answer in (answers[0], answers[2]):  # a guest's erase does not count
        assert f"password={token}\n".encode() in answer.stdout


def test_the_setting_takes_numbers_only() -> None:
    """A name could mean another user elsewhere."""
    assert peers.admitted_uids({}) == frozenset()
    assert peers.admitted_uids({peers.PEERS: "1000, 1001"}) == {1000, 1001}
    for wrong in ("alice", "-1", "1000;1001", "\u0661", "9" * 5000):
        with pytest.raises(SettingsError):
            peers.admitted_uids({peers.PEERS: wrong})
