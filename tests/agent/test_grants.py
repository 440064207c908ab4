"""Grants against a plain model of them: what is outside one is refused, and what it gives is counted exactly."""

import json
import os
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket import access_log, git_protocol
from git_credential_bitbucket.agent import access_log_entry
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED, Agent
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.dispatch import ACTIONS, CONTROL, Caller, Dispatcher
from git_credential_bitbucket.agent.grants import MAX_GRANTS, Grant
from git_credential_bitbucket.agent.status_views import GrantView, status_view
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.test_model import at_once
from tests.fake_bitbucket import tokens

HOST = "bitbucket.org"
SECRETS = {scope: tokens.access_token() for scope in ("acme/app", "acme", "other/app", "other")}
OWNER = Caller(os.getpid(), os.getuid(), CONTROL)


class Granting:
    """An agent with a token for each of four scopes, and its dispatcher. Its state: two clocks, the open sockets."""

    def __init__(self, folder: Path | None = None) -> None:
        """With a `folder`, the vault and both logs are files in there."""
        self.now, self.elapsed = time.time(), 1000.0
        self.open: set[str] = set()
        self.used: list[None] = []
        self.left: list[bool] = []
        endpoint = Endpoint(authorize_url="", token_url="", revoke_url="", api_url="", ca_file=None)
        storage = MemoryStorage() if folder is None else FileStorage(str(folder / "vault"))
        self.log, self.events = (
            None if folder is None else access_log.AccessLog(str(folder / name))
            for name in ("log.jsonl", "events.jsonl")
        )
        vault = Vault(storage, Key(bytes(32), "environment"))
        self.agent = Agent(
            vault,
            Vault(MemoryStorage()),
            lambda protocol, host: Provider(protocol, host, endpoint) if host == HOST else None,
            lambda _: None,
            at_once,
            lambda: self.now,
        )
        self.attach(self.agent)
        self.asked = Dispatcher(
            self.agent, None, self.log, self.events, leave=self.left.append, note_use=lambda: self.used.append(None)
        )
        for scope, secret in SECRETS.items():
            record = {"kind": "access-token", "place": f"https://{HOST}/{scope}", "secret": secret}
            assert self.answer("add", f"record={json.dumps(record)}\n".encode())["ok"] == "1"
        self.used.clear()

    def attach(self, agent: Agent) -> None:
        """Open and close sockets as the daemon does, but for the sockets."""
        agent.grants.elapsed = lambda: self.elapsed
        agent.grants.open_socket = lambda grant: self.open.add(grant.id)
        agent.grants.close_socket = lambda grant: self.open.remove(grant.id)

    def pass_time(self, wall: float, elapsed: float) -> None:
        """Move the clocks."""
        self.now += wall
        self.elapsed += elapsed

    def answer(self, action: str, body: bytes = b"", caller: Caller = OWNER) -> dict[str, str]:
        """What is answered, by key."""
        return dict(git_protocol.parse_pairs(wait_for(self.asked.answer(action, body, caller) or b"")))

    def add(self, path: str | None = "acme/app", *, expires: int = 60, uses: int | None = None) -> Grant:
        """A new grant."""
        told = self.answer("grant", lines(path, expires=expires, **({} if uses is None else {"uses": uses})))
        assert told["ok"] == "1", told
        return next(one for one in self.agent.grants.open_grants() if one.id == told["grant"])

    def ask(self, grant: Grant, action: str, body: bytes) -> bytes:
        """What a peer at a grant's socket is answered."""
        return wait_for(self.asked.answer(action, body, Caller(0, 65534, grant)) or b"")

    def views(self) -> list[GrantView]:
        """What `grant list` is told."""
        answer = wait_for(self.asked.answer("grant-list", b"", OWNER) or b"")
        return [json.loads(value) for key, value in git_protocol.parse_pairs(answer) if key == "grant[]"]


def lines(path: str | None, host: str = HOST, /, **more: object) -> bytes:
    """A request in git's words, with more lines."""
    named = {"protocol": "https", "host": host, **({} if path is None else {"path": path}), **more}
    return "".join(f"{name}={value}\n" for name, value in named.items()).encode()


