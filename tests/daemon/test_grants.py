"""Limited sockets of a running daemon: who reaches them, what comes out, how many times, how long, and what is left."""

import json
import os
import random
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.dispatch import ACTIONS
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon, cloud, eventually, read_all
from tests.daemon.test_peers import NOBODY, ask_as_nobody
from tests.daemon.test_upgrade import copy, hasten, install, version
from tests.fake_bitbucket import tokens

__all__ = ["copy"]
CLIENTS = 50
as_second_user = pytest.mark.skipif(os.getuid() != 0, reason="only root can be a second user")


def grant(daemon: Daemon, path: str = "acme/app", **fields: object) -> tuple[str, str]:
    """A new grant's socket and id."""
    more = "".join(f"{name}={value}\n" for name, value in {"expires": 600, **fields}.items())
    told = daemon.told_about("grant", cloud(path) + more.encode())
    assert told.get("ok") == "1", told
    return told["socket"], told["grant"]


def grants(daemon: Daemon) -> list[dict[str, Any]]:
    """The open grants."""
    answer = git_protocol.parse_pairs(daemon.ask("grant-list"))
    return [json.loads(value) for key, value in answer if key == "grant[]"]


def state(daemon: Daemon) -> list[dict[str, Any]]:
    """The credentials, without what a use changes."""
    answer = git_protocol.parse_pairs(daemon.ask("status"))
    return [{**json.loads(value), "last_used_at": None} for key, value in answer if key == "credential[]"]


def git(socket: str, operation: str, text: bytes, env: dict[str, str]) -> bytes:
    """What git's own client prints."""
    done = subprocess.run(
        ["git", "credential-cache", "--socket", socket, operation],
        input=text,
        env=env,
        cwd="/",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout


def test_gits_own_client_gets_the_scope_and_nothing_else(daemon: Daemon) -> None:
    """Born 0600 in its own 0700 directory; removed when it is revoked. `store`, `erase` and `exit` change nothing."""
    token, other = tokens.access_token(), tokens.access_token()
    daemon.store("acme/app", token)
    daemon.store("acme/lib", other)
    socket, name = grant(daemon)
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (socket, Path(socket).parent)] == [0o600, 0o700]
    assert os.listdir(Path(socket).parent) == ["socket"]
    before = state(daemon)
    assert f"password={token}".encode() in git(socket, "get", cloud("acme/app.git"), daemon.env)
    assert git(socket, "get", cloud("acme/lib"), daemon.env) == git(socket, "get", cloud(), daemon.env) == b""
    for operation, secret in (("store", tokens.access_token()), ("erase", other), ("exit", "")):
        given = cloud("acme/app") + f"username=x-token-auth\npassword={secret}\n".encode()
        assert git(socket, operation, given, daemon.env) == b""
    assert state(daemon) == before
    assert [(one["id"], one["used"], one["ignored"]) for one in grants(daemon)] == [(name, 1, 5)]
    assert daemon.ask("grant-revoke", f"grant={name}\n".encode()) == b"ok=1\n"
    assert not Path(socket).parent.exists()
    assert grants(daemon) == []


def test_what_is_rejected_there_is_told_to_the_owner(daemon: Daemon) -> None:
    """By `erase` with the secret that it was given; the credential stays ready."""
    token = tokens.access_token()
    daemon.store("acme/app", token)
    socket, name = grant(daemon)
    git(socket, "get", cloud("acme/app"), daemon.env)
    git(socket, "erase", cloud("acme/app") + f"username=x-token-auth\npassword={token}\n".encode(), daemon.env)
    [one] = state(daemon)
    assert (one["state"], name in one["why"]) == ("ready", True)


def test_as_many_uses_as_were_granted_whoever_asks_at_once(daemon: Daemon) -> None:
    """Fifty clients at a time, who ask for other things in between."""
    daemon.store("acme/app", tokens.access_token())
    socket, _ = grant(daemon, uses=20)

    def ask(number: int) -> bool:
        try:
            return b"password=" in daemon.ask("get", cloud("acme/lib" if number % 3 == 0 else "acme/app"), socket)
        except OSError:  # it is spent, and gone
            return False

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(ask, range(3 * CLIENTS))) == 20
    eventually(lambda: not Path(socket).parent.exists())


def test_it_gives_until_it_expires_and_not_after(daemon: Daemon) -> None:
    """Fifty clients over its end: what was answered before was given, and what was asked for afterwards was not."""
    daemon.store("acme/app", tokens.access_token())
    socket, _ = grant(daemon, expires=1)
    [one] = grants(daemon)

    def ask_until_its_end(_: int) -> list[tuple[float, bool, float]]:
        asked: list[tuple[float, bool, float]] = []
        while not asked or asked[-1][0] <= one["expires_at"]:
            began = time.time()
            try:
                given = b"password=" in daemon.ask("get", cloud("acme/app"), socket)
            except OSError:
                given = False
            asked.append((began, given, time.time()))
        return asked

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [each for client in pool.map(ask_until_its_end, range(CLIENTS)) for each in client]
    assert all(given for _, given, ended in asked if ended < one["expires_at"])
    assert not any(given for began, given, _ in asked if began > one["expires_at"])
    assert sum(given for _, given, _ in asked) >= CLIENTS
    eventually(lambda: not Path(socket).parent.exists())


