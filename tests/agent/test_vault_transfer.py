"""Copies and moves between every two storages, killed at every step: nothing is lost, and no login is renewed twice."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket.agent import vault_transfer
from git_credential_bitbucket.agent.renewal import merge_answer
from git_credential_bitbucket.errors import Error, VaultBusy, VaultDamaged, VaultMoved, WrongKey
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.selection import open_storage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.conftest import World
from tests.valkey import Valkey

NOW = 1_800_000_000.0
STATIC = {"id": "a1", "kind": "access-token", "place": "https://h/acme/app", "secret": "ATCTT3-made-up"}
LOGIN = {"id": "b2", "kind": "oauth", "place": "https://h", "secret": "made up", "refresh_token": "rotates"}
CONSUMER = {"id": "c3", "kind": "client-credentials", "place": "https://h/acme", "secret": "", "client_id": "key"}
REFERENCE = {"id": "d4", "kind": "access-token", "place": "https://h/w", "secret": "", "source": "file:/s"}
ALL = [STATIC, LOGIN, CONSUMER, REFERENCE]
FORKER = """
import json, os, signal, sys
from git_credential_bitbucket.agent import renewal, vault_transfer
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.selection import open_storage
from git_credential_bitbucket.vault.vault import Vault
def work(ends, verb, nth, trace):
    left = nth
    def step(name):
        nonlocal left
        if trace: print(name, flush=True)
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
    vaults = []
    for env in ends:
        vaults.append(Vault(open_storage(env, step), Key(bytes(range(32)), "file")))
        vaults[-1].merge = renewal.merge_answer
    to = ends[1]["GIT_CREDENTIAL_BITBUCKET_VAULT"]
    if verb == "copy": vault_transfer.copy(*vaults, 1.8e9, step)
    else: vault_transfer.move(*vaults, to, 1.8e9, step)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try: work(**json.loads(line))
        except BaseException as exc: print("failed", type(exc).__name__, exc, flush=True); os._exit(1)
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def record(base: dict[str, Any], **more: object) -> dict[str, Any]:
    """A record as the vault has it."""
    return {"generation": 1, "created_at": 1000.0, **base, **more}


WHOLE = {one["id"]: record(one) for one in ALL}


class Ends:
    """Two vaults of one host, and a process that copies and moves between them and can be killed."""

    def __init__(self, folder: Path, source: str, target: str) -> None:
        self.folder = folder
        self.source, self.target = ({**self._home, "GIT_CREDENTIAL_BITBUCKET_VAULT": at} for at in (source, target))
        self.to = target

    @property
    def _home(self) -> dict[str, str]:
        return {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder / "data")}

    def opened(self, end: dict[str, str], key: bytes = bytes(range(32)), home: str = "") -> Vault:
        """An end as the next process finds it; on another host where that is named."""
        vault = Vault(
            open_storage(end | ({"XDG_DATA_HOME": str(self.folder / home)} if home else {})), Key(key, "file")
        )
        vault.merge = merge_answer
        return vault

    def put(self, end: dict[str, str], *records: dict[str, Any]) -> None:
        """Store records."""
        with self.opened(end).transaction() as tx:
            tx.content["credentials"] = list(records)

    def content(self, end: dict[str, str]) -> dict[str, Any]:
        """What is stored, of a vault that was moved as well; on a server, as another host finds it."""
        vault = self.opened(end, home=f"new-{next(_NUMBERS)}")
        vault.is_transferred = True
        with vault.transaction() as tx:
            return tx.content

    def records(self, end: dict[str, str]) -> dict[str, dict[str, Any]]:
        """The credentials by id."""
        return {one["id"]: one for one in self.content(end).get("credentials", ())}

    @property
    def said_by_the_source(self) -> dict[str, str]:
        """All that is left in the source after a move; of a shared one to a file, on which host that is."""
        is_elsewhere = "://" in self.source["GIT_CREDENTIAL_BITBUCKET_VAULT"] and "://" not in self.to
        return {"moved_to": self.to} | ({"moved_on": os.uname().nodename} if is_elsewhere else {})

    def move(self) -> vault_transfer.Transfer:
        """Move, or go on."""
        return vault_transfer.move(self.opened(self.source), self.opened(self.target), self.to, NOW)

    def copy(self) -> vault_transfer.Transfer:
        """Copy."""
        return vault_transfer.copy(self.opened(self.source), self.opened(self.target), NOW)