NAMES = st.sampled_from(
    ["acme", "ACME", "acm", "acmee", "app", "App", "ap", "apps", "other", ".", "..", "", "%61pp", "{x}"]
)
NEAR = st.sampled_from(["acme/apps", "acme/app.gi", "acme/ap", "acmee/app", "acme-2", "acm/e/app", "other/acme/app"])
PATHS = (
    st.lists(NAMES, max_size=4).map("/".join)
    | NEAR
    | st.sampled_from(
        [
            "acme/app.git",
            "acme/app/info/lfs",
            "/acme/app/",
            "acme/app.git.git",
            "acme/x/../app",
            "acme//app",
            "acme/app?x",
        ]
    )
)
SCOPES = st.sampled_from(["acme/app", "acme", "other/app", None])
HOSTS = st.sampled_from([HOST, HOST, HOST, "bitbucket.org:444", "bitbucket.org.evil", "BITBUCKET.ORG", "git.acme.com"])


def model(scope: str | None, host: str, path: str | None) -> list[str]:
    """The secrets that may be given for a request: those of its repository and workspace, none outside the grant.

    As a person would: the names as they stand; where a part could mean another place, the request names none.
    """
    parts = (path or "").lower().removeprefix("/").removesuffix("/").split("/")
    names = [part.removesuffix(".git") for part in parts[:2]]
    if any(part in {"", ".", ".."} for part in parts) or any(not name or "{" in name for name in names):
        names = []
    wanted = scope.split("/") if scope else []
    if host.lower() == HOST and not (scope or path):
        return [*SECRETS.values()]  # as where git asks without a path
    if host.lower() != HOST or names[: len(wanted)] != wanted:
        return []
    return [secret for key, secret in SECRETS.items() if key.split("/") == names[: key.count("/") + 1]]


@settings(max_examples=60)
@given(st.data())
def test_what_is_outside_a_grant_is_refused(data: st.DataObject) -> None:
    """Whatever is asked, through grants for any scope: only the model's secrets come, and nothing changes or ends."""
    made = Granting()
    scope = data.draw(SCOPES)
    grant = made.add(scope)
    before = status_of(made)
    for _ in range(data.draw(st.integers(1, 8))):
        action = data.draw(st.sampled_from(["get", "get", "get", "why", *ACTIONS, "nonsense"]))
        host, path = data.draw(HOSTS), data.draw(st.none() | PATHS)
        more = data.draw(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES), max_size=3))
        reply = made.ask(grant, action, lines(path, host, **more))
        given = [secret for secret in SECRETS.values() if secret.encode() in reply]
        if action == "get":
            allowed = model(scope, host, path)
            assert set(given) <= set(allowed), (scope, host, path)
            assert bool(given) or not allowed or "username" in more, (scope, host, path)
        else:
            assert given == []
            assert action in {"why", "ping", "nonsense"} or reply == ACKNOWLEDGED
    assert status_of(made) == before
    assert (made.left, [one["id"] for one in made.views()]) == ([], [grant.id])


FIELDS = [
    "username",
    "password",
    "id",
    "asked_path",
    "state[]",
    "record",
    "grant",
    "expires",
    "force",
    "telling",
    "replaces",
]
VALUES = ["alice", "other/app", *SECRETS.values(), "1", "60", "{}", "x-token-auth"]


def status_of(made: Granting) -> list[dict[str, Any]]:
    """The credentials, without when each was last used."""
    told = git_protocol.parse_pairs(status_view(made.agent))
    return [{**json.loads(value), "last_used_at": None} for key, value in told if key == "credential[]"]


@pytest.mark.parametrize(("wall", "elapsed"), [(60.0, 0.0), (0.0, 60.0), (1e9, 1.0), (-1e9, 60.0)])
def test_a_grant_expires_by_the_clock_that_is_further(wall: float, elapsed: float) -> None:
    """Setting one back gains nothing, and what has expired does not come to life by a clock set back later."""
    made = Granting()
    grant = made.add(expires=60)
    assert b"password=" in made.ask(grant, "get", lines("acme/app"))
    made.pass_time(wall, elapsed)
    assert made.ask(grant, "get", lines("acme/app")) == b""
    made.pass_time(-wall, -elapsed)
    assert made.ask(grant, "get", lines("acme/app")) == b""
    assert (made.open, made.views()) == (set(), [])


