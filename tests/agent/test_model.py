"""The agent against a plain model: never another's secret, never a stale one, never nothing where one is."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent import keeping
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.deferred import finish
from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.vault.memory import MemoryPlace
from git_credential_bitbucket.vault.vault import Vault
from tests.standin import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.standin.client import StandIn

HOSTS = ("one.test", "two.test")
PATHS = (None, "acme/app.git", "acme/lib.git", "Acme/App/info/lfs", "other/app.git", "../x", "acme")
USERS = ("alice", "bob")


@dataclass
class Kept:
    """What the model knows of one credential. `secret` is None while a renewal is due."""

    kind: str
    host: str
    place: tuple[str, ...]
    user: str
    secret: str | None = field(repr=False)
    path: str | None = None
    id: str = ""
    ends: float = float("inf")
    held_until: float = 0.0
    rejections: list[float] = field(default_factory=list)
    aside: bool = False
    by_name: bool = False
    rejected_at: float | None = None
    former: set[str] = field(default_factory=set, repr=False)

    def covers(self, host: str, path: str | None, user: str | None) -> bool:
        """Whether it may answer."""
        if self.host != host:
            return False
        if self.kind == kinds.UNKNOWN and (user not in (None, self.user) or path not in (None, self.path)):
            return False
        if self.by_name and user != self.user:
            return False
        return not path or names(path)[: len(self.place)] == self.place


def names(path: str | None) -> tuple[str, ...]:
    """Workspace and repository in a path, by the plainest reading."""
    parts = (path or "").lower().split("/")[:2]
    return () if not path or ".." in parts else tuple(part.removesuffix(".git") for part in parts)


def at_once(work: Callable[[], Any]) -> Future[Any]:
    """A job that runs here and now."""
    done: Future[Any] = Future()
    try:
        done.set_result(work())
    except Exception as exc:  # noqa: BLE001 - as an executor hands on what a job raised
        done.set_exception(exc)
    return done


class AgainstModel(RuleBasedStateMachine):
    """Random histories of one machine. Its state: the agent, the model, and the time."""

    def __init__(self, standin: StandIn) -> None:
        super().__init__()
        self.standin = standin
        self.now = time.time()
        self.start = self.now
        self.model: list[Kept] = []
        base = standin.url
        self.endpoint = Endpoint(base, f"{base}/site/oauth2/access_token", base, base, standin.ca_file)
        self.agent = Agent(
            Vault(MemoryPlace()),
            Vault(MemoryPlace()),
            lambda p, h: Provider(p, h, self.endpoint) if p == "https" and h in HOSTS else None,
            lambda _: None,
            at_once,
            lambda: self.now,
        )

    def ask(self, operation: str, host: str, path: str | None, *lines: str) -> dict[str, str]:
        """One of git's operations."""
        text = "".join(f"{line}\n" for line in (f"host={host}", *([f"path={path}"] if path else []), *lines))
        reply = finish(getattr(self.agent, operation)(wire.parse(f"protocol=https\n{text}".encode())))
        return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)

    @rule(host=st.sampled_from(HOSTS), path=st.sampled_from(PATHS), user=st.sampled_from(USERS), kind=st.integers(0, 2))
    def type_a_secret(self, host: str, path: str | None, user: str, kind: int) -> None:
        """A person typed a secret at git's prompt, and it worked; or it stood in a URL, while another worked."""
        secret = (tokens.api_token(), tokens.access_token(), "typed-" + os.urandom(9).hex())[kind]
        name = (kinds.API_TOKEN, kinds.ACCESS_TOKEN, kinds.UNKNOWN)[kind]
        self.ask("store", host, path, f"username={user}", f"password={secret}")
        new = Kept(
            name, host, () if name == kinds.API_TOKEN else names(path), user, secret, path if kind == 2 else None
        )
        if any(map(self._stands, self._rivals(new))):
            new.place = names(path)
        rivals = self._rivals(new)
        new.aside = any(map(self._stands, rivals))
        others = [k for k in self.model if (k.kind, k.host, k.place, k.path) == (new.kind, host, new.place, new.path)]
        new.by_name = kind == 0 and not new.aside and any(k.user != user and self._stands(k) for k in others)
        for old in rivals:
            old.aside |= not new.aside
        self.model.append(new)

    def _rivals(self, new: Kept) -> list[Kept]:
        same = [k for k in self.model if (k.kind, k.host, k.place, k.path) == (new.kind, new.host, new.place, new.path)]
        return [k for k in same if new.kind == kinds.ACCESS_TOKEN or k.user == new.user]

    def _stands(self, kept: Kept) -> bool:
        return not (kept.aside or kept.rejections)

    @rule(host=st.sampled_from(HOSTS), path=st.sampled_from(PATHS))
    def log_in(self, host: str, path: str | None) -> None:
        """An OAuth log-in for a place."""
        consumer = self.standin.add_consumer()
        access, refresh = self.standin.issue_login(consumer)
        place = names(path)
        record = {
            "kind": kinds.OAUTH,
            "place": "/".join((f"https://{host}", *place)),
            "secret": access,
            "refresh_token": refresh,
            "client_id": consumer.key,
            "client_secret": consumer.secret,
            "endpoint": self.endpoint.to_record(),
            "expires_in": 7200,
        }
        login = keeping.keep(self.agent.holdings, keeping.from_login(record, self.now), self.now)
        for old in self.model:
            old.aside |= (old.kind, old.host, old.place) == (kinds.OAUTH, host, place)
        self.model.append(Kept(kinds.OAUTH, host, place, "", access, id=login.id, ends=self.now + 7200))

    @rule(
        host=st.sampled_from((*HOSTS, "evil.test")), path=st.sampled_from(PATHS), user=st.sampled_from((None, *USERS))
    )
    def get(self, host: str, path: str | None, user: str | None) -> None:
        """The answer is the model's."""
        lines = [f"username={user}"] if user else []
        answer = self.ask("get", host, path, *lines)
        able = [k for k in self.model if k.covers(host, path, user) and not k.aside and self.now >= k.held_until]
        if not able:
            assert answer == {}
            return
        assert answer, "something was there"
        depth = (max if path else min)(len(k.place) for k in able)
        best = [k for k in able if len(k.place) == depth]
        secret = answer["password"]
        (chosen,) = [k for k in best if k.secret == secret] or self._renewed(best, secret)
        assert secret not in {former for k in self.model for former in k.former}
        assert chosen.ends - self.now >= 600
        expected = {kinds.API_TOKEN: "x-bitbucket-api-token-auth", kinds.UNKNOWN: chosen.user}
        assert answer["username"] == expected.get(chosen.kind, "x-token-auth")

    def _renewed(self, best: list[Kept], secret: str) -> list[Kept]:
        """The log-in that must have been renewed to give `secret`, which the model has not seen."""
        due = [k for k in best if k.kind == kinds.OAUTH and (k.secret is None or k.ends - self.now < 600)]
        index = self.agent.holdings.index()
        due = [k for k in due if (held := index.get(k.id)) and held.secret.reveal() == secret]
        assert len(due) == 1, "a secret that nobody gave us"
        (one,) = due
        if one.secret is not None:
            one.former.add(one.secret)
        one.secret, one.ends = secret, self.now + 7200
        return due

    @precondition(lambda self: any(k.secret for k in self.model))
    @rule(data=st.data())
    def erase_the_current(self, data: st.DataObject) -> None:
        """Git was refused with the current secret."""
        kept = data.draw(st.sampled_from([k for k in self.model if k.secret]))
        user = kept.user if kept.kind == kinds.UNKNOWN else "x"
        path = kept.path or "/".join(kept.place)
        self.ask("erase", kept.host, path, f"username={user}", f"password={kept.secret}")
        if kept.kind == kinds.UNKNOWN:
            kept.aside = True
        elif not kept.aside and self.now >= kept.held_until:
            self._rejected(kept)

    def _rejected(self, kept: Kept) -> None:
        delays = (60, 300, 900, 1800, 3600)
        if kept.kind == kinds.OAUTH:
            if kept.rejected_at is not None and self.now - kept.rejected_at < 60:
                kept.rejections.append(self.now)
                kept.held_until = self.now + delays[min(len(kept.rejections), 5) - 1]
                return
            kept.former.add(kept.secret or "")
            kept.secret, kept.rejected_at = None, self.now
            return
        kept.rejections.append(self.now)
        if len(kept.rejections) >= 3 and self.now - kept.rejections[0] > 3600:
            kept.aside = True
        kept.held_until = self.now + delays[min(len(kept.rejections), 5) - 1]

    @precondition(lambda self: any(k.former for k in self.model))
    @rule(data=st.data(), operation=st.sampled_from(("store", "erase")))
    def tell_of_a_former_token(self, data: st.DataObject, operation: str) -> None:
        """Git's late word about a token that was replaced changes nothing."""
        kept = data.draw(st.sampled_from([k for k in self.model if k.former]))
        former = data.draw(st.sampled_from(sorted(kept.former)))
        path = "/".join(kept.place) or None
        self.ask(operation, kept.host, path, "username=x-token-auth", f"password={former}")

    @rule(seconds=st.sampled_from((1, 20, 61, 301, 1000, 4000, 6700, 7300)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds
        self.standin.advance(seconds)

    def teardown(self) -> None:
        """The stand-in's clock is given back."""
        self.standin.advance(self.start - self.now)


def test_the_agent_does_what_a_plain_model_says(standin: StandIn) -> None:
    """Random stores, log-ins, gets, erases and waits."""
    run_state_machine_as_test(
        lambda: AgainstModel(standin),  # type: ignore[arg-type]  # anything that makes a machine will do
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "80")),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