_NUMBERS = count()


class Forker:
    """Does the work in a process of its own each time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, ends: Ends, verb: str, nth: int = 0, *, trace: bool = False) -> tuple[int, list[str]]:
        """The exit code, and the steps with `trace`; it kills itself at the `nth` step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"ends": [ends.source, ends.target], "verb": verb, "nth": nth, "trace": trace}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        steps = []
        while not (line := self.process.stdout.readline().strip()).startswith("ended"):
            assert self.process.poll() is None
            assert not line.startswith("failed"), line
            steps.append(line)
        return int(line.split()[1]), steps


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    """The module's."""
    made = Forker()
    yield made
    made.process.communicate()


@pytest.fixture
def between(valkey: Valkey, tmp_path: Path) -> Callable[[str, str], Ends]:
    """Makes two ends that are empty, each `file` or `server`."""

    def make(source: str, target: str) -> Ends:
        where = {"file": f"{tmp_path}/v{{}}/vault", "server": f"{valkey.url}-{{}}"}
        number = next(_NUMBERS)
        return Ends(tmp_path, where[source].format(f"s{number}"), where[target].format(f"t{number}"))

    return make


KINDS = ["file", "server"]


def killed_at_each_step(
    between: Callable[[str, str], Ends], forker: Forker, verb: str, source: str, target: str
) -> Iterator[tuple[str, Ends]]:
    """Each step of a copy or a move, and the ends after it was killed there."""
    ends = between(source, target)
    ends.put(ends.source, *WHOLE.values())
    code, steps = forker.run(ends, verb, trace=True)
    assert code == 0
    for nth, step in enumerate(steps, 1):
        if source == target and step not in vault_transfer.STEPS:
            continue  # the same writes as between a file and a server
        ends = between(source, target)
        ends.put(ends.source, *WHOLE.values())
        assert forker.run(ends, verb, nth)[0] == -signal.SIGKILL, step
        yield step, ends


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_move_that_is_killed_at_any_step_goes_on(
    between: Callable[[str, str], Ends], forker: Forker, source: str, target: str
) -> None:
    """At each moment every credential is in one of the vaults, and a login can be renewed in one at most."""
    steps = set()
    for step, ends in killed_at_each_step(between, forker, "move", source, target):
        steps.add(step)
        here, there = ends.records(ends.source), ends.records(ends.target)
        assert here.keys() | there.keys() == WHOLE.keys(), step
        renewable = [end for end in (here, there) if "b2" in end and "moving" not in end["b2"]]
        assert len(renewable) <= 1, step
        ends.move()
        assert ends.records(ends.target) == WHOLE, step
        assert ends.content(ends.source) == ends.said_by_the_source
        with pytest.raises(VaultMoved, match="the vault was moved to"):
            ends.opened(ends.source).snapshot()
    assert steps >= set(vault_transfer.STEPS)


@pytest.mark.parametrize(("source", "target"), [("file", "server"), ("server", "file")])
def test_a_copy_that_is_killed_at_any_step_is_done_again(
    between: Callable[[str, str], Ends], forker: Forker, source: str, target: str
) -> None:
    """The source stays as it is; the login, which one of two vaults would lose, is not in the target."""
    for _, ends in killed_at_each_step(between, forker, "copy", source, target):
        assert [one.id for one in ends.copy().left_out] == ["b2"]
        assert ends.records(ends.source) == WHOLE
        assert ends.records(ends.target) == {name: one for name, one in WHOLE.items() if name != "b2"}


def test_what_is_moved_back_is_used_again(between: Callable[[str, str], Ends]) -> None:
    """A vault that says where its credentials went takes them back."""
    ends = between("file", "server")
    ends.put(ends.source, record(LOGIN))
    ends.move()
    assert ends.move().arrived == [], "it is complete"
    with pytest.raises(VaultMoved) as caught:
        vault_transfer.move(ends.opened(ends.source), ends.opened(ends.target), "/elsewhere/vault", NOW)
    assert caught.value.to == ends.to
    ends.source, ends.target = ends.target, ends.source
    ends.to = ends.target["GIT_CREDENTIAL_BITBUCKET_VAULT"]
    ends.move()
    assert ends.opened(ends.target).snapshot().content["credentials"] == [record(LOGIN)]


