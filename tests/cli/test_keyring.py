"""The verbs with a real gnome-keyring: the first login makes a key in it, rekey moves in and out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.running import Runner
from tests.vault.peers import KeyringSession

HELPER = "git-credential-bitbucket"


@pytest.fixture
def session(home: Path) -> Iterator[KeyringSession]:
    """A desktop's keyring, unlocked."""
    with KeyringSession(home) as session:
        yield session


@pytest.fixture
def desktop(run: Runner, session: KeyringSession) -> Runner:
    """Runs programs in that desktop's session."""
    run.env["DBUS_SESSION_BUS_ADDRESS"] = session.env["DBUS_SESSION_BUS_ADDRESS"]
    return run


def test_a_first_login_asks_nothing_where_there_is_a_keyring(desktop: Runner, session: KeyringSession) -> None:
    """The key is in the keyring, the token in the vault, and a daemon started later finds both."""
    token = tokens.access_token()
    desktop(HELPER, "login", "--no-verify", "--access-token", "--for", "acme", stdin=token)
    assert len([label for label in session.items() if HELPER in label]) == 1
    assert "its key from the keyring" in desktop(HELPER, "status").stdout
    desktop(HELPER, "daemon", "stop")
    filled = desktop(HELPER, "get", stdin="protocol=https\nhost=bitbucket.org\npath=acme/app\n\n")
    assert f"password={token}\n" in filled.stdout


def test_ctrl_c_leaves_no_key_in_the_keyring(desktop: Runner, session: KeyringSession) -> None:
    """It is made with the first credential, not before."""
    with Person({**desktop.env, "TERM": "xterm"}, desktop.folder).types(
        HELPER, "login", "--no-verify", "--api-token"
    ) as dialogue:
        dialogue.reads("API token (not shown): ")
        dialogue.presses("c")
        dialogue.ends(130)
    assert [label for label in session.items() if HELPER in label] == []


def test_a_daemon_from_elsewhere_is_given_the_key(desktop: Runner, session: KeyringSession) -> None:
    """One that cron started has no keyring; the person's login brings the key along."""
    here = desktop.env.pop("DBUS_SESSION_BUS_ADDRESS")
    desktop.env["GIT_CREDENTIAL_BITBUCKET_KEYRING"] = "off"
    desktop(HELPER, "daemon", "start")
    del desktop.env["GIT_CREDENTIAL_BITBUCKET_KEYRING"]
    desktop.env["DBUS_SESSION_BUS_ADDRESS"] = here
    desktop(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token())
    assert len([label for label in session.items() if HELPER in label]) == 1
    assert len(listed(desktop)) == 1


def test_rekey_out_of_the_keyring_and_back(desktop: Runner, session: KeyringSession, home: Path) -> None:
    """The old key is removed from the keyring when it opens nothing any more."""
    desktop(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token())
    key_file = str(home / "key")
    desktop(HELPER, "rekey", "--to", "key-file", "--key-file", key_file)
    assert [label for label in session.items() if HELPER in label] == []
    desktop.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = key_file
    desktop(HELPER, "rekey", "--to", "keyring")
    assert len([label for label in session.items() if HELPER in label]) == 1
    del desktop.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    desktop(HELPER, "daemon", "stop")
    assert len(listed(desktop)) == 1


def test_a_rekey_that_fails_leaves_no_key_behind(desktop: Runner, session: KeyringSession) -> None:
    """The vault is damaged, so it is not re-encrypted; the keyring is as before."""
    desktop(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token())
    before = session.items()
    vault = Path(desktop.env["XDG_DATA_HOME"]) / HELPER / "vault"
    whole = vault.read_bytes()
    for path in vault.parent.glob("vault*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(path.read_bytes()[:-5])
    refused = desktop(HELPER, "rekey", "--to", "keyring", check=False)
    assert refused.returncode == 1
    assert len(session.items()) <= len(before)
    vault.write_bytes(whole)
    desktop(HELPER, "daemon", "stop")
    assert len(listed(desktop)) == 1


def test_a_locked_keyring_is_told_with_the_way_out(desktop: Runner, session: KeyringSession) -> None:
    """Without a terminal a dialogue that nobody answers is not waited for longer than a minute; here it is refused."""
    desktop(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token())
    desktop(HELPER, "daemon", "stop")
    session.lock()
    said = desktop(HELPER, "status").stdout
    assert "(locked, its key from the keyring)" in said
    assert "unlock" in said
    session.unlock()
    assert desktop(HELPER, "unlock").stdout == "The vault is already unlocked.\n"  # by the daemon that this starts
