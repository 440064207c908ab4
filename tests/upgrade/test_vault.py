"""Vaults that the release 0.1.0 wrote, read by this program: all answers as before, and a write loses nothing."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import VaultLocked, WrongKey
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault
from tests import installed
from tests.agent.conftest import World
from tests.agent.credentials import a_credential
from tests.fake_bitbucket.client import FakeBitbucket
from tests.upgrade import release

ANSWERING = {
    "login": ("login/app.git", "api-token"),
    "nameless": ("nameless/app.git", "api-token"),
    "repository": ("repository/app.git", "access-token"),
    "workspace": ("workspace/any.git", "access-token"),
    "oauth": ("oauth/app.git", "oauth"),
    "implicit": ("implicit/app.git", "oauth"),
    "renewed": ("renewed/app.git", "oauth"),
    "consumer": ("consumer/app.git", "client-credentials"),
    "connect": ("connect/app.git", "jwt-bearer"),
    "lifetime": ("lifetime/app.git", "access-token"),
    "ends": ("ends/app.git", "access-token"),
    "replacing": ("replaced/app.git", "access-token"),
    "standing": ("standing/app.git", "access-token"),
    "typed": ("typed/app.git", "access-token"),
    "unknown": ("unknown/app.git", "unknown"),
    "foreign": ("foreign/app.git", "unknown"),
}
"""What the release answered, by the fixtures' names: for which path, and the secret's kind."""
SILENT = {"disabled": "disabled/app.git", "suspended": "suspended/app.git", "expired": "expired/app.git"}
"""What it held and did not answer with, and for which path."""
TYPED_USERNAMES = {"unknown": "carol", "foreign": "x-token-auth"}


class Upgraded(World):
    """The machine of the agent's tests, with a vault of the release, a second after that was written."""

    def __init__(self, bitbucket: FakeBitbucket, folder: Path, name: str) -> None:
        super().__init__(bitbucket, folder)
        folder.mkdir(mode=0o700)
        for suffix in ("", ".previous"):
            if (kept := release.DATA / f"{name}{suffix}").exists():
                shutil.copyfile(kept, f"{self.path}{suffix}")
                Path(f"{self.path}{suffix}").chmod(0o600)
        self.key = release.KEY
        self.offset = release.MADE_AT + 1 - time.time()

    def find_provider(self, protocol: str, host: str) -> Provider | None:
        """Bitbucket's own host alone is ours."""
        return Provider(protocol, host, self.endpoint) if (protocol, host) == ("https", "bitbucket.org") else None

    def lines(self, text: str = "", path: str = "acme/app.git") -> git_protocol.Request:
        """A request to Bitbucket's own host."""
        head = "protocol=https\nhost=bitbucket.org\n" + (f"path={path}\n" if path else "")
        return git_protocol.parse(f"{head}{text}".encode())

    def secret(self, path: str, text: str = "") -> str | None:
        """The secret that git gets for a path."""
        return self.get(text, path=path).get("password")

    def verb(self, action: str, **fields: str) -> list[str]:
        """The lines that a verb answers."""
        return wait_for(control(self.agent, action, git_protocol.emit(list(fields.items())))).decode().split("\n")[:-1]

    def id_of(self, name: str) -> str:
        """The id of the credential that the fixtures call so."""
        known = {credential.secret.reveal(): credential.id for credential in self.agent.credential_store.index()}
        return known[release.secret(name)]


@pytest.fixture
def states(bitbucket: FakeBitbucket, home: Path) -> Iterator[Upgraded]:
    """The vault with a credential of every kind and in every state."""
    made = Upgraded(bitbucket, home / "vaults", "states.vault")
    yield made
    made.executor.shutdown()


@pytest.fixture
def accounts(bitbucket: FakeBitbucket, home: Path) -> Iterator[Upgraded]:
    """The vault with the API tokens of two accounts, as git stored them."""
    made = Upgraded(bitbucket, home / "vaults", "accounts.vault")
    yield made
    made.executor.shutdown()


def assert_all_there(world: Upgraded) -> None:
    """Each credential answers, or does not, as the release left it; with the username that goes with its kind."""
    for name, (path, kind) in ANSWERING.items():
        answer = world.get(path=path)
        assert answer.get("password") == release.secret(name, kind), name
        assert answer["username"] == (TYPED_USERNAMES.get(name) or token_kinds.git_username(kind)), name
    for name, path in SILENT.items():
        assert world.get(path=path) == {}, name


def test_every_credential_answers_as_before(states: Upgraded) -> None:
    """Of every kind; what was suspended, disabled or expired stays so."""
    assert_all_there(states)
    assert states.get(path="nobody/app.git") == {}


def test_reading_changes_no_byte(states: Upgraded) -> None:
    """Whoever goes back to the release finds what it wrote."""
    before = states.path.read_bytes()
    assert_all_there(states)
    states.verb("status")
    assert states.path.read_bytes() == before


def test_a_write_loses_nothing(states: Upgraded) -> None:
    """A login seals all of it anew: the credentials, and what migrate took out of files."""
    new = states.keep(a_credential("https://bitbucket.org/newcomer", token_kinds.ACCESS_TOKEN))
    states.agent = states.another()
    assert_all_there(states)
    assert states.secret("newcomer/app.git") == new.secret.reveal()
    assert "part[]=what migrate took out of a file" in states.verb("backup-get")
    assert {c.secret.reveal() for c in states.kept()} >= {
        release.secret("expired", "oauth"),
        *(release.secret(name) for name in ("replaced", "in-reserve", "disabled", "suspended")),
    }


