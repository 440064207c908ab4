"""lock, unlock, rekey and refresh, with a real daemon, a real vault file and passphrases typed at a terminal."""

import os
from base64 import b64encode
from pathlib import Path

import pytest

from tests.cli.listed import keep_consumer, listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import keep

HELPER = "git-credential-bitbucket"
REQUEST = "protocol=https\nhost=bitbucket.org\n\n"
PASSPHRASE = "one two three four"


@pytest.fixture
def token(keyed: Runner) -> str:
    """A token that is kept."""
    token = tokens.api_token()
    keep(keyed.env, "https://bitbucket.org", token, kind="api-token")
    return token


def gets(run: Runner, token: str) -> bool:
    """Whether git would get it."""
    return f"password={token}\n" in run(HELPER, "get", stdin=REQUEST).stdout


def rekeyed(person: Person, *words: str, first: tuple[str, ...] = ()) -> str:
    """Type rekey to a passphrase; `first` is asked for before."""
    with person.types(HELPER, "rekey", *words) as dialogue:
        for answer in first:
            dialogue.reads("Passphrase of the vault")
            dialogue.types(answer)
        for prompt in ("New passphrase", "Repeat passphrase"):
            dialogue.reads(prompt)
            dialogue.types(PASSPHRASE)
        return dialogue.ends()


def test_locked_by_hand_means_until_unlocked_by_hand(keyed: Runner, token: str) -> None:
    """Also where the key could be had without asking."""
    assert gets(keyed, token)
    assert "unlock" in keyed(HELPER, "lock").stdout
    assert not gets(keyed, token)
    assert keyed(HELPER, "unlock").stdout == "Vault unlocked.\n"
    assert gets(keyed, token)
    assert keyed(HELPER, "unlock").stdout == "The vault is already unlocked.\n"


def test_a_token_where_the_passphrase_belongs_is_told_as_one(keyed: Runner, person: Person, token: str) -> None:
    """Not as a wrong passphrase, which would be tried again."""
    rekeyed(Person(keyed.env, person.folder), "--to", "passphrase")
    keyed(HELPER, "lock")
    keyed.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    refused = keyed(HELPER, "unlock", stdin=token, check=False)
    assert refused.returncode == 1
    assert "this is a Bitbucket token, not the vault's passphrase" in refused.stderr
    assert token not in refused.stderr


def test_a_vault_whose_key_file_is_not_named_says_how_to_name_it(keyed: Runner, token: str) -> None:
    keyed(HELPER, "daemon", "stop")
    key_file = keyed.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    for words in (("token",), ("unlock",)):
        refused = keyed(HELPER, *words, check=False)
        assert refused.returncode == 1
        assert "or run: git-credential-bitbucket unlock --key-file FILE\n" in refused.stderr
    keyed(HELPER, "unlock", "--key-file", key_file)
    assert keyed(HELPER, "token").stdout == f"{token}\n"


def test_what_is_in_a_locked_vault_is_not_said_to_be_nowhere(keyed: Runner, token: str) -> None:
    """Nor is anything taken for all that is kept because it is in memory; that is still named by its id."""
    assert gets(keyed, token)
    keyed(
        HELPER, "login", "--no-verify", "--access-token", "--for", "acme/app", "--memory", stdin=tokens.access_token()
    )
    [vaulted] = [one["id"] for one in listed(keyed) if one["scope"] == "bitbucket.org"]
    keyed(HELPER, "lock")
    [remembered] = [one["id"] for one in listed(keyed)]
    for verb in ("logout", "refresh", "restore", "expires", "rotate"):
        for what in ("bitbucket.org", "acme/app", vaulted):
            refused = keyed(HELPER, verb, what, check=False)
            assert refused.returncode == 1
            assert "locked" in refused.stderr, (verb, what)
            assert "git-credential-bitbucket unlock" in refused.stderr
    for words in (["logout", "--all"], ["refresh"], ["expires"], ["rotate"]):
        assert "locked" in keyed(HELPER, *words, check=False).stderr
    assert [one["id"] for one in listed(keyed)] == [remembered]
    keyed(HELPER, "expires", remembered, "90d")
    keyed(HELPER, "logout", remembered)
    keyed(
        HELPER, "login", "--no-verify", "--access-token", "--for", "acme/app", "--memory", stdin=tokens.access_token()
    )
    keyed(HELPER, "unlock")
    assert vaulted in [one["id"] for one in listed(keyed)]