def test_a_grant_gives_until_its_last_second() -> None:
    """The tick that ends it comes when it is due, and no later."""
    made = Granting()
    grant = made.add(expires=60)
    assert made.agent.grants.expire() == pytest.approx(60)
    made.pass_time(59.9, 59.9)
    assert b"password=" in made.ask(grant, "get", lines("acme/app"))
    assert made.agent.tick() == 1.0
    made.pass_time(0.2, 0.2)
    made.agent.tick()
    assert made.open == set()


def test_only_answers_with_a_secret_count() -> None:
    """What is refused, ignored or not there uses nothing up; the last use ends the grant."""
    made = Granting()
    grant = made.add("acme/app", uses=2)
    for _ in range(2):
        made.ask(grant, "get", lines("other/app"))
        made.ask(grant, "why", lines("acme/app"))
        made.ask(grant, "store", lines("acme/app", username="x", password="y"))
        made.ask(grant, "get", lines("acme/app"))
    assert (grant.used, grant.ignored) == (2, 4)
    assert made.ask(grant, "get", lines("acme/app")) == b""
    assert (made.views(), made.open) == ([], set())


def test_an_answer_that_comes_after_the_expiry_is_not_given() -> None:
    """A job's answer is judged when it is there: a grant that was revoked or spent meanwhile gives it no more."""
    made = Granting()
    grant = made.add("acme/app", uses=1)
    ready: Future[None] = Future()
    answer = f"password={SECRETS['acme/app']}\n".encode()
    made.agent.get = lambda *_, **__: Deferred(ready, lambda: answer)  # type: ignore[method-assign]  # when the test says so
    waiting = [made.asked.answer("get", lines("acme/app"), Caller(0, 0, grant)) for _ in range(3)]
    ready.set_result(None)
    assert [wait_for(one or b"") for one in waiting] == [answer, b"", b""]


def test_the_owner_hears_of_a_secret_that_was_rejected_there() -> None:
    """`erase` of what the grant gave is told by `status` and changes nothing; of anything else it is not even told."""
    made = Granting()
    grant = made.add("acme")
    guessed = lines("acme/app", username="x", password=SECRETS["acme/app"])
    assert made.ask(grant, "erase", guessed) == ACKNOWLEDGED
    assert not any(one["why"] for one in status_of(made))
    made.ask(grant, "get", lines("acme/app"))
    assert made.ask(grant, "erase", guessed) == ACKNOWLEDGED
    told = {one["scope"]: (one["state"], one["why"]) for one in status_of(made)}
    assert told["bitbucket.org/acme/app"][0] == "ready"
    assert f"grant {grant.id}" in (told["bitbucket.org/acme/app"][1] or "")
    assert all(why is None for scope, (_, why) in told.items() if scope != "bitbucket.org/acme/app")


def test_no_request_outside_a_grant_keeps_the_vault_open() -> None:
    """Nor the daemon running: only what was given counts as a use."""
    made = Granting()
    grant = made.add("acme/app")
    made.used.clear()
    for action in ACTIONS:
        made.ask(grant, action, lines("other/app", username="x", password="y"))
    assert made.used == []
    made.ask(grant, "get", lines("acme/app"))
    assert len(made.used) == 1


def test_everything_at_a_grant_is_logged_as_it_was_answered(home: Path) -> None:
    """With the grant's id; what was not obeyed as refused, and as no event of a credential's life."""
    made = Granting(home)
    grant = made.add("acme/app")
    for action in ACTIONS:
        made.ask(grant, action, lines("acme/app", username="x", password=SECRETS["acme/app"]))
    for log in made.asked.logs:
        log.close()
    written = [one for one in access_log.read(str(home / "log.jsonl")) if one.get("grant") == grant.id]
    assert [one["operation"] for one in written] == [one for one in ACTIONS if one in access_log_entry.OPERATIONS]
    assert {one["operation"]: one["outcome"] for one in written if one["outcome"] != "refused"} == {"get": "given"}
    assert [one for one in access_log.read(str(home / "events.jsonl")) if one["event"] != "login"] == []