def test_the_newer_of_two_logins_is_used(between: Callable[[str, str], Ends]) -> None:
    """Whichever side it is on; the other is disabled, of another account nothing."""
    ends = between("file", "server")
    named = record(LOGIN, account="alice")
    ends.put(ends.source, record(STATIC, created_at=5.0), named, record(REFERENCE))
    older = record(LOGIN, id="e5", account="alice", refresh_token="other", created_at=1.0, is_default=True)
    newer = record(STATIC, id="f6", secret="made up, too", created_at=9.0)
    ends.put(ends.target, newer, older, record(LOGIN, id="g7", account="bob"), record(REFERENCE, id="h8"))
    done = ends.move()
    assert sorted(one.id for one in done.replaced) == ["a1", "e5"]
    found = ends.records(ends.target)
    assert {name for name, one in found.items() if "set_aside_at" in one} == {"a1", "e5"}
    assert (found["a1"]["replaced_by"], found["e5"]["replaced_by"]) == ("f6", "b2")
    assert found["b2"]["is_default"]
    assert found.keys() == {"a1", "b2", "e5", "f6", "g7", "h8"}, "the reference is there already"


def test_what_cannot_be_decided_changes_nothing(between: Callable[[str, str], Ends]) -> None:
    """Two logins of one account and one age: a person removes one."""
    ends = between("file", "server")
    ends.put(ends.source, record(STATIC))
    ends.put(ends.target, record(STATIC, id="z9", secret="made up, too"))
    before = ends.content(ends.source), ends.content(ends.target)
    for work in (ends.move, ends.copy):
        with pytest.raises(Error, match=r"both vaults have the access token for h/acme/app, and neither is newer"):
            work()
    assert (ends.content(ends.source), ends.content(ends.target)) == before


def test_a_vault_is_not_moved_to_itself(between: Callable[[str, str], Ends], valkey: Valkey) -> None:
    """By whichever address: that would remove everything."""
    ends = between("server", "server")
    ends.put(ends.source, *map(record, ALL))
    ends.to = f"redis://127.0.0.1:{valkey.port}/0?{ends.source['GIT_CREDENTIAL_BITBUCKET_VAULT'].partition('?')[2]}"
    ends.target["GIT_CREDENTIAL_BITBUCKET_VAULT"] = ends.to
    with pytest.raises(Error, match="the same vault"):
        ends.move()
    vault_transfer.abandon(ends.opened(ends.source))
    assert ends.content(ends.source)["credentials"] == [*map(record, ALL)]


def test_another_key_opens_no_target(between: Callable[[str, str], Ends]) -> None:
    ends = between("file", "server")
    ends.put(ends.source, record(STATIC))
    ends.put(ends.target, record(REFERENCE))
    with pytest.raises(WrongKey):
        vault_transfer.move(ends.opened(ends.source), ends.opened(ends.target, bytes(32)), ends.to, NOW)
    assert ends.content(ends.source) == {"credentials": [record(STATIC)]}


@pytest.mark.parametrize("spoil", ["altered", "replaced"])
def test_a_target_that_alters_what_is_written_gets_nothing(
    between: Callable[[str, str], Ends], valkey: Valkey, spoil: str
) -> None:
    """It is read back from the server, not from this host's copy of it."""
    ends = between("file", "server")
    ends.put(ends.source, record(STATIC))

    def alter(name: str) -> None:
        if name == "target-written" and spoil == "altered":
            (key,) = valkey.client().keys(f"*{ends.to.partition('=')[2]}*cred:a1")
            valkey.client().hset(key, "blob", b"x" * 99)
        elif name == "target-written":
            with ends.opened(ends.target, home="h2").transaction() as tx:
                tx.content["credentials"] = [record(STATIC, secret="made up, too")]

    with pytest.raises(VaultDamaged):
        vault_transfer.move(ends.opened(ends.source), ends.opened(ends.target), ends.to, NOW, alter)
    assert ends.records(ends.source).keys() == {"a1"}


