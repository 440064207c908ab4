"""vault show, copy and move with a real daemon, a real server and git's own requests."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.cli.schemas import validated
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import endpoint_of, keep
from tests.valkey import Valkey

HELPER = "git-credential-bitbucket"
VAULT = "GIT_CREDENTIAL_BITBUCKET_VAULT"
PASSPHRASE = "one two three four"


@pytest.fixture
def login(keyed: Runner, bitbucket: FakeBitbucket) -> str:
    """An access token for bitbucket.org, and an OAuth login at the stand-in: its token. A daemon serves both."""
    consumer = bitbucket.add_consumer()
    access, refresh = bitbucket.issue_login(consumer)
    keep(keyed.env, "https://bitbucket.org", tokens.api_token(), kind="api-token")
    more = {"client_id": consumer.key, "client_secret": consumer.secret, "endpoint": endpoint_of(bitbucket).to_record()}
    keep(keyed.env, bitbucket.url, access, kind="oauth", refresh_token=refresh, expires_in=7200, **more)
    return access


def given(run: Runner, bitbucket: FakeBitbucket) -> str:
    """What git is answered and told."""
    done = run(HELPER, "get", stdin=f"protocol=https\nhost={bitbucket.netloc}\npath=acme/app.git\n\n")
    return done.stdout + done.stderr


def events(run: Runner, event: str) -> list[dict[str, Any]]:
    """These lines of the event log of the vault that is set."""
    lines = run(HELPER, "log", "--events", "--json", "--operation", event).stdout.splitlines()
    return [validated("log-events", line) for line in lines]


def test_a_move_to_a_server_and_back(keyed: Runner, bitbucket: FakeBitbucket, login: str, valkey: Valkey) -> None:
    """The daemon that served the vault says at once where it went, and what to set; there, everything works."""
    keyed.env.pop(VAULT, None)
    old = validated("vault-show", keyed(HELPER, "vault", "show", "--json").stdout)
    assert (old["credentials"], old["key_source"], old["moved_to"]) == (2, "file", None)
    assert login in given(keyed, bitbucket)
    said = keyed(HELPER, "vault", "move", valkey.url).stdout
    assert f"Moved to {valkey.url}: 2 credentials.\n" in said
    assert f"Set this where git runs: {VAULT}='{valkey.url}'\n" in said
    told = given(keyed, bitbucket)
    assert login not in told
    assert f"error: the vault was moved to {valkey.url}\n" in told
    assert f"{VAULT}='{valkey.url}'" in told
    for words in ("login --api-token --no-verify", "refresh", "vault move /nowhere/x", "vault copy /nowhere/x"):
        refused = keyed(HELPER, *words.split(), stdin=tokens.api_token(), check=False)
        assert refused.returncode == 1
        assert f"error: the vault was moved to {valkey.url}\n" in refused.stderr
    assert keyed(HELPER, "vault", "move", valkey.url).stdout.endswith(f"{VAULT}='{valkey.url}'\n"), "run again"
    moved = keyed(HELPER, "vault", "show", "--json").stdout
    assert validated("vault-show", moved)["moved_to"] == valkey.url
    here = old["vault"]
    assert f"2 credentials from {here} to {valkey.url}" in keyed(HELPER, "log", "--events").stdout
    keyed.env[VAULT] = valkey.url
    moves = events(keyed, "move")
    assert [(one["from"], one["to"]) for one in moves] == [(here, valkey.url)] * 2, "both vaults' logs tell it"
    assert [one["credentials"] for one in moves] == [2, 0]
    assert login in given(keyed, bitbucket)
    new = validated("vault-show", keyed(HELPER, "vault", "show", "--json").stdout)
    assert (new["credentials"], new["durability"]["appendfsync"]) == (2, "always")
    assert ", appendonly yes, appendfsync always, replicas 0" in keyed(HELPER, "vault", "show").stdout
    assert keyed(HELPER, "refresh").returncode == 0
    assert len(bitbucket.token_requests()) == 1
    keyed(HELPER, "vault", "move", here)
    del keyed.env[VAULT]
    assert {one["state"] for one in listed(keyed)} == {"ready"}
    assert len(listed(keyed)) == 2


def test_a_copy_leaves_logins_and_says_so(keyed: Runner, login: str, home: Path) -> None:
    assert login
    there = str(home / "more" / "vault")
    done = keyed(HELPER, "vault", "copy", there)
    assert done.stdout == f"Copied to {there}: 1 credential.\n"
    assert "warning: not copied: the OAuth login for" in done.stderr
    assert "vault move" in done.stderr
    assert len(listed(keyed)) == 2
    keyed.env[VAULT] = there
    assert [one["kind"] for one in listed(keyed)] == ["api-token"]
    assert [(one["to"], one["credentials"]) for one in events(keyed, "copy")] == [(there, 1)]


def test_where_git_s_configuration_names_the_vault_it_is_changed_there(keyed: Runner, login: str, home: Path) -> None:
    assert login
    first, second = home / "a b" / "vault", home / "c d" / "vault"
    keyed(HELPER, "vault", "move", str(first))
    keyed(HELPER, "daemon", "stop")
    keyed("git", "config", "--global", "credentialBitbucket.vault", str(first))
    assert len(listed(keyed)) == 2
    said = keyed(HELPER, "vault", "move", str(second)).stdout
    assert f"Run: git config --global credentialBitbucket.vault '{second}'\n" in said


def test_a_target_that_cannot_be_used_changes_nothing(keyed: Runner, login: str, valkey: Valkey) -> None:
    """One line says why, without a password. Nor is a vault that cannot be reached shown as an empty one."""
    for to, said in (
        ("redis://alice:made-up@h/0", "contains a password"),
        ("https://h/0", "cannot be read"),
        ("redis:/alice:made-up@h", "cannot be read"),
        ("redis://127.0.0.1:1/0", "cannot be used: no connection"),
        ("/proc/nobody/vault", "error: "),
    ):
        for verb in ("copy", "move"):
            refused = keyed(HELPER, "vault", verb, to, check=False)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert said in refused.stderr
            assert "made-up" not in refused.stderr
            assert refused.stderr.count("error: ") == 1
    assert login
    assert len(listed(keyed)) == 2
    for url, count in ((valkey.url, 0), ("redis://127.0.0.1:1/0", None)):
        keyed.env[VAULT] = url
        assert validated("vault-show", keyed(HELPER, "vault", "show", "--json").stdout)["credentials"] == count


def test_keys_of_the_target(keyed: Runner, login: str, home: Path, person: Person, valkey: Valkey) -> None:
    """A passphrase that is typed for a new one, and asked for again; a wrong one, and a wrong file, are told."""
    assert login
    key_file = keyed.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE")
    keyed(HELPER, "unlock", "--key-file", key_file)
    other = home / "other-key"
    other.touch(mode=0o600)
    other.write_bytes(b64encode(os.urandom(32)))
    refused = keyed(HELPER, "vault", "copy", valkey.url, check=False)
    assert "error: the vault's key is read from" in refused.stderr
    keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = key_file
    made = keyed(HELPER, "vault", "copy", valkey.url, "--key-file", str(other))
    assert "Copied" in made.stdout
    for words in ((), ("--key-file", key_file)):
        refused = keyed(HELPER, "vault", "move", valkey.url, *words, check=False)
        assert f"error: the vault {valkey.url} cannot be opened: the key in " in refused.stderr
    keyed(HELPER, "vault", "move", valkey.url, "--key-file", str(other))
    keyed.env |= {VAULT: valkey.url, "GIT_CREDENTIAL_BITBUCKET_KEY_FILE": str(other)}
    assert len(listed(keyed)) == 2
    there = str(home / "more" / "vault")
    keyed(HELPER, "rekey", "--to", "passphrase", stdin=f"{PASSPHRASE}\n")
    del keyed.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
    person.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE", None)
    person.env[VAULT] = valkey.url
    with person.types(HELPER, "vault", "move", there) as dialogue:
        dialogue.reads("Passphrase of the vault")
        dialogue.types(PASSPHRASE)
        for prompt in ("New passphrase", "Repeat passphrase"):
            dialogue.reads(prompt)
            dialogue.types(f"another {PASSPHRASE}")
        shown = dialogue.ends()
    assert "2 credentials" in shown
    keyed.env[VAULT] = there
    keyed(HELPER, "unlock", stdin=f"another {PASSPHRASE}\n")
    assert len(listed(keyed)) == 2


def test_a_record_that_was_altered_does_not_stop_the_others(
    keyed: Runner, bitbucket: FakeBitbucket, login: str, home: Path, valkey: Valkey
) -> None:
    """A daemon on a host that has never seen it serves the rest, and status and doctor say what is wrong."""
    keyed(HELPER, "vault", "move", valkey.url)
    keyed.env |= {VAULT: valkey.url, "XDG_DATA_HOME": str(home / "another")}
    (other,) = (one["id"] for one in listed(keyed) if one["kind"] == "api-token")
    keyed(HELPER, "daemon", "stop")
    valkey.client().hset(valkey.key(f"cred:{other}"), "blob", b"x" * 99)
    keyed.env["XDG_DATA_HOME"] = str(home / "third")
    assert login in given(keyed, bitbucket)
    for verb in ("status", "doctor"):
        told = keyed(HELPER, verb, check=False)
        assert f"{valkey.url} and are not used: {other}" in (told.stdout + told.stderr).replace("\n", " ")
    refused = keyed(HELPER, "vault", "move", str(home / "more" / "vault"), check=False)
    assert "error: records of the vault were altered" in refused.stderr