def test_a_thousand_hostile_requests_change_nothing(daemon: Daemon) -> None:
    """Every verb, with the fields of its own that do most; pieces of requests, noise, and connections that just end."""
    token, other = tokens.access_token(), tokens.access_token()
    daemon.store("acme/app", token)
    daemon.store("other/app", other)
    socket, name = grant(daemon)
    before, chance = state(daemon), random.Random(12)
    ids = [one["id"] for one in before]
    fields = [
        *(f"id={i}" for i in ids),
        f"password={other}",
        "force=1",
        "key=AAAA",
        "person=1",
        f"grant={name}",
        "memory=1",
    ]
    fields += ["asked_path=other/app", f"state[]=bitbucket:{ids[0]}:1", "capability[]=state", "username=x", "expires=9"]
    paths = [
        "acme/app",
        "other/app",
        "acme/../other/app",
        "other/app/../../acme/app",
        "acme/app/../../other/app",
        "",
        "acme",
    ]
    heads = ["", "vault=0\n", "timeout=9999999999\n", "action=get\n"]
    answers = b""
    for _ in range(1000):
        action = chance.choice([*ACTIONS, "get", "get", "GET", "nonsense", ""])
        path, more = chance.choice(paths), chance.sample(fields, chance.randrange(4))
        lines = "\n".join(["protocol=https", "host=bitbucket.org", f"path={path}", *more, ""])
        request = f"action={action}\ntimeout=35\n{chance.choice(heads)}{lines}".encode()
        if chance.random() < 0.3:
            at = chance.randrange(len(request))
            request = (
                request[:at] + chance.choice([b"", b"\0", b"\n", b"\r\n", b"\xff", b"\xe2\x80\xa8"]) + request[at + 1 :]
            )
        with daemon.connect(socket) as connection:
            connection.sendall(request)
            if chance.random() < 0.9:
                connection.shutdown(1)
                answers += read_all(connection)
    assert token.encode() in answers
    assert other.encode() not in answers
    assert [{**one, "why": None, "hint": None} for one in state(daemon)] == before
    assert [one["id"] for one in grants(daemon)] == [name]
    assert "fault" not in daemon.told_about("status")
    assert (daemon.secret("acme/app"), daemon.secret("other/app")) == (token, other)


@as_second_user
def test_another_user_is_served_only_where_the_grant_names_him(daemon: Daemon, home: Path) -> None:
    """The kernel's word decides at his socket too; a container's mount leads past the directories above."""
    daemon.store("acme/app", tokens.access_token())
    named, stranger = grant(daemon, peer=NOBODY)[0], grant(daemon, peer=NOBODY - 1)[0]
    closed, _ = grant(daemon)
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (named, Path(named).parent)] == [0o666, 0o711]
    for above in (home, home / "run", Path(named).parents[1]):
        above.chmod(0o711)
    assert b"password=" in ask_as_nobody(named, "get", cloud("acme/app"))
    assert ask_as_nobody(named, "get", cloud("acme/lib")) == b""
    assert ask_as_nobody(stranger, "get", cloud("acme/app")) == ask_as_nobody(closed, "get", cloud("acme/app")) == b""
    assert b"password=" in daemon.ask("get", cloud("acme/app"), stranger)


def test_a_path_of_ones_own(daemon: Daemon, home: Path) -> None:
    """In a private directory; not where somebody listens, nor over a file; what a killed daemon left is replaced."""
    daemon.store("acme/app", tokens.access_token())
    chosen = home / "box" / "socket"
    socket, name = grant(daemon, socket=chosen)
    assert (socket, stat.S_IMODE(chosen.parent.stat().st_mode)) == (str(chosen), 0o700)
    for path in (chosen, daemon.path, daemon.control):
        assert (
            "listens at" in daemon.told_about("grant", cloud("acme") + f"expires=9\nsocket={path}\n".encode())["error"]
        )
    daemon.ask("grant-revoke", f"grant={name}\n".encode())
    assert list(chosen.parent.iterdir()) == []
    chosen.write_text("mine")
    refusals: dict[object, str] = {
        chosen: "is not a socket",
        home / "open" / "socket": "is open to others",
        "box/socket": "is relative",
    }
    (home / "open").mkdir()
    (home / "open").chmod(0o755)
    for wrong, why in refusals.items():
        assert why in daemon.told_about("grant", cloud("acme") + f"expires=9\nsocket={wrong}\n".encode())["error"]
    assert chosen.read_text() == "mine"
    assert (daemon.told_about("ping")["pid"], grants(daemon)) == (str(daemon.pid), [])


def test_nothing_is_left_by_a_daemon_that_ends(start: Start) -> None:
    """Nor, once there is another grant, by one that was killed."""
    killed = start()
    left, _ = grant(killed)
    killed.kill()
    assert Path(left).exists()
    daemon = start()
    socket, _ = grant(daemon)
    assert not Path(left).parent.exists()
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0
    assert os.listdir(Path(socket).parents[1]) == []


def test_a_grant_survives_an_upgrade_with_its_uses(start: Start, copy: Path) -> None:
    """The same socket by its descriptor, and what was used stays used."""
    hasten(copy)
    daemon = start(package=str(copy))
    token = tokens.access_token()
    daemon.store("acme/app", token)
    socket, name = grant(daemon, uses=2)
    kept, other = grant(daemon, path="acme")
    assert token.encode() in daemon.ask("get", cloud("acme/app"), socket)
    inode = os.stat(socket).st_ino
    install(copy, "9.9.9")
    eventually(lambda: version(daemon) == "9.9.9")
    assert os.stat(socket).st_ino == inode
    assert [(one["id"], one["used"]) for one in grants(daemon)] == [(name, 1), (other, 0)]
    assert daemon.ask("get", cloud("acme/lib"), socket) == b""
    assert token.encode() in daemon.ask("get", cloud("acme/app"), socket)
    eventually(lambda: not Path(socket).parent.exists())
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0
    assert os.listdir(Path(kept).parents[1]) == []
