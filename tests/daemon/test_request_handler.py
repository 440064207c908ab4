"""Answers that are given again to the same bytes, beside those that are found as if nobody had asked before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from git_credential_bitbucket import access_log, git_protocol, secret_sources
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.answer_cache import MAX_KNOWN, MAX_KNOWN_BYTES
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.dispatch import CONTROL, GIT, GUEST, Dispatcher
from git_credential_bitbucket.agent.grants import Grant
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.daemon import configured_hosts
from git_credential_bitbucket.daemon.peers import Peer
from git_credential_bitbucket.daemon.request_handler import RequestHandler
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.test_model import at_once
from tests.fake_bitbucket import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from git_credential_bitbucket.agent.dispatch import Answer, Caller, Role
    from tests.fake_bitbucket.client import FakeBitbucket

VAULT_ID = "0123456789abcdef"
KINDS = st.sampled_from((token_kinds.ACCESS_TOKEN, token_kinds.API_TOKEN, token_kinds.OAUTH))
PLACES = st.sampled_from(("", "", "/acme", "/acme/app", "/acme/lib"))
PERSONS = st.sampled_from(({}, {"account": "alice@example.com", "bitbucket_username": "alice"}, {"account": "bob"}))
LIVES = st.sampled_from(({}, {}, {"lifetime": 400}, {"expires_in": 5000}))
PATHS = (None, "acme/app.git", "acme/lib.git")
LINES = "capability[]=authtype\ncapability[]=state\n"
QUESTIONS: tuple[tuple[Role | None, int, str | None, str, bool], ...] = (
    (GIT, 0, "acme/app.git", "", False),
    (GIT, 0, "acme/app.git", LINES, False),
    (GIT, 0, "acme/lib.git", LINES, False),
    (GIT, 0, "acme/app.git", "username=alice\n", False),
    (GIT, 0, "acme/app.git", LINES, True),
    (GIT, 1, None, "", False),
    (GIT, 2, None, "", False),
    (GUEST, 0, "acme/lib.git", LINES, False),
    (None, 0, "acme/app.git", "", False),
)
"""Role (None: a grant's peer), which git asks, path, further lines, and whether it is for bitbucket.org."""
CLOUD = st.sampled_from((False, False, False, True))
LOGINS = st.lists(st.tuples(KINDS, PLACES, PERSONS, CLOUD), min_size=2, max_size=4)
VERBS = st.sampled_from(("default", "remove", "restore", "refresh", "amend", "identify"))


class Counting(Dispatcher):
    """A dispatcher that counts what is not answered before it."""

    asked = 0

    def answer(self, action: str, body: bytes, caller: Caller) -> Answer | None:
        """As a dispatcher's."""
        self.asked += 1
        return super().answer(action, body, caller)


class Machine:
    """A daemon's inside without its sockets. Its state: the clock, the vault, and two handlers of which one looks anew.

    `other` is the agent of another process with the same vault.
    """

    def __init__(self, bitbucket: FakeBitbucket, env: dict[str, str], folder: Path) -> None:
        self.bitbucket = bitbucket
        self.now = time.time()
        self.config, self.written = folder.parent / ".gitconfig", 0
        self.configure("")
        self.key = Key(os.urandom(32), "environment")
        self.path = str(folder / "vault")
        self.hosts = configured_hosts.ConfiguredHosts(env, at_once)
        self.agent, self.other = self.an_agent(), self.an_agent()
        self.agent.grants.elapsed = self.agent.clock
        self.agent.grants.open_socket = lambda _: None
        self.uses = 0
        self.dispatcher = Counting(self.agent, self.hosts, note_use=self.use)
        self.handler = RequestHandler(self.dispatcher, VAULT_ID, self.hosts.current)
        self.anew = RequestHandler(Dispatcher(self.agent, self.hosts), VAULT_ID)

    def an_agent(self) -> Agent:
        """A process's."""
        vault = Vault(FileStorage(self.path), self.key)
        return Agent(
            vault, Vault(MemoryStorage()), self.hosts.find, lambda _: vault.unlock(self.key), at_once, lambda: self.now
        )

    def use(self) -> None:
        """A credential was used."""
        self.uses += 1

    def configure(self, lines: str, *, is_ours: bool = True) -> None:
        """Write git's configuration."""
        settings = self.bitbucket.git_config() if is_ours else []
        text = "".join(f'[credential "{self.bitbucket.url}"]\n\t{n.rpartition(".")[2]} = {v}\n' for n, v in settings)
        self.config.write_text(text + lines.replace("HOST", self.bitbucket.url))
        self.written += 1
        os.utime(self.config, (self.written, self.written))  # what was written just now may be written again

    def request(self, path: str | None, lines: str = "", action: str = "get", *, is_cloud: bool = False) -> bytes:
        """A request as our own clients send it."""
        host = "bitbucket.org" if is_cloud else self.bitbucket.netloc
        named = "" if path is None else f"path={path}\n"
        return f"action={action}\ntimeout=35\nprotocol=https\nhost={host}\n{named}{lines}".encode()

    def verb(self, action: str, *pairs: tuple[str, str]) -> bytes:
        """What a verb is answered."""
        data = f"action={action}\ntimeout=35\n".encode() + git_protocol.emit([*pairs])
        return self.ask(data, CONTROL)

    def ask(self, data: bytes, role: Role = GIT, pid: int = 0) -> bytes:
        """The whole answer."""
        return wait_for(self.handler.answer(data, Peer(pid, os.getuid()), role) or b"")

    def log_in(self, kind: str, place: str, *, is_cloud: bool = False, memory: bool = False, **more: object) -> bytes:
        """A person's login."""
        host = "https://bitbucket.org" if is_cloud else self.bitbucket.url
        record: dict[str, Any] = {"kind": kind, "place": host + place, **more}
        if kind == token_kinds.OAUTH:
            consumer = self.bitbucket.add_consumer()
            record["secret"], record["refresh_token"] = self.bitbucket.issue_login(consumer)
            provider = self.hosts.find("https", self.bitbucket.netloc)
            if provider is None:
                return b""
            record |= {"client_id": consumer.key, "client_secret": consumer.secret, "expires_in": 7200}
            record["endpoint"] = provider.endpoint.to_record()
        else:
            record["secret"] = tokens.api_token() if kind == token_kinds.API_TOKEN else tokens.access_token()
        flags = [("memory", "1")] if memory else []
        return self.verb("add", ("record", json.dumps(record)), ("unclear", "add"), *flags)


class AgainstLookingAnew(RuleBasedStateMachine):
    """Random histories of one machine; each question is asked of both handlers, one after the other."""

    known = 0

    def __init__(self, bitbucket: FakeBitbucket, env: dict[str, str], folder: Path, gits: list[int]) -> None:
        super().__init__()
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.iterdir():
            left.unlink() if left.is_file() else left.rmdir()
        self.machine = Machine(bitbucket, env, folder)
        self.gits = gits
        self.source = folder.parent / "token"

    @initialize(kinds=LOGINS)
    def begin(self, kinds: list[tuple[str, str, dict[str, str], bool]]) -> None:
        """Some credentials are there."""
        self.machine.hosts.after_reading(lambda: b"")
        for kind, place, person, is_cloud in kinds:
            self.a_person_logs_in(kind, place, person, {}, is_cloud=is_cloud, memory=False)

    @rule(kind=KINDS, place=PLACES, person=PERSONS, life=LIVES, is_cloud=CLOUD, memory=st.booleans())
    def a_person_logs_in(
        self, kind: str, place: str, person: dict[str, str], life: dict[str, int], *, is_cloud: bool, memory: bool
    ) -> None:
        """Somewhere."""
        kind = token_kinds.API_TOKEN if is_cloud and kind == token_kinds.OAUTH else kind
        more = {} if kind == token_kinds.ACCESS_TOKEN else person
        life = {} if kind == token_kinds.OAUTH and "expires_in" in life else life
        self.machine.log_in(kind, place, is_cloud=is_cloud, memory=memory, **more, **life)

    @invariant()
    def an_answer_is_what_would_be_found_anew(self) -> None:
        """Whatever has happened: some peers ask at one moment, and each the same again."""
        grants = self.machine.agent.grants.open_grants()
        for role, git, path, lines, is_cloud in (*QUESTIONS, *QUESTIONS):
            who = role or (grants[-1] if grants else GIT)
            data, peer = self.machine.request(path, lines, is_cloud=is_cloud), Peer(self.gits[git], os.getuid())
            asked, uses = self.machine.dispatcher.asked, self.machine.uses
            answer = self.machine.ask(data, who, peer.pid)
            assert answer == wait_for(self.machine.anew.answer(data, peer, who) or b"")
            if self.machine.dispatcher.asked == asked:
                AgainstLookingAnew.known += 1
                assert (isinstance(who, Grant), self.machine.uses) == (False, uses + 1)
        self.machine.handler.look_again()

    @rule(nth=st.integers(0, 9), accepted=st.booleans(), path=st.sampled_from(PATHS), again=st.booleans())
    def git_speaks(self, nth: int, accepted: bool, path: str | None, again: bool) -> None:
        """Of a secret that is kept, perhaps of one place after another."""
        index = [*self.machine.agent.credential_store.index()]
        if not index:
            return
        one = index[nth % len(index)]
        for place in (path, "acme/lib.git") if again else (path,):
            lines = f"username={one.username}\npassword={one.secret.reveal()}\n"
            data = self.machine.request(
                place, lines, "store" if accepted else "erase", is_cloud="bitbucket.org" in one.place
            )
            self.machine.ask(data)

    @rule(path=st.sampled_from(PATHS), timeout=st.sampled_from((35, 300)))
    def git_stores(self, path: str | None, timeout: int) -> None:
        """What somebody typed, by git's own client perhaps, which has it forgotten after some time."""
        secret = tokens.access_token()
        self.machine.ask(self.machine.request(path))
        data = self.machine.request(path, f"username=x-token-auth\npassword={secret}\n", "store")
        self.machine.ask(data.replace(b"timeout=35", b"timeout=%d" % timeout))

    @rule(nth=st.integers(0, 9), verb=VERBS, is_here=st.booleans())
    def a_person_changes(self, nth: int, verb: str, *, is_here: bool) -> None:
        """A credential, by this daemon or, if it can be done without, by another process."""
        store = self.machine.agent.credential_store if is_here else self.machine.other.credential_store
        index = [*store.index()]
        if not index:
            return
        one = index[nth % len(index)]
        if not is_here:
            if verb == "remove" or one.is_fetched:
                return
            store.change(one.id, lambda old: {"is_default": not old.is_default, "generation": old.generation + 1})
        elif verb == "amend":
            self.machine.verb("amend", ("id", one.id), ("account", "carol"))
        elif verb != "identify":
            self.machine.verb(verb, ("id", one.id))

    @rule()
    def a_person_locks_and_unlocks(self) -> None:
        """What is in memory is still there meanwhile."""
        self.machine.verb("lock")
        self.an_answer_is_what_would_be_found_anew()
        self.machine.verb("unlock", ("person", "1"))

    @rule(seconds=st.sampled_from((1, 61, 301, 399, 401, 3601, 4999, 6603, 7201, -61, -301, -3601, -8000)))
    def a_clock_is_set(self, seconds: int) -> None:
        """Forwards, as time does it, or back."""
        self.machine.now += seconds

    @rule()
    def the_daemon_does_what_is_due(self) -> None:
        """Renewals ahead of time; what has lived as long as it was to is removed."""
        self.machine.agent.tick()
        self.machine.agent.credential_store.flush()

    @rule(
        lines=st.sampled_from(
            (
                "",
                '[credential "HOST"]\n\tauthtype = bearer\n',
                '[credential "https://bitbucket.org"]\n\tauthtype = bearer\n',
                '[credential "HOST"]\n\ttokenFrom = file:SOURCE\n',
            )
        ),
        is_ours=st.sampled_from((True, True, True, False)),
    )
    def somebody_configures(self, lines: str, *, is_ours: bool) -> None:
        """git, for a host; or takes it out."""
        self.source.write_text(tokens.access_token())
        self.source.chmod(0o600)
        self.machine.configure(lines.replace("SOURCE", str(self.source)), is_ours=is_ours)

    @rule(what=st.sampled_from(("copy", "older", "older", "another's", "gone", "back")))
    def the_file_is_replaced(self, what: str) -> None:
        """By an older copy, by one that has another key, or by none; and put back."""
        vault, old, kept, other = (f"{self.machine.path}{name}" for name in ("", ".old", ".kept", ".other"))
        if what == "another's" and not os.path.exists(other):
            with Vault(FileStorage(other), Key(os.urandom(32), "environment")).transaction() as tx:
                tx.content["credentials"] = []
        if what in ("another's", "gone") and os.path.exists(vault):
            os.replace(vault, kept)
        source, target = {"copy": (vault, old), "older": (old, vault), "gone": ("", ""), "back": (kept, vault)}.get(
            what, (other, vault)
        )
        if os.path.exists(source):
            shutil.copy(source, f"{target}.copied")
            os.replace(f"{target}.copied", target)

    @rule(path=st.sampled_from(("acme", "acme/app")), expires=st.sampled_from(("60", "5000")))
    def a_person_grants(self, path: str, expires: str) -> None:
        """Some repositories, for some time."""
        pairs = [("protocol", "https"), ("host", self.machine.bitbucket.netloc), ("path", path), ("expires", expires)]
        self.machine.verb("grant", *pairs, ("socket", "/nowhere"))


@pytest.fixture
def gits() -> Iterator[list[int]]:
    """Three processes: one that is no git, and two gits that each work on a repository."""
    with ExitStack() as running:
        found = [os.getpid()]
        for name in ("app", "lib"):
            words = ["git", "-c", "read line", "https://bitbucket.org/acme/" + name]
            process = subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE)
            running.callback(process.communicate)
            found.append(process.pid)
        yield found


