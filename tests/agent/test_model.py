"""The agent against a plain model: random histories of logins, stores, questions, rejections and restarts.

Which credential answers is the model's word, and no question changes what the next one gets.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.model import ACCESS, API, OAUTH, UNKNOWN, USERNAMES, Kept, Model, names, repository_of
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket

T = TypeVar("T")
HOSTS = st.sampled_from(("one.test", "one.test", "one.test", "two.test"))
UUIDS = "{}/{01234567-89ab-cdef-0123-456789abcdef}/info/lfs"
PLAIN = (None, "acme/app.git", "acme/lib.git")
PATHS = st.sampled_from((*PLAIN, *PLAIN, "Acme/App/info/lfs", "other/app.git", "acme", "acme/x/../app", "../x", UUIDS))
PLACES = st.sampled_from((None, None, None, "acme", "acme/app", "acme/lib"))
PERSONS = st.sampled_from(({"account": "alice@example.com", "bitbucket_username": "alice"}, {"account": "bob"}, {}))
USERS = st.sampled_from((None, None, "alice", "Alice@example.com", "bob", "carol", *sorted(set(USERNAMES.values()))))
QUESTIONS = st.sampled_from((None, "token", "explain", "status", "why"))
UNCLEAR = st.sampled_from(("replace", "add", "ask"))
REPOSITORIES = st.sampled_from((None, "app", "app", "lib", "lib"))
KINDS = st.sampled_from((API, ACCESS, UNKNOWN))
APPROVED = st.lists(st.booleans(), min_size=1, max_size=3)
ASKED = st.sampled_from((None, ("password", 5), ("both", 5), ("both", 700)))
TYPED = st.sampled_from(("alice", "bob", "carol", "x-token-auth"))


def within(scope: tuple[str, ...], place: str | None) -> str | None:
    """The path of a repository in a scope: its own, or `place` where there are several; None where git names none."""
    if place is None:
        return None
    return "/".join((scope + ("acme", place)[len(scope) :])[:2])


def drawn(data: st.DataObject, things: list[T]) -> T:
    """One of them, by its number: what hypothesis tells of a failure then holds no secret."""
    return things[data.draw(st.integers(0, len(things) - 1))]


def at_once(work: Callable[[], Any]) -> Future[Any]:
    """A job that runs here and now."""
    done: Future[Any] = Future()
    try:
        done.set_result(work())
    except Exception as exc:  # noqa: BLE001 - as an executor hands on what a job raised
        done.set_exception(exc)
    return done


class AgainstModel(RuleBasedStateMachine):
    """Random histories of one machine. Its state: the agent and its storages, the model, and the time."""

    def __init__(self, bitbucket: FakeBitbucket) -> None:
        super().__init__()
        self.standin = bitbucket
        self.now = self.start = time.time()
        self.model = Model()
        base = bitbucket.url
        self.endpoint = Endpoint(base, f"{base}/site/oauth2/access_token", base, base, bitbucket.ca_file)
        self.storages = (MemoryStorage(), MemoryStorage())
        self.agent = self.another()

    def another(self) -> Agent:
        """A new process on what is kept."""
        return Agent(
            Vault(self.storages[0]),
            Vault(self.storages[1]),
            lambda p, h: Provider(p, h, self.endpoint) if p == "https" and h.endswith(".test") else None,
            lambda _: None,
            at_once,
            lambda: self.now,
        )

    def lines(self, host: str, path: str | None, user: str | None, secret: str | None = None) -> bytes:
        """A request in git's words."""
        fields = {"host": host, "path": path, "username": user, "password": secret}
        return b"protocol=https\n" + "".join(f"{k}={v}\n" for k, v in fields.items() if v is not None).encode()

    def verb(self, action: str, body: bytes) -> dict[str, str]:
        """What a verb answers, each key's last line."""
        reply = wait_for(control(self.agent, action, body)).decode()
        return dict(line.split("=", 1) for line in reply.split("\n") if line)

    @rule(host=HOSTS, path=PATHS, user=TYPED, kind=KINDS, approved=APPROVED, asked=ASKED, fails=st.booleans())
    def git_stores(
        self,
        host: str,
        path: str | None,
        user: str,
        kind: str,
        approved: list[bool],
        asked: tuple[str, int] | None,
        fails: bool,
    ) -> None:
        """Secrets that worked: typed at a prompt some time ago, approved by a script, or out of somebody's address.

        Each takes the place of the one before, and perhaps the last does not work any more.
        """
        if asked is not None:
            self.git_asks(host, path, user if asked[0] == "password" else None, None)
            self.pass_time(asked[1])
        secret = ""
        for word in approved:
            self.now += 1
            secret = {API: tokens.api_token, ACCESS: tokens.access_token}.get(kind, lambda: os.urandom(9).hex())()
            request = git_protocol.parse(self.lines(host, path, user, secret))
            wait_for(self.agent.store(request, approves=lambda word=word: word))  # type: ignore[misc]  # bound here
            if kind == UNKNOWN and user == USERNAMES[ACCESS]:
                self._forget(secret)  # another helper's OAuth token, which ends after two hours
                self.model.closes(host, path, user, self.now)
            else:
                self.model.store(Kept(kind, host, (), secret, self.now), path, user, approved=word, now=self.now)
            self.git_asks(host, path, user, "token")
        if fails and (kept := next((k for k in self.model.kept if k.secret == secret), None)):
            self.a_server_says(kept, path, accepted=False)
            self.git_asks(host, path, user, None)

    def _forget(self, secret: str) -> None:
        """Have a person remove what the model does not tell of."""
        self.agent.credential_store.index()
        (found,) = (c for c in self.agent.credential_store.index() if c.secret.reveal() == secret)
        self.verb("remove", f"id={found.id}\n".encode())

    @rule(host=HOSTS, path=PLACES, person=PERSONS, kind=st.sampled_from((API, ACCESS, OAUTH)), unclear=UNCLEAR)
    def a_person_logs_in(self, host: str, path: str | None, person: dict[str, str], kind: str, unclear: str) -> None:
        """For a host, a workspace or a repository."""
        self.now += 1
        record: dict[str, object] = {"kind": kind, "place": "/".join((f"https://{host}", *names(path)))}
        if kind == OAUTH:
            consumer = self.standin.add_consumer()
            access, refresh = self.standin.issue_login(consumer)
            record |= {"secret": access, "refresh_token": refresh, "expires_in": 7200, "client_id": consumer.key}
            record |= {"client_secret": consumer.secret, "endpoint": self.endpoint.to_record()}
        else:
            record["secret"] = tokens.api_token() if kind == API else tokens.access_token()
        record |= {} if kind == ACCESS else person
        answer = self.verb("add", git_protocol.emit([("record", json.dumps(record)), ("unclear", unclear)]))
        new = Kept(kind, host, names(path), str(record["secret"]), self.now, answer.get("id", ""), minted=self.now)
        new.names = frozenset(name.lower() for name in person.values()) if kind != ACCESS else frozenset()
        assert self.model.log_in(new, unclear, self.now) == bool(new.id)

    @rule(host=HOSTS, path=PATHS, user=USERS, before=QUESTIONS)
    def anybody_asks(self, host: str, path: str | None, user: str | None, before: str | None) -> None:
        """The answer is the model's, whatever was asked before."""
        self.git_asks(host, path, user, before)

    def git_asks(self, host: str, path: str | None, user: str | None, before: str | None) -> None:
        """A question of git's, with another one `before`."""
        if before == "token":
            self.assert_chosen(host, path, user, self.verb("token", self.lines(host, path, user)), rest=True)
        elif before is not None:
            self.verb(before, self.lines(host, path, user) if before != "status" else b"")
        reply = wait_for(self.agent.get(git_protocol.parse(self.lines(host, path, user)))).decode()
        answer = dict(line.split("=", 1) for line in reply.split("\n") if line)
        self.assert_chosen(host, path, user, answer, rest=False)
        if not answer:
            self.model.missed(host, path, user, self.now)

    def assert_chosen(
        self, host: str, path: str | None, user: str | None, answer: dict[str, str], *, rest: bool
    ) -> None:
        """The answer is what the model chooses, and a token that is to be replaced was."""
        chosen = self.model.choice(host, path, user, self.now, rest=rest)
        if chosen is None:
            assert answer == {}
            return
        assert answer, "something was there"
        if chosen.must_renew(self.now, repository_of(host, path)):
            known = {secret for kept in self.model.kept for secret in (kept.secret, *kept.former)}
            assert answer["password"] not in known
            chosen.renewed(answer["password"], self.now)
        assert answer["password"] == chosen.secret
        assert answer["username"] == (USERNAMES.get(chosen.kind) or (chosen.typed or ("",))[0])

    @precondition(lambda self: self.model.kept)
    @rule(
        data=st.data(),
        words=st.lists(
            st.tuples(st.booleans(), REPOSITORIES, st.sampled_from((1, 1, 61, 700))), min_size=3, max_size=9
        ),
    )
    def servers_speak(self, data: st.DataObject, words: list[tuple[bool, str | None, int]]) -> None:
        """Git tells what became of a secret, some seconds apart: it worked at some repository, or it did not."""
        kept = drawn(data, self.model.kept)
        for accepted, place, seconds in words:
            path = kept.typed[1] if kept.typed else within(kept.scope, place)
            if kept.disabled or kept.dropped or kept not in self.model.kept:
                return
            self.a_server_says(kept, path, accepted)
            for there in (path, within(kept.scope, "other")):
                self.git_asks(kept.host, there, kept.typed[0] if kept.typed else None, None)
            self.pass_time(seconds)

    def a_server_says(self, kept: Kept, path: str | None, accepted: bool) -> None:
        """Git's word about a secret that is kept."""
        self.now += 1
        user = kept.typed[0] if kept.typed else USERNAMES[kept.kind]
        request = git_protocol.parse(self.lines(kept.host, path, user, kept.secret))
        repository = repository_of(kept.host, path)
        if accepted:
            wait_for(self.agent.store(request))
            if self.model.closes(kept.host, path, user, self.now) and kept.unasked:  # somebody was asked, and typed it
                self.model.kept.remove(kept)
                self.model.store(
                    Kept(kept.kind, kept.host, (), kept.secret, self.now), path, user, approved=True, now=self.now
                )
            else:
                self.model.accept(kept, repository)
        else:
            wait_for(self.agent.erase(request))
            self.model.reject(kept, repository, self.now)

    @precondition(lambda self: any(kept.former for kept in self.model.kept))
    @rule(data=st.data(), operation=st.sampled_from(("store", "erase")))
    def git_tells_of_a_former_token(self, data: st.DataObject, operation: str) -> None:
        """Its late word about a token that was replaced changes nothing."""
        kept = drawn(data, [kept for kept in self.model.kept if kept.former])
        former = drawn(data, sorted(kept.former))
        path = "/".join(kept.scope) or None
        wait_for(
            getattr(self.agent, operation)(git_protocol.parse(self.lines(kept.host, path, "x-token-auth", former)))
        )
        if operation == "store":
            self.model.closes(kept.host, path, "x-token-auth", self.now)

    @precondition(lambda self: any(kept.id and not kept.disabled for kept in self.model.kept))
    @rule(data=st.data())
    def a_person_chooses(self, data: st.DataObject) -> None:
        """A scope's default."""
        kept = drawn(data, [kept for kept in self.model.kept if kept.id and not kept.disabled])
        self.verb("default", f"id={kept.id}\n".encode())
        self.model.make_default(kept)

    @rule(seconds=st.sampled_from((1, 20, 61, 301, 1000, 4000, 6700, 7300)))
    def time_passes(self, seconds: int) -> None:
        """A while."""
        self.pass_time(seconds)

    def pass_time(self, seconds: int) -> None:
        """For both sides."""
        self.now += seconds
        self.standin.advance(seconds)

    @rule()
    def a_daemon_ends(self) -> None:
        """The next one knows what is kept, and nothing of what git asked for in vain."""
        self.agent.close()
        self.agent = self.another()
        self.model.misses.clear()

    def teardown(self) -> None:
        """The stand-in's clock is given back."""
        self.standin.advance(self.start - self.now)


