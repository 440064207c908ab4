"""A daemon that forgets the key when nobody has asked for a while."""

import pytest

from tests.daemon.conftest import Start
from tests.daemon.daemons import cloud, eventually
from tests.standin import tokens

SETTING = "GIT_CREDENTIAL_BITBUCKET_LOCK_AFTER"


def test_idleness_locks_and_a_person_unlocks(start: Start, keyed_env: dict[str, str]) -> None:
    """The key leaves memory though it lies in a file; `get` is silent and says why; the daemon stays for it."""
    daemon = start(env={**keyed_env, SETTING: "0.5", "GIT_CREDENTIAL_BITBUCKET_IDLE_EXIT": "1"})
    secret = tokens.access_token()
    daemon.store("acme/app.git", secret)
    assert daemon.secret("acme/app.git") == secret
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.process.poll() is not None, 3)
    assert daemon.secret("acme/app.git") is None
    told = daemon.told_about("why", cloud("acme/app.git"))
    assert told["state"] == "locked"
    assert "idleness" in told["error"]
    assert told["hint"].endswith("git-credential-bitbucket unlock")
    assert daemon.told_about("unlock", b"person=1\n") == {"ok": "1"}
    assert daemon.secret("acme/app.git") == secret


def test_who_is_asked_does_not_lock(start: Start, keyed_env: dict[str, str]) -> None:
    """Each question begins the time anew."""
    daemon = start(env={**keyed_env, SETTING: "2"})
    secret = tokens.access_token()
    daemon.store("acme/app.git", secret)
    with pytest.raises(AssertionError):
        eventually(lambda: daemon.secret("acme/app.git") != secret, 4)


def test_an_unusable_setting_is_told_instead_of_ready(start: Start, keyed_env: dict[str, str]) -> None:
    """A number of seconds, or nothing."""
    assert start(env={**keyed_env, SETTING: "soon"}).told.startswith(f"error={SETTING} is not a number")