def test_what_is_stored_meanwhile_moves_along(between: Callable[[str, str], Ends]) -> None:
    """Also what another process removes: it is not left in the target."""
    ends = between("server", "file")
    ends.put(ends.source, record(LOGIN), record(STATIC))
    stored = [record(LOGIN, id="e5", place="https://h/w")]

    def store(name: str) -> None:
        if name == "target-verified" and stored:
            with ends.opened(ends.source, home="h2").transaction() as tx:
                tx.content["credentials"] = [stored.pop()]

    done = vault_transfer.move(ends.opened(ends.source), ends.opened(ends.target), ends.to, NOW, store)
    assert [one.id for one in done.arrived] == ["e5"]
    assert ends.records(ends.target) == {"e5": record(LOGIN, id="e5", place="https://h/w")}


def test_nothing_is_stored_in_a_vault_that_was_moved_meanwhile(between: Callable[[str, str], Ends]) -> None:
    """A host that has read it before the move, and writes after it, is refused: nobody would look for that there."""
    ends = between("server", "file")
    ends.put(ends.source, record(STATIC))
    other = ends.opened(ends.source, home="h2")

    def log_in() -> None:
        with other.transaction() as tx:
            ends.move()
            tx.content["credentials"].append(record(LOGIN))

    with pytest.raises(VaultBusy, match="changed by another process meanwhile"):
        log_in()
    assert ends.content(ends.source) == ends.said_by_the_source
    with pytest.raises(VaultMoved):
        other.snapshot()
    other.is_transferred = True
    with other.transaction() as tx:
        tx.content["moved_on"] = "elsewhere"
    with pytest.raises(VaultMoved, match=f"moved to {ends.to} on the host elsewhere") as told:
        ends.opened(ends.source).snapshot()
    assert "on elsewhere run:" in str(told.value.hint)
    assert "BITBUCKET_VAULT=" not in str(told.value.hint), "here that path would be a new vault"
    with pytest.raises(VaultMoved, match="on the host elsewhere"):
        ends.move()


def test_a_vault_that_is_being_moved_takes_nothing(between: Callable[[str, str], Ends], forker: Forker) -> None:
    """Neither a copy nor a move; it is told how to complete its own first."""
    ends = between("file", "file")
    ends.put(ends.source, record(LOGIN))
    _, steps = forker.run(ends, "move", trace=True)
    ends = between("file", "file")
    ends.put(ends.source, record(LOGIN))
    forker.run(ends, "move", 1 + steps.index("source-emptied"))
    other = between("file", "file")
    other.put(other.source, record(STATIC))
    other.target, other.to = ends.source, ends.source["GIT_CREDENTIAL_BITBUCKET_VAULT"]
    for work in (other.copy, other.move):
        with pytest.raises(Error, match="is not complete") as caught:
            work()
        assert f"vault move {ends.to}" in str(caught.value.hint)
    onward = between("file", "file")
    onward.source = ends.target
    with pytest.raises(Error, match="is not complete"):
        onward.move()
    ends.move()
    assert onward.move().arrived


class Mover(threading.Thread):
    """A move in a thread, which goes on by one step at a time."""

    def __init__(self, ends: Ends) -> None:
        super().__init__(daemon=True)
        self.ends = ends
        self.failed: Error | None = None
        self.has_ended = False
        self._go, self._at = threading.Semaphore(0), threading.Semaphore(0)
        self.start()

    def run(self) -> None:
        """Move, as soon as it may."""
        self._go.acquire()
        source, target = self.ends.opened(self.ends.source), self.ends.opened(self.ends.target)
        try:
            vault_transfer.move(source, target, self.ends.to, NOW, self._step)
        except Error as exc:
            self.failed = exc
        self.has_ended = True
        self._at.release()

    def go(self, steps: int = 99) -> None:
        """Go on by so many steps, or to its end."""
        for _ in range(steps):
            if not self.has_ended:
                self._go.release()
                self._at.acquire()

    def _step(self, _name: str) -> None:
        self._at.release()
        self._go.acquire()


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["one-target", "two-targets"])
@pytest.mark.parametrize("steps", [(2, 2, 1), (2, 1, 1), (4, 1, 2), (3, 1, 3), (3, 4, 1), (3, 5, 99), (4, 4, 99)])
def test_two_moves_at_once(
    between: Callable[[str, str], Ends], steps: tuple[int, int, int], *, is_elsewhere: bool
) -> None:
    """As where the command is run on each host of a shared vault: one goes `steps` on, the other, and the first again.

    Nothing is lost, nor left with a mark where nobody would take it away.
    """
    ends, other = between("file", "file"), between("file", "file")
    other.source = ends.source
    if not is_elsewhere:
        other.target, other.to = ends.target, ends.to
    ends.put(ends.source, *map(record, ALL))
    first, second = Mover(ends), Mover(other)
    first.go(steps[0])
    second.go(steps[1])
    first.go(steps[2])
    second.go()
    first.go()
    if first.failed and second.failed:
        ends.move()
    vaults = {str(end): ends.records(end) for end in (ends.source, ends.target, other.target)}
    usable = [name for found in vaults.values() for name, one in found.items() if "moving" not in one]
    assert sorted(usable) == ["a1", "b2", "c3", "d4"]


