"""Other helpers' entries in a real gnome-keyring on a bus of its own: found, told masked, never prompted for."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import secretstorage

from git_credential_bitbucket.scan import keyrings
from git_credential_bitbucket.scan.patterns import CLOUD_HOSTS
from tests.fake_bitbucket import tokens
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


@pytest.fixture
def libsecret_helper(tmp_path: Path) -> Path:
    """The libsecret helper of git: installed, or built from git's contrib as its README says."""
    installed = Path("/usr/lib/git-core/git-credential-libsecret")
    if installed.exists():
        return installed
    source = Path("/usr/share/doc/git/contrib/credential/libsecret/git-credential-libsecret.c")
    needs = "git-credential-libsecret's build takes git's contrib, cc and pkg-config (Debian package libsecret-1-dev)"
    if not source.exists() or shutil.which("cc") is None or shutil.which("pkg-config") is None:
        pytest.skip(needs)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libsecret-1"], capture_output=True, check=False)
    if flags.returncode:
        pytest.skip(needs)
    built = tmp_path / "git-credential-libsecret"
    subprocess.run(["cc", "-w", "-o", built, source, *shlex.split(flags.stdout.decode())], check=True)
    return built


def test_gits_own_libsecret_helper_is_understood(keyring: KeyringSession, libsecret_helper: Path) -> None:
    """The entry is made by the helper itself, with a repository and without."""
    whole, one = tokens.api_token(), tokens.access_token()
    for token, path in ((whole, ""), (one, "path=acme/app.git\n")):
        request = f"protocol=https\nhost=bitbucket.org\n{path}username=alice\npassword={token}\n"
        subprocess.run([libsecret_helper, "store"], input=request.encode(), env=keyring.env, check=True)
    found, _ = keyrings.findings(keyring.env, CLOUD_HOSTS)
    assert {(f.match.secret.reveal() == one, f.match.account, f.match.path) for f in found} == {
        (False, "alice", None),
        (True, "alice", "acme/app.git"),
    }


def test_a_locked_keyring_is_counted_and_never_prompts(keyring: KeyringSession) -> None:
    """Its entries are known to be there; nobody is asked to open them."""
    put(keyring, GCM, tokens.app_password())
    keyring.lock()
    with keyring.watching_prompts() as prompts:
        found, trouble = keyrings.findings(keyring.env, CLOUD_HOSTS)
        assert prompts() == 0
    assert found == []
    assert trouble == "1 entry could not be read: the keyring is locked"


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
