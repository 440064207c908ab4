"""How credentials are shown as JSON: what is written out field by field is what json would write."""

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
    "ends_at": ("ends_at", TIME),
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
    agent = Agent(Vault(MemoryStorage()), Vault(MemoryStorage()), lambda *_: None, lambda _: None, at_once, lambda: NOW)
    credential = make(**stored, **state)
    encoded = status_views.encode_credential(credential, agent, NOW, "a scope")
    view = json.loads(encoded)
    assert json.dumps(view, separators=(",", ":")) == encoded
    assert list(view) == list(status_views.CredentialView.__annotations__)
    shown = {name: tuple(view[name]) if values is TEXTS else view[name] for name, (_, values) in COPIED.items()}
    assert shown == {name: stored[field] for name, (field, _) in COPIED.items()}
