"""The vault's key at the control socket: who may change it, and what opens a vault that a person has locked."""

import base64
import json
import os
from pathlib import Path

import pytest

from git_credential_bitbucket.git_protocol import emit
from tests.daemon.conftest import Start
from tests.daemon.daemons import Daemon
from tests.fake_bitbucket import tokens


def record(material: bytes) -> list[tuple[str, str]]:
    """A key as the verbs take it."""
    return [("key", base64.b64encode(material).decode()), ("source", "file")]


def present_key(env: dict[str, str]) -> bytes:
    """The key that the vault is encrypted with."""
    return Path(env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]).read_bytes()


def test_a_new_key_is_taken_from_who_has_the_present_one(daemon: Daemon, start: Start, home: Path) -> None:
    token, material = daemon.store("acme/app"), os.urandom(32)
    old = [("old_key", base64.b64encode(present_key(daemon.env)).decode())]
    assert daemon.ask("rekey", emit([*record(material), *old])) == b"ok=1\n"
    assert daemon.ask("exit") == b"ok=1\n"
    (home / "new-key").touch(mode=0o600)
    (home / "new-key").write_bytes(material)
    env = {**daemon.env, "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(home / "new-key")}
    assert start(env=env).secret("acme/app") == token


@pytest.mark.parametrize("brought", [None, b"", bytes(32), b"id"])
def test_a_new_key_is_not_taken_from_anybody_else(daemon: Daemon, start: Start, brought: bytes | None) -> None:
    """The owner would be locked out, and tokens that are shown only once gone for good."""
    token = daemon.store("acme/app")
    own = record(os.urandom(32))
    if brought is not None:
        own.append(("old_key", base64.b64encode(brought).decode()))
    assert daemon.ask("rekey", emit(own)).startswith(b"error=")
    assert daemon.secret("acme/app") == token
    daemon.process.kill()
    daemon.ended()
    assert start().secret("acme/app") == token


def test_only_a_persons_unlock_undoes_a_persons_lock(daemon: Daemon) -> None:
    """No key that is at hand does, not even the right one, and no other verb."""
    token, key = daemon.store("acme/app"), present_key(daemon.env)
    (credential,) = [json.loads(daemon.told_about("status")["credential[]"])]
    assert daemon.ask("lock") == b"ok=1\n"
    kept = json.dumps({"kind": "access-token", "place": "https://bitbucket.org", "secret": tokens.access_token()})
    old = ("old_key", base64.b64encode(key).decode())
    for action, fields in (
        ("unlock", []),
        ("unlock", record(key)),
        ("rekey", [*record(os.urandom(32)), old]),
        ("add", [("record", kept)]),
        ("restore", [("id", credential["id"])]),
        ("backup-get", []),
    ):
        assert daemon.ask(action, emit(fields)).startswith(b"error="), action
        assert daemon.secret("acme/app") is None, action
    assert daemon.ask("unlock", emit([*record(key), ("person", "1")])) == b"ok=1\n"
    assert daemon.secret("acme/app") == token