def test_what_is_answered_again_is_what_would_be_found_anew(
    bitbucket: FakeBitbucket, env: dict[str, str], home: Path, gits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across logins, stores, rejections, renewals, clocks, locks, settings, grants, and whoever asks."""
    monkeypatch.setattr(configured_hosts, "CHECK_INTERVAL_S", 0.0)  # both look at the configuration as it is
    AgainstLookingAnew.known = 0
    run_state_machine_as_test(
        lambda: AgainstLookingAnew(bitbucket, env, home / "vaults", gits),  # type: ignore[arg-type]  # anything that makes a machine will do
        settings=settings(
            max_examples=int(os.environ.get("KNOWN_EXAMPLES", "15")),
            stateful_step_count=20,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert AgainstLookingAnew.known > 200, "else this shows little"


GRID_S = st.sampled_from((-7200.0, -3600.0, -900.0, -60.0, 0.0, 60.0, 900.0, 3600.0, 7200.0))
TIMES = ("expires_at", "forget_at", "suspect_until", "retry_at", "set_aside_at", "ends_at")
SHIFTS_S = (0.0, 0.0, -3600.0, -60.0, -600.0, -1800.0, secret_sources.CACHED_S)
"""From a time in a record to where something changes by it."""
RECORDS = st.builds(
    lambda fixed, times, more: {**fixed, **times, **more},
    st.fixed_dictionaries({"kind": KINDS, "place": st.sampled_from(("", "/acme", "/acme/app")), "minted_at": GRID_S}),
    st.dictionaries(st.sampled_from(TIMES), GRID_S, max_size=3),
    st.sampled_from(
        (
            *({}, {}, {"source": "file:/nowhere"}, {"source": "exec:false"}),
            *({"suspended": (place, kept)} for place in ("/acme/app", "/acme/lib") for kept in (None, 1)),
        )
    ),
)
OLD: dict[str, Any] = {"kind": token_kinds.OAUTH, "place": "", "minted_at": -7200.0}


def as_stored(record: dict[str, Any], begun: float, name: str) -> dict[str, Any]:
    """A record with its times in epoch seconds, from those since `begun`."""
    stored: dict[str, Any] = {
        key: begun + value if isinstance(value, float) else value for key, value in record.items()
    }
    stored |= {"id": name, "generation": 1, "place": f"https://bitbucket.org{record['place']}", "secret": f"of {name}"}
    if record["kind"] == token_kinds.OAUTH:
        stored |= {"refresh_token": "r", "client_id": "c", "endpoint": Endpoint("", "", "", "").to_record()}
    if "suspended" in record:
        place, generation = stored.pop("suspended")
        one = {"at": begun, "until": begun + 60, "times": 1, "counts": True, "generation": generation}
        stored["suspensions"] = {f"https://bitbucket.org{place}": one}
    return stored


@settings(max_examples=int(os.environ.get("TIME_EXAMPLES", "200")))
@given(
    records=st.lists(RECORDS, min_size=1, max_size=3),
    moments=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(SHIFTS_S), st.sampled_from((-2.0, 0.0, 0.0001, 2.0))),
        min_size=2,
        max_size=6,
    ),
)
@example(records=[{**OLD, "expires_at": 60.0, "retry_at": 0.0}], moments=[(2, 0.0, -2.0), (2, 0.0, 2.0)])
@example(
    records=[{**OLD, "kind": token_kinds.ACCESS_TOKEN, "expires_at": 60.0}], moments=[(1, 0.0, -2.0), (1, 0.0, 2.0)]
)
@example(
    records=[{**OLD, "kind": token_kinds.ACCESS_TOKEN, "source": "exec:false"}],
    moments=[(0, 0.0, 2.0), (0, secret_sources.CACHED_S, 2.0)],
)
def test_time_alone_changes_no_answer_that_is_known(
    records: list[dict[str, Any]], moments: list[tuple[int, float, float]]
) -> None:
    """Whatever a credential's times, and wherever a clock is set from one question to the next."""
    begun, now = 1e9, [0.0]
    times = [value for record in records for value in record.values() if isinstance(value, float)]
    vault = Vault(MemoryStorage())
    with vault.transaction() as tx:
        tx.content["credentials"] = [as_stored(record, begun, f"c{nth}") for nth, record in enumerate(records)]
    agent = Agent(
        vault,
        Vault(MemoryStorage()),
        lambda protocol, name: Provider(protocol, name, Endpoint("", "", "", "")),
        lambda _: None,
        lambda _: Future(),  # it never ends: an answer that waits for it is not given at once
        lambda: now[0],
    )
    known = RequestHandler(Dispatcher(agent), VAULT_ID, lambda: agent)
    anew = RequestHandler(Dispatcher(agent), VAULT_ID)
    peer = Peer(0, os.getuid())
    for nth, shift, more in moments:
        now[0] = begun + times[nth % len(times)] + shift + more
        known.look_again()
        for path in ("acme/app.git", "acme/lib.git"):
            data = f"action=get\ntimeout=35\nprotocol=https\nhost=bitbucket.org\npath={path}\n".encode()
            answers = [handler.answer(data, peer, GIT) for handler in (known, anew)]
            assert len({None if isinstance(answer, Deferred) else answer for answer in answers}) == 1


@pytest.fixture
def machine(bitbucket: FakeBitbucket, env: dict[str, str], home: Path) -> Machine:
    """One with a credential of bitbucket.org."""
    (home / "vaults").mkdir(mode=0o700)
    made = Machine(bitbucket, env, home / "vaults")
    made.log_in(token_kinds.ACCESS_TOKEN, "", is_cloud=True)
    return made


def test_what_is_done_counts_for_the_next_request(machine: Machine) -> None:
    """Also for one that arrived together with it."""
    data = machine.request("acme/app.git", is_cloud=True)
    secret = dict(git_protocol.parse_pairs(machine.ask(data)))["password"]
    assert secret in machine.ask(data).decode()
    lines = f"username=x-token-auth\npassword={secret}\n"
    assert machine.ask(machine.request("acme/app.git", lines, "erase", is_cloud=True)) == b"ok=1\n"
    assert machine.ask(data) == b""


def test_an_answer_by_what_the_asking_git_works_on_is_its_own(machine: Machine, gits: list[int]) -> None:
    """Where git does not say the path, its command line does."""
    for place in ("/acme/app", "/acme/lib"):
        machine.log_in(token_kinds.ACCESS_TOKEN, place, is_cloud=True)
    answers = [machine.ask(machine.request(None, is_cloud=True), GIT, git) for git in (*gits, *gits)]
    assert len({*answers}) == 3
    assert answers[:3] == answers[3:]


def test_few_answers_are_known(machine: Machine) -> None:
    """A peer that asks ever new requests does not fill the memory, nor do long ones."""
    for nth in range(2 * MAX_KNOWN + 1):
        assert machine.ask(machine.request(f"acme/app{nth}", is_cloud=True))
    assert 0 < len(machine.agent.credential_store.last_index.answers) <= MAX_KNOWN
    asked = machine.dispatcher.asked
    for _ in range(2):
        assert machine.ask(machine.request("a" * MAX_KNOWN_BYTES, is_cloud=True))
    assert machine.dispatcher.asked == asked + 2


def test_an_answer_that_is_known_is_a_use(machine: Machine) -> None:
    """Of its credential, whose token is renewed while it is in use."""
    (one,) = machine.agent.credential_store.index()
    for _ in range(3):
        machine.now += 60
        machine.handler.look_again()
        assert machine.ask(machine.request(None, is_cloud=True))
        assert machine.agent.credential_store.last_used(one) == machine.now
    assert machine.dispatcher.asked == 2, "of a login and a get"


def test_nothing_is_known_where_each_answer_is_logged(machine: Machine, home: Path) -> None:
    log = access_log.AccessLog(str(home / "log" / "log.jsonl"))
    handler = RequestHandler(Dispatcher(machine.agent, machine.hosts, log), VAULT_ID, machine.hosts.current)
    for pid in (os.getpid(), os.getppid()):
        assert handler.answer(machine.request(None, is_cloud=True), Peer(pid, os.getuid()), GIT)
    log.close()
    assert [line["pid"] for line in access_log.read(log.path)] == [os.getpid(), os.getppid()]


def test_a_lock_leaves_no_answer_in_memory(machine: Machine) -> None:
    assert machine.ask(machine.request(None, is_cloud=True))
    assert machine.agent.credential_store.last_index.answers
    machine.verb("lock")
    assert not machine.agent.credential_store.last_index.answers
    assert machine.ask(machine.request(None, is_cloud=True)) == b""
