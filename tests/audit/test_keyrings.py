"""Other helpers' entries in a real gnome-keyring on a bus of its own: found, told masked, never prompted for."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import secretstorage

from git_credential_bitbucket.audit import keyrings
from git_credential_bitbucket.audit.patterns import CLOUD_HOSTS
from tests.standin import tokens
from tests.vault.peers import LOGIN_COLLECTION, KeyringSession

GCM = {"xdg:schema": "com.microsoft.GitCredentialManager", "service": "git:https://bitbucket.org", "account": "alice"}
LIBSECRET = {
    "xdg:schema": "org.git.Password",
    "protocol": "https",
    "server": "bitbucket.org",
    "user": "bob",
    "object": "acme/app.git",
}


@pytest.fixture
def keyring(home: Path) -> Iterator[KeyringSession]:
    """A keyring, unlocked."""
    with KeyringSession(home) as session:
        yield session


def put(session: KeyringSession, attributes: dict[str, str], secret: str) -> None:
    """Keep an entry as the helper does."""
    with closing(session.connection()) as bus:
        collection = secretstorage.Collection(bus, LOGIN_COLLECTION)
        collection.create_item("an entry", attributes, secret.encode())


def test_the_entries_of_both_helpers_are_found(keyring: KeyringSession) -> None:
    """With account and repository; what the libsecret helper keeps behind the password is not taken for it."""
    dead, token = tokens.app_password(), tokens.access_token()
    put(keyring, GCM, dead)
    put(keyring, {**GCM, "service": "git:https://github.com"}, tokens.app_password())
    put(keyring, LIBSECRET, f"{token}\npassword_expiry_utc=1900000000")
    found, trouble = keyrings.findings(keyring.env, CLOUD_HOSTS)
    assert trouble is None
    assert {(f.match.kind, f.match.account, f.match.path) for f in found} == {
        ("app-password", "alice", None),
        ("access-token", "bob", "acme/app.git"),
    }
    assert {f.match.secret.reveal() for f in found} == {dead, token}


def test_git_s_own_libsecret_helper_is_understood(keyring: KeyringSession) -> None:
    """The entry is made by the helper itself, where it is installed."""
    helper = Path("/usr/lib/git-core/git-credential-libsecret")
    if not helper.exists():
        pytest.skip("git-credential-libsecret is not installed (Debian builds it from git's contrib)")
    token = tokens.api_token()
    request = f"protocol=https\nhost=bitbucket.org\nusername=alice\npassword={token}\n"
    subprocess.run([helper, "store"], input=request.encode(), env=keyring.env, check=True)
    [found], _ = keyrings.findings(keyring.env, CLOUD_HOSTS)
    assert found.match.secret.reveal() == token


def test_a_locked_keyring_is_counted_and_never_prompts(keyring: KeyringSession) -> None:
    """Its entries are known to be there; nobody is asked to open them."""
    put(keyring, GCM, tokens.app_password())
    keyring.lock()
    with keyring.watching_prompts() as prompts:
        found, trouble = keyrings.findings(keyring.env, CLOUD_HOSTS)
        assert prompts() == 0
    assert found == []
    assert trouble == "1 entry of the keyring could not be looked into: it is locked"


def test_without_a_keyring_there_is_nothing_to_say(home: Path) -> None:
    """A bus without one, no bus at all, and a person who turned it off."""
    with KeyringSession(home, keyring=False) as session:
        assert keyrings.findings(session.env, CLOUD_HOSTS) == ([], None)
        assert keyrings.findings({**session.env, "GIT_CREDENTIAL_BITBUCKET_KEYRING": "off"}, CLOUD_HOSTS) == ([], None)
    assert keyrings.findings({"HOME": str(home)}, CLOUD_HOSTS) == ([], None)


def test_a_keyring_that_hangs_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that never answers costs the limit and no more, and is said."""
    monkeypatch.setattr(keyrings, "LIMIT_S", 1)
    with KeyringSession(home) as session:
        assert session.keyring is not None
        session.keyring.send_signal(19)  # SIGSTOP
        found, trouble = keyrings.findings(session.env, CLOUD_HOSTS)
    assert (found, trouble) == ([], "the keyring did not answer within 1 seconds")
