"""How credentials are shown as JSON: what is written field by field, and kept, is what json would write each time."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket.agent import status_views
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.agent.credentials import a_credential, an_oauth_login
from tests.agent.test_model import at_once

NOW = 1_800_000_000.0
TEXT = st.none() | st.text()
TEXTS = st.lists(st.text(), max_size=2).map(tuple)
TIME = st.none() | st.integers(0, 2**40) | st.floats(allow_nan=False, allow_infinity=False)
ANY_TIME = TIME | st.just(float("inf"))
COPIED: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "project": ("project", TEXT),
    "repositories": ("repositories", TEXTS),
    "account": ("account", TEXT),
    "bitbucket_username": ("bitbucket_username", TEXT),
    "account_id": ("account_id", TEXT),
    "default": ("is_default", st.booleans()),
    "oauth_scopes": ("scopes", TEXTS),
    "created_at": ("created_at", TIME.filter(lambda at: at is not None)),
    "last_used_at": ("last_used_at", st.none() | st.floats(1, 1e12)),
    "expires_at": ("expires_at", TIME),
    "ends_at": ("ends_at", ANY_TIME),
    "forget_at": ("forget_at", TIME),
    "trouble": ("trouble", TEXT),
    "trouble_hint": ("trouble_cure", TEXT),
    "origin": ("origin", st.text()),
    "replaced_by": ("replaced_by", TEXT),
}
"""What is shown as it is stored: the record's field, and what that may hold."""


@settings(max_examples=60)
@given(
    st.sampled_from([a_credential, an_oauth_login]),
    st.fixed_dictionaries(dict(COPIED.values())),
    st.fixed_dictionaries({}, optional={"set_aside_at": TIME, "suspect_until": TIME, "source": st.text()}),
)
def test_a_credential_is_encoded_as_json_has_it(
    make: Callable[..., Credential], stored: dict[str, Any], state: dict[str, Any]
) -> None:
    """Byte for byte, with every field of the view in its place."""
    credential = make(**stored, **state)
    ended = None if stored["expires_at"] is None else int(stored["expires_at"] - NOW)
    present = status_views.PresentState(None, [], None, stored["last_used_at"], ended, is_in_memory=False, answers=True)
    encoded = status_views.encode_credential(credential, present)
    view = json.loads(encoded)
    assert json.dumps(view, separators=(",", ":")) == encoded
    assert list(view) == list(status_views.CredentialView.__annotations__)
    shown = {name: tuple(view[name]) if values is TEXTS else view[name] for name, (_, values) in COPIED.items()}
    assert shown == {name: stored[field] for name, (field, _) in COPIED.items()}


AT_ONE = {"at": NOW, "until": NOW + 300, "times": 1, "counts": True, "generation": None}
KEPT = [
    a_credential("https://bitbucket.org/acme", id="a", suspensions={"https://bitbucket.org/acme/app": AT_ONE}),
    a_credential("https://bitbucket.org/acme", id="b", created_at=2.0, suspect_until=NOW + 60),
    a_credential("https://bitbucket.org/acme/app", "access-token", id="c", forget_at=NOW + 90),
    an_oauth_login("https://bitbucket.org/other", minted_at=NOW, life=120, id="d"),
]
CHANGES: dict[str, Callable[[Any], object]] = {
    "a second passes": lambda world: world.pass_time(1),
    "a minute passes": lambda world: world.pass_time(60),
    "the clock is set back": lambda world: world.pass_time(-3600),
    "one is used": lambda world: world.store.mark_used(KEPT[0], world.now),
    "a guest's git rejects one": lambda world: world.reject_as_guest(KEPT[2]),
    "another is made the default": lambda world: world.store.change("b", lambda _: {"is_default": True}),
    "one is disabled": lambda world: world.store.change("a", lambda _: {"set_aside_at": world.now}),
    "one of git's configuration is disabled": lambda world: world.store.change(
        next(one.id for one in world.store.index() if one.is_fetched), lambda _: {"set_aside_at": world.now}
    ),
    "one is stored": lambda world: world.add(a_credential("https://bitbucket.org")),
}


class Shown:
    """An agent with credentials in memory. Its state: the clock."""

    def __init__(self) -> None:
        """With `KEPT`, and a token that git's configuration refers to."""
        self.now = NOW
        vault, memory = Vault(MemoryStorage()), Vault(MemoryStorage())
        self.agent = Agent(vault, memory, lambda *_: None, lambda _: None, at_once, lambda: self.now)
        self.store = self.agent.credential_store
        self.add(*KEPT)
        self.store.configure("https://git.example", "file:/token")

    def add(self, *credentials: Credential) -> None:
        """Keep more."""
        with self.store.transaction(memory=True) as tx:
            tx.content.setdefault("credentials", []).extend(one.to_record() for one in credentials)

    def pass_time(self, seconds: float) -> None:
        """Set the clock."""
        self.now += seconds

    def reject_as_guest(self, credential: Credential) -> None:
        """As git at a grant's socket does that erases a secret."""
        noted = {credential.id: (credential.created_at, "a grant's id", self.now)}
        self.agent.grants.restore({"grants": [], "rejections": noted})


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=8))
def test_what_is_kept_of_a_view_is_what_would_be_made_anew(changes: list[str]) -> None:
    """Whatever a view depends on has changed, and whether or not the credential has."""
    world = Shown()
    status_views.status_view(world.agent)
    for change in changes:
        CHANGES[change](world)
        told, index = status_views.status_view(world.agent), world.store.index()
        assert list(index) == [Credential.from_record(world.store.record(one.id)) for one in index], change
        index.shown.clear()
        assert told == status_views.status_view(world.agent), change