def test_the_end_of_a_life_is_still_known(states: Upgraded) -> None:
    """A lifetime that a person gave, and the expiry of a token that nobody renews."""
    assert states.get(path="lifetime/app.git")["password_expiry_utc"] == str(int(release.MADE_AT) - 7200 + 28800)
    assert states.get(path="implicit/app.git")["password_expiry_utc"] == str(int(release.MADE_AT) - 7200 + 28800)
    states.offset += 28800
    assert states.get(path="lifetime/app.git") == {}
    assert states.get(path="implicit/app.git") == {}


def test_a_former_token_is_known(states: Upgraded) -> None:
    """A late erase of what was renewed since takes nothing away."""
    states.erase(release.secret("before-renewed"), path="renewed/app.git")
    assert states.secret("renewed/app.git") == release.secret("renewed", "oauth")


def test_a_suspended_one_comes_back_by_itself(states: Upgraded) -> None:
    """After its delay, which was a minute."""
    states.offset += 60
    assert states.secret("suspended/app.git") == release.secret("suspended")


@pytest.mark.parametrize("name", ["disabled", "replaced", "in-reserve"])
def test_a_disabled_one_can_be_restored(states: Upgraded, name: str) -> None:
    """Whyever it was: rejected too often, replaced, or stored by git while another worked."""
    path = {"disabled": "disabled/app.git", "replaced": "replaced/app.git", "in-reserve": "standing/app.git"}[name]
    assert states.secret(path) != release.secret(name)
    assert states.verb("restore", id=states.id_of(name))[0] == "ok=1"
    assert states.secret(path) == release.secret(name)


def test_what_is_removed_is_gone(states: Upgraded) -> None:
    assert states.secret("repository/app.git") == release.secret("repository")
    assert states.verb("remove", id=states.id_of("repository"))[0] == "ok=1"
    assert states.get(path="repository/app.git") == {}


@pytest.mark.parametrize(("username", "name"), [("", "alice"), ("alice", "alice"), ("bob", "bob")])
def test_two_accounts_are_told_apart(accounts: Upgraded, username: str, name: str) -> None:
    """The second account's API token answers who asks by its username, and nobody else."""
    text = f"username={username}\n" if username else ""
    assert accounts.secret("acme/app.git", text) == release.secret(name, "api-token")


def test_an_address_takes_the_place_of_neither(accounts: Upgraded) -> None:
    """A secret that git stores unasked under an account's name is bound to that name, and the account's token stays."""
    unasked = release.secret("unasked", "api-token")
    for path in ("", "acme/app.git"):
        accounts.store("bob", unasked, path, approved=False)
    for username, name in (("alice", "alice"), ("bob", "bob")):
        assert accounts.secret("acme/app.git", f"username={username}\n") == release.secret(name, "api-token")


def test_a_damaged_one_is_restored_from_the_generation_before(states: Upgraded) -> None:
    """Which the release had kept beside it."""
    whole = states.path.read_bytes()
    states.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert states.secret("login/app.git") == release.secret("login", "api-token")
    assert states.secret("oauth/app.git") == release.secret("oauth", "oauth")


def test_a_write_that_the_release_was_killed_in_is_finished(states: Upgraded) -> None:
    """A whole generation under the name of a write under way is the newest; the next write takes it for that."""
    previous = Path(f"{states.path}.previous")
    whole = states.path.rename(f"{states.path}.new")
    shutil.copyfile(previous, states.path)
    states.path.chmod(0o600)
    states.keep(a_credential("https://bitbucket.org/newcomer", token_kinds.ACCESS_TOKEN))
    assert_all_there(states)
    assert not whole.exists() or whole.stat().st_size == 0


def test_the_release_still_writes_these_vaults(home: Path) -> None:
    """The script beside this runs against the release, whatever has become of this program's names."""
    made = home / "made"
    made.mkdir()
    path = f"{release.unpack(home / 'site')}{os.pathsep}{installed.ROOT}"
    script = Path(__file__).with_name("make.py")
    subprocess.run([sys.executable, script, made], env={"PYTHONPATH": path}, check=True, timeout=60)
    key = Key(release.KEY, "file")
    old, new = (sealed.unseal(key, (folder / "states.vault").read_bytes())[1] for folder in (release.DATA, made))
    told = [[(r["place"], r["secret"]) for r in json.loads(plain)["credentials"]] for plain in (old, new)]
    assert told[0] == told[1]


def place(home: Path, name: str) -> FileStorage:
    """One of the vaults, in a folder of its own."""
    folder = home / "vaults"
    folder.mkdir(mode=0o700)
    path = Path(shutil.copyfile(release.DATA / name, folder / "vault"))
    path.chmod(0o600)
    return FileStorage(str(path))


def test_a_passphrase_opens_what_it_sealed(home: Path) -> None:
    """By the salt and the costs in the header; a wrong one opens nothing."""
    vault = Vault(place(home, "passphrase.vault"))
    header = vault.header()
    assert header is not None
    with pytest.raises(VaultLocked, match="passphrase"):
        key_sources.obtain({}, header)
    with pytest.raises(WrongKey):
        vault.unlock(key_sources.from_passphrase(Secret("another"), header.argon2))
    vault.unlock(key_sources.from_passphrase(Secret(release.PASSPHRASE), header.argon2))
    (record,) = vault.snapshot().content["credentials"]
    assert record["secret"] == release.secret("passphrase")


@pytest.mark.parametrize(("name", "source"), [("states", "file"), ("accounts", "environment"), ("keyring", "keyring")])
def test_the_key_is_sought_where_the_release_had_it(home: Path, name: str, source: str) -> None:
    """The header names the key's source, and the key opens the vault, from wherever it comes."""
    vault = Vault(place(home, f"{name}.vault"))
    header = vault.header()
    assert header is not None
    assert header.source == source
    vault.unlock(Key(release.KEY, source))
    assert vault.snapshot().content["credentials"]