def test_a_thousand_records_are_moved_in_one_commit_each_way(between: Callable[[str, str], Ends]) -> None:
    """None at all is a move, too."""
    ends = between("file", "server")
    ends.put(ends.source, *(record(LOGIN, id=f"{n:04x}", place=f"https://h/w{n}") for n in range(1000)))
    assert len(ends.move().arrived) == 1000
    assert len(ends.records(ends.target)) == 1000
    empty = between("file", "server")
    empty.put(empty.source)
    with empty.opened(empty.source).transaction() as tx:
        tx.content["swept_at"] = 1.0
    assert empty.move().arrived == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_renewal_that_another_host_began_is_waited_for(
    world: World, between: Callable[[str, str], Ends], kind: str
) -> None:
    """Its answer moves along; and from the mark on no host begins one, and the target's copy is not renewed either."""
    ends = between(kind, "file" if kind == "server" else "server")
    world.key = bytes(range(32))
    other_home = "h2" if kind == "server" else ""
    other = world.another(storage=ends.opened(ends.source, home=other_home).storage)
    other.credential_store.open(create=True)
    world.agent = other
    login = world.login()
    job = world.hanging(login, other)
    refused = []

    def step(name: str) -> None:
        if name == "source-marked":
            world.standin.release()
        if name == "source-settled":
            assert job.result().generation == 2
        if name in ("source-settled", "target-verified"):
            end = ends.source if name == "source-settled" else ends.target
            agent = world.another(storage=ends.opened(end, home=other_home).storage)
            agent.credential_store.open()
            with pytest.raises(VaultBusy, match="its move to"):
                agent.renewals.renew(login.id, 2, by_hand=True)
            refused.append(name)

    vault_transfer.move(ends.opened(ends.source), ends.opened(ends.target), ends.to, world.clock(), step)
    assert refused == ["source-settled", "target-verified"]
    assert len(world.standin.token_requests()) == 1
    there = world.another(storage=ends.opened(ends.target).storage)
    there.credential_store.open()
    assert there.renewals.renew(login.id, 2).generation == 3
    with pytest.raises(VaultMoved):
        other.renewals.renew(login.id, 2)
    assert other.credential_store.index().get(login.id) is None
    assert isinstance(other.credential_store.trouble, VaultMoved)
    assert len(world.standin.token_requests()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_renewal_that_was_cut_off_is_not_moved(world: World, between: Callable[[str, str], Ends], kind: str) -> None:
    """Only that host may have the answer: one line says so, and the login can be renewed here as before."""
    ends = between(kind, "file")
    world.key = bytes(range(32))
    home = "h2" if kind == "server" else ""
    storage = ends.opened(ends.source, home=home).storage

    class Cut(BaseException):
        pass

    def cut(name: str) -> None:
        if name == "renewal-reserved":
            raise Cut

    other = world.another(cut, storage)
    other.credential_store.open(create=True)
    world.agent = other
    login = world.login()
    with pytest.raises(Cut):
        other.renewals.renew(login.id, 1)
    with pytest.raises(VaultBusy, match="was cut off or has not ended"):
        ends.move()
    vault_transfer.abandon(ends.opened(ends.source))
    assert ends.records(ends.target) == {}
    back = world.another(storage=ends.opened(ends.source, home=home).storage)
    back.credential_store.open()
    assert back.renewals.renew(login.id, 1).generation == 2
    ends.move()
    assert ends.records(ends.target)[login.id]["generation"] == 2