@pytest.mark.parametrize("path", ["acme/app/src", "scm/acme/app", "acme/{web}", "acme/..", "a/b/c.git"])
def test_a_grant_is_for_what_a_request_can_name(path: str) -> None:
    """A path that says more than a scope holds would be widened to it unasked."""
    told = Granting().answer("grant", lines(path, expires=60))
    assert told["error"] == "a grant is for a host, a workspace or a repository"


@pytest.mark.parametrize(
    "wrong", [{"expires": "0"}, {"expires": "2592001"}, {"expires": "x"}, {"uses": "0"}, {"uses": "-1"}, {"peer": "²"}]
)
def test_a_grant_always_ends(wrong: dict[str, str]) -> None:
    """What is no number, or no end, opens nothing."""
    made = Granting()
    told = made.answer("grant", lines("acme/app", **{"expires": "60", **wrong}))
    assert "error" in told
    assert made.open == set()


def test_there_is_an_end_to_grants() -> None:
    """As many as an upgrade can pass on; one that ends makes room."""
    made = Granting()
    first, *_ = [made.add() for _ in range(MAX_GRANTS)]
    assert "grants already" in made.answer("grant", lines("acme/app", expires=60))["error"]
    assert made.answer("grant-revoke", f"grant={first.id}\n".encode()) == {"ok": "1"}
    assert made.ask(first, "get", lines("acme/app")) == b""
    made.add()
    assert "no such grant" in made.answer("grant-revoke", f"grant={first.id}\n".encode())["error"]


def test_a_daemon_with_a_grant_does_not_leave() -> None:
    """Until that has ended: it would end with the daemon."""
    made = Granting()
    assert not made.agent.must_keep_running()
    made.add(expires=60)
    assert made.agent.must_keep_running()
    made.pass_time(61, 61)
    assert not made.agent.must_keep_running()


def test_a_grant_goes_on_in_a_successor() -> None:
    """With its uses, its end by both clocks, and what was rejected at it; as JSON, as an upgrade passes it."""
    made = Granting()
    grant = made.add("acme/app", uses=3)
    made.ask(grant, "get", lines("acme/app"))
    made.ask(grant, "erase", lines("acme/app", password=SECRETS["acme/app"]))
    state = json.loads(json.dumps(made.agent.grants.export()))
    made.agent.grants.restore(state)
    [again] = made.agent.grants.open_grants()
    assert again is not grant
    assert again.to_record() == grant.to_record()
    assert b"password=" in made.ask(again, "get", lines("acme/app"))
    assert any(one["why"] for one in status_of(made))
    made.pass_time(0, 60)
    assert made.ask(again, "get", lines("acme/app")) == b""


def test_why_tells_what_the_socket_is_for() -> None:
    """And of nothing else: neither another scope's state nor its account."""
    made = Granting()
    grant = made.add("acme/app")
    told = dict(git_protocol.parse_pairs(made.ask(grant, "why", lines("other/app"))))
    assert (told["state"], told["error"]) == (
        "outside-grant",
        "this socket answers for bitbucket.org/acme/app only, until it expires",
    )
    assert b"state=ready" in made.ask(grant, "why", lines("acme/app"))


def test_why_leaves_no_mark_on_what_the_owner_is_told() -> None:
    """What is told once a day is told to the owner in full: nobody else's `telling` counts, nor a path beside git's."""
    made = Granting()
    for account in ("alice@example.com", "bob@example.com"):
        record = {"kind": "api-token", "place": f"https://{HOST}", "secret": tokens.api_token(), "account": account}
        made.answer("add", f"record={json.dumps(record)}\nunclear=add\n".encode())
    grant = made.add(None)
    told = made.ask(grant, "why", lines("third/app", username="carol", telling=1, asked_path="acme/app"))
    assert b"state=other-account" in told
    assert made.agent.usernames_reported == {}
