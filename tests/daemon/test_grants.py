"""Limited sockets of a running daemon: who reaches them, what comes out, how many times, how long, and what is left."""

import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from git_credential_bitbucket.agent.grants import MAX_GRANTS, Grants
from git_credential_bitbucket.daemon.grant_sockets import GrantSockets
from git_credential_bitbucket.daemon.server import Server
from tests.daemon.conftest import Clock, Start
from tests.daemon.daemons import TIMEOUT_S, Daemon, cache_client, cloud, eventually
from tests.daemon.test_peers import NOBODY, ask_as_nobody
from tests.daemon.test_upgrade import copy, hasten, install, version
from tests.fake_bitbucket import tokens
from tests.fault_injection import hostile

__all__ = ["copy"]
CLIENTS = 50
as_second_user = pytest.mark.skipif(os.getuid() != 0, reason="only root can be a second user")


def test_gits_own_client_gets_the_scope_and_nothing_else(daemon: Daemon) -> None:
    """Born 0600 in its own 0700 directory; removed when it is revoked. `store`, `erase` and `exit` change nothing."""
    token, other = daemon.store("acme/app"), daemon.store("acme/lib")
    socket, name = daemon.grant()
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (socket, Path(socket).parent)] == [0o600, 0o700]
    assert os.listdir(Path(socket).parent) == ["socket"]
    before = daemon.credentials()
    client = partial(cache_client, daemon.env, socket)
    assert f"password={token}".encode() in client("get", cloud("acme/app.git"))
    assert client("get", cloud("acme/lib")) == client("get", cloud()) == b""
    for operation, secret in (("store", tokens.access_token()), ("erase", other), ("exit", "")):
        given = cloud("acme/app") + f"username=x-token-auth\npassword={secret}\n".encode()
        assert client(operation, given) == b""
    assert daemon.credentials() == before
    assert [(one["id"], one["used"], one["ignored"]) for one in daemon.grants()] == [(name, 1, 5)]
    assert daemon.ask("grant-revoke", f"grant={name}\n".encode()) == b"ok=1\n"
    assert not Path(socket).parent.exists()
    assert daemon.grants() == []


def test_what_is_rejected_there_is_told_to_the_owner(daemon: Daemon) -> None:
    """By `erase` with the secret that it was given; the credential stays ready."""
    token = daemon.store("acme/app")
    socket, name = daemon.grant()
    cache_client(daemon.env, socket, "get", cloud("acme/app"))
    cache_client(daemon.env, socket, "erase", cloud("acme/app") + f"username=x-token-auth\npassword={token}\n".encode())
    [one] = daemon.credentials()
    assert (one["state"], name in one["why"]) == ("ready", True)


def test_as_many_uses_as_were_granted_whoever_asks_at_once(daemon: Daemon) -> None:
    """Fifty clients at a time, who ask for other things in between."""
    daemon.store("acme/app")
    socket, _ = daemon.grant(uses=20)

    def ask(number: int) -> bool:
        try:
            return b"password=" in daemon.ask("get", cloud("acme/lib" if number % 3 == 0 else "acme/app"), socket)
        except OSError:  # it is spent, and gone
            return False

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(ask, range(3 * CLIENTS))) == 20
    eventually(lambda: not Path(socket).parent.exists())


def test_it_gives_until_it_expires_and_not_after(start: Start, clock: Clock) -> None:
    """Fifty clients over its end: what was answered before was given, and what was asked for afterwards was not."""
    daemon = start(enter=clock.enter)
    daemon.store("acme/app")
    socket, _ = daemon.grant(expires=600)
    over, answered = threading.Event(), threading.Semaphore(0)

    def ask_over_its_end(_: int) -> list[tuple[float, bool, float]]:
        asked: list[tuple[float, bool, float]] = []
        is_last = False
        while not is_last:
            is_last, began = over.is_set(), time.monotonic()
            try:
                given = b"password=" in daemon.ask("get", cloud("acme/app"), socket)
            except OSError:
                given = False
            asked.append((began, given, time.monotonic()))
            answered.release()
        return asked

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = pool.map(ask_over_its_end, range(CLIENTS))
        try:
            assert all(answered.acquire(timeout=TIMEOUT_S) for _ in range(2 * CLIENTS))
            ending = time.monotonic()
            clock.turn_on(daemon, 600)
            ended = time.monotonic()
        finally:
            over.set()
        asked = [each for client in clients for each in client]
    assert all(given for _, given, at in asked if at < ending)
    assert not any(given for began, given, _ in asked if began > ended)
    assert sum(given for _, given, _ in asked) >= CLIENTS
    eventually(lambda: not Path(socket).parent.exists())