@pytest.mark.parametrize("verb", ["refresh", "logout bitbucket.org", "rekey --to passphrase", "login --api-token"])
def test_no_other_verb_undoes_a_lock(keyed: Runner, person: Person, token: str, verb: str) -> None:
    """Although the key lies in a file, and somebody is at the terminal: `unlock` was to be typed."""
    keyed(HELPER, "lock")
    with person.types(HELPER, *verb.split()) as dialogue:
        dialogue.reads("the vault was locked by hand")
        dialogue.reads("git-credential-bitbucket unlock")
        dialogue.ends(1)
    assert not gets(keyed, token)


def test_a_get_in_a_terminal_does_not_undo_a_lock(keyed: Runner, person: Person, token: str) -> None:
    """Git is told nothing, and the person what to type."""
    keyed(HELPER, "lock")
    command = f"printf 'protocol=https\\nhost=bitbucket.org\\n\\n' | {HELPER} get > answer"
    with person.types("sh", "-c", command, GIT_TERMINAL_PROMPT="1") as dialogue:
        dialogue.reads("the vault was locked by hand")
        dialogue.reads("git-credential-bitbucket unlock")
        dialogue.ends()
    assert token not in (keyed.folder / "answer").read_text()
    assert not gets(keyed, token)
    keyed(HELPER, "unlock")
    assert gets(keyed, token)