def test_the_agent_does_what_a_plain_model_says(bitbucket: FakeBitbucket) -> None:
    run_state_machine_as_test(
        lambda: AgainstModel(bitbucket),  # type: ignore[arg-type]  # anything that makes a machine will do
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "185")),
            stateful_step_count=30,
            phases=[Phase.generate],  # a history is short, and to shorten it further takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


REQUESTS = st.lists(st.tuples(PATHS, USERS), min_size=1, max_size=8)
LOGINS = st.lists(st.tuples(st.sampled_from((API, API, ACCESS)), PLACES, PERSONS), min_size=2, max_size=6)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(logins=LOGINS, requests=REQUESTS, again=st.data())
def test_no_question_changes_what_the_next_one_gets(
    tmp_path_factory: pytest.TempPathFactory,
    logins: list[tuple[str, str | None, dict[str, str]]],
    requests: list[tuple[str | None, str | None]],
    again: st.DataObject,
) -> None:
    """Whatever order they are asked in, by whichever verb, and whether or not uses were written down meanwhile."""
    clock = [time.time()]
    folder = tmp_path_factory.mktemp("vault")
    folder.chmod(0o700)
    vault = Vault(FileStorage(str(folder / "vault")), Key(os.urandom(32), "environment"))
    endpoint = Endpoint("", "", "", "")
    agent = Agent(
        vault, Vault(MemoryStorage()), lambda p, h: Provider(p, h, endpoint), lambda _: None, at_once, lambda: clock[0]
    )
    for kind, path, person in logins:
        clock[0] += 1
        secret = tokens.api_token() if kind == API else tokens.access_token()
        record = {"kind": kind, "place": "/".join(("https://one.test", *names(path))), "secret": secret}
        record |= person if kind == API else {}
        wait_for(control(agent, "add", git_protocol.emit([("record", json.dumps(record)), ("unclear", "add")])))

    def asked(action: str, path: str | None, user: str | None) -> bytes:
        clock[0] += 1
        text = {"path": path, "username": user}
        pairs = [("protocol", "https"), ("host", "one.test"), *((k, v) for k, v in text.items() if v is not None)]
        body = git_protocol.emit(pairs)
        return wait_for(agent.get(git_protocol.parse(body)) if action == "get" else control(agent, action, body))

    first = {request: asked("get", *request) for request in requests}
    for path, user in again.draw(st.permutations(requests)):
        asked(again.draw(st.sampled_from(("get", "token", "explain", "status", "why"))), path, user)
        agent.close()
        assert {request: asked("get", *request) for request in requests} == first