def test_a_thousand_hostile_requests_change_nothing(daemon: Daemon) -> None:
    """The short form of `python -m tests.fault_injection --hostile 100000`."""
    outcome = hostile.attack(daemon, 1000, 12)
    assert outcome.wrong == []
    assert outcome.given > 10


@as_second_user
def test_another_user_is_served_only_where_the_grant_names_him(daemon: Daemon, home: Path) -> None:
    """The kernel's word decides at his socket too; a container's mount leads past the directories above."""
    daemon.store("acme/app")
    named, stranger = daemon.grant(peer=NOBODY)[0], daemon.grant(peer=NOBODY - 1)[0]
    closed, _ = daemon.grant()
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (named, Path(named).parent)] == [0o666, 0o711]
    for above in (home, home / "run", Path(named).parents[1]):
        above.chmod(0o711)
    assert b"password=" in ask_as_nobody(named, "get", cloud("acme/app"))
    assert ask_as_nobody(named, "get", cloud("acme/lib")) == b""
    assert ask_as_nobody(stranger, "get", cloud("acme/app")) == ask_as_nobody(closed, "get", cloud("acme/app")) == b""
    assert b"password=" in daemon.ask("get", cloud("acme/app"), stranger)


def test_a_path_of_ones_own(daemon: Daemon, home: Path) -> None:
    """In a private directory; not where somebody listens, nor over a file; what a killed daemon left is replaced."""
    daemon.store("acme/app")
    chosen = home / "box" / "socket"
    socket, name = daemon.grant(socket=chosen)
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
    assert (daemon.told_about("ping")["pid"], daemon.grants()) == (str(daemon.pid), [])


def test_nothing_is_left_by_a_daemon_that_ends(start: Start) -> None:
    """Nor, once there is another grant, by one that was killed."""
    killed = start()
    left, _ = killed.grant()
    killed.kill()
    assert Path(left).exists()
    daemon = start()
    socket, _ = daemon.grant()
    assert not Path(left).parent.exists()
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0
    assert os.listdir(Path(socket).parents[1]) == []


def test_a_grant_that_expires_during_an_upgrade_leaves_no_socket(home: Path) -> None:
    """Its successor removes what it was handed for it; one without a socket ends, and the others go on."""
    now = time.time()
    server, path = Server({}, lambda *_: b""), str(home / "run" / "git-credential-bitbucket" / "socket")
    before = Grants(lambda: now)
    sockets = GrantSockets(path, server, before)
    fields = {"protocol": "https", "host": "bitbucket.org"}
    short, long, lost = (before.add({**fields, "expires": text}) for text in ("10", "60", "60"))
    after = Grants(lambda: now + 20)
    after.restore(json.loads(json.dumps(before.export())))
    handed = {name: os.dup(number) for name, number in sockets.descriptors().items() if not name.endswith(lost.id)}
    GrantSockets(path, server, after).adopt(handed, json.loads(json.dumps(sockets.held())))
    assert [grant.id for grant in after.open_grants()] == [long.id]
    assert [os.path.exists(grant.socket) for grant in (short, long)] == [False, True]
    assert not Path(short.socket).parent.exists()
    server.close()


def test_a_grant_survives_an_upgrade_with_its_uses(start: Start, copy: Path) -> None:
    """The same socket by its descriptor, with what was used of it, and as many others as there may be."""
    hasten(copy)
    daemon = start(package=str(copy))
    token = daemon.store("acme/app")
    socket, name = daemon.grant(uses=2)
    kept, *_ = [daemon.grant(path="acme")[0] for _ in range(MAX_GRANTS - 1)]
    assert token.encode() in daemon.ask("get", cloud("acme/app"), socket)
    inode = os.stat(socket).st_ino
    install(copy, "9.9.9")
    eventually(lambda: version(daemon) == "9.9.9")
    assert os.stat(socket).st_ino == inode
    assert [(one["id"], one["used"]) for one in daemon.grants()] == [
        (name, 1),
        *((one["id"], 0) for one in daemon.grants()[1:]),
    ]
    assert len(daemon.grants()) == MAX_GRANTS
    assert daemon.ask("get", cloud("acme/lib"), socket) == b""
    assert token.encode() in daemon.ask("get", cloud("acme/app"), socket)
    eventually(lambda: not Path(socket).parent.exists())
    assert daemon.ask("exit") == b"ok=1\n"
    assert daemon.ended() == 0
    assert os.listdir(Path(kept).parents[1]) == []