def test_lock_is_refused_where_no_daemon_may_run(keyed: Runner) -> None:
    """There is nobody to hold it locked, and nobody is led to believe it."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_DAEMON"] = "off"
    refused = keyed(HELPER, "lock", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_a_passphrase_takes_the_key_files_place(keyed: Runner, person: Person, token: str) -> None:
    """The old key opens nothing any more; the passphrase does, typed or piped."""
    assert "its key comes from a passphrase" in rekeyed(person, "--to", "passphrase")
    assert gets(keyed, token)
    keyed(HELPER, "lock")
    refused = keyed(HELPER, "unlock", "--key-file", keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"], check=False)
    assert "not the vault's" in refused.stderr
    refused = keyed(HELPER, "unlock", stdin="something else\n", check=False)
    assert refused.returncode == 1
    assert "wrong passphrase" in refused.stderr
    assert "something else" not in refused.stderr
    refused = keyed(HELPER, "unlock", check=False)
    assert "hint: see: git-credential-bitbucket unlock --help\n" in refused.stderr
    assert not gets(keyed, token)
    keyed(HELPER, "unlock", stdin=f"{PASSPHRASE}\n")
    assert gets(keyed, token)


def test_back_to_a_key_file_that_is_made_for_us_alone(keyed: Runner, person: Person, token: str, home: Path) -> None:
    """Mode 0600 from birth; a locked vault is unlocked on the way."""
    rekeyed(person, "--to", "passphrase")
    keyed(HELPER, "lock")
    made = home / "new-key"
    said = keyed(HELPER, "rekey", "--to", "key-file", "--key-file", str(made), stdin=f"{PASSPHRASE}\n").stdout
    assert f"GIT_CREDENTIAL_BITBUCKET_KEY_FILE={made}" in said
    assert made.stat().st_mode & 0o777 == 0o600
    keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = str(made)
    keyed(HELPER, "daemon", "stop")
    assert gets(keyed, token)


def test_the_environments_key(keyed: Runner, token: str) -> None:
    refused = keyed(HELPER, "rekey", "--to", "environment", check=False)
    assert "GIT_CREDENTIAL_BITBUCKET_KEY is not set" in refused.stderr
    assert gets(keyed, token)
    keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY"] = b64encode(os.urandom(32)).decode()
    keyed(HELPER, "rekey", "--to", "environment")
    keyed(HELPER, "daemon", "stop")
    assert gets(keyed, token)


@pytest.mark.parametrize("words", [("--to", "keyring"), ("--to", "key-file", "--key-file", "/nowhere/key")])
def test_a_key_that_cannot_be_had_changes_nothing(keyed: Runner, token: str, words: tuple[str, ...]) -> None:
    """The keyring is off here, and the folder does not exist."""
    refused = keyed(HELPER, "rekey", *words, check=False)
    assert refused.returncode == 1
    assert "hint: " in refused.stderr
    assert gets(keyed, token)


@pytest.mark.parametrize("words", [("--to", "passphrase", "--key-file", "x"), ("--to", "key-file"), ()])
def test_options_that_do_not_go_together(keyed: Runner, words: tuple[str, ...]) -> None:
    refused = keyed(HELPER, "rekey", *words, check=False)
    assert refused.returncode == 2
    assert "hint: see: git-credential-bitbucket rekey --help" in refused.stderr
    assert ("--to key-file needs --key-file FILE" in refused.stderr) == (words == ("--to", "key-file"))


def test_a_key_file_s_path_can_be_typed_into_a_shell(keyed: Runner, token: str, home: Path) -> None:
    said = keyed(HELPER, "rekey", "--to", "key-file", "--key-file", str(home / "my keys")).stdout
    assert f"GIT_CREDENTIAL_BITBUCKET_KEY_FILE='{home}/my keys'" in said
    keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = str(home / "my keys")
    assert gets(keyed, token)


def test_an_empty_passphrase_changes_nothing(keyed: Runner, person: Person, token: str) -> None:
    with person.types(HELPER, "rekey", "--to", "passphrase") as dialogue:
        dialogue.reads("New passphrase")
        dialogue.types("")
        shown = dialogue.ends(1)
    assert "the vault's key is unchanged" in shown
    assert "--memory" not in shown
    assert gets(keyed, token)


@pytest.mark.parametrize("verb", ["unlock", "rekey --to passphrase"])
def test_without_a_vault_there_is_nothing_to_open(keyed: Runner, verb: str) -> None:
    """The first login makes one."""
    refused = keyed(HELPER, *verb.split(), stdin=f"{PASSPHRASE}\n", check=False)
    assert refused.returncode == 1
    assert "there is no vault yet" in refused.stderr


def test_a_get_in_a_terminal_asks_for_the_passphrase(keyed: Runner, person: Person, token: str) -> None:
    """A wrong one is told; standard output has the answer for git and nothing else."""
    rekeyed(person, "--to", "passphrase")
    keyed(HELPER, "lock")
    command = f"printf 'protocol=https\\nhost=bitbucket.org\\n\\n' | {HELPER} get > answer"
    with person.types("sh", "-c", command, GIT_TERMINAL_PROMPT="1") as dialogue:
        dialogue.reads("git needs a credential for bitbucket.org")
        for typed in ("wrong", PASSPHRASE):
            dialogue.reads("Passphrase of the vault (not shown): ")
            dialogue.types(typed)
        dialogue.ends()
    assert f"password={token}\n" in (keyed.folder / "answer").read_text()
    assert "Passphrase" not in (keyed.folder / "answer").read_text()


def test_refresh_renews_what_can_be_renewed(keyed: Runner, bitbucket: FakeBitbucket, token: str) -> None:
    """And says for how long; a static token is no failure among several, but one when it is named."""
    assert token
    keep_consumer(keyed, bitbucket)
    before = len(bitbucket.token_requests())
    said = keyed(HELPER, "refresh").stdout
    assert said == f"Renewed: OAuth consumer for {bitbucket.netloc}, valid for 1 h 59 min\n"
    assert len(bitbucket.token_requests()) == before + 1
    assert keyed(HELPER, "refresh", "bitbucket.org", check=False).returncode == 1
    assert keyed(HELPER, "refresh", bitbucket.netloc).returncode == 0


def test_refresh_says_what_bitbucket_said(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """The old token is still good, and still offered."""
    keep_consumer(keyed, bitbucket)
    bitbucket.script_fault("token", "503")
    refused = keyed(HELPER, "refresh", check=False)
    assert refused.returncode == 1
    assert "503" in refused.stderr
    assert listed(keyed)[0]["state"] == "ready"
    assert keyed(HELPER, "refresh").stdout.startswith("Renewed: "), "within the pause after a failure"


def test_a_vault_that_is_yet_to_be_is_not_locked(keyed: Runner) -> None:
    """A login would be told to unlock it, and `unlock` to log in."""
    refused = keyed(HELPER, "lock", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no vault yet" in refused.stderr
    token = tokens.api_token()
    keep(keyed.env, "https://bitbucket.org", token, kind="api-token")
    assert gets(keyed, token)


def test_lock_is_refused_where_no_daemon_can_be_started(keyed: Runner, token: str) -> None:
    """Nobody is led to believe that the vault is locked: here the socket's directory cannot be made."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_SOCKET"] = "/proc/nobody/here/socket"
    refused = keyed(HELPER, "lock", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert gets(keyed, token)


@pytest.mark.parametrize("daemon", ["on", "off"])
def test_a_directory_at_the_vaults_path_is_told(keyed: Runner, home: Path, daemon: str) -> None:
    """Whoever asks: one cause and one cure, and no traceback."""
    place = home / "folder" / "vault"
    place.mkdir(mode=0o700, parents=True)
    place.parent.chmod(0o700)
    keyed.env |= {"GIT_CREDENTIAL_BITBUCKET_VAULT": str(place), "GIT_CREDENTIAL_BITBUCKET_DAEMON": daemon}
    for words in (("login", "--no-verify", "--api-token"), ("logout", "acme"), ("unlock",)):
        refused = keyed(HELPER, *words, stdin=tokens.api_token(), check=False)
        assert refused.returncode == 1
        assert f"error: {place} is not a plain file\n" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "unreadable" in keyed(HELPER, "status", check=False).stdout
