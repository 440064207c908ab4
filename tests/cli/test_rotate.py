"""rotate: a token is replaced in one step, and the old one can be had back."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log
from tests.cli.listed import keep_consumer, listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.vault.peers import mounted

HELPER = "git-credential-bitbucket"


@pytest.fixture
def old(keyed: Runner, bitbucket: FakeBitbucket) -> str:
    """A repository token that ends in three days, kept."""
    bitbucket.create_repository("acme/app")
    token = bitbucket.issue_access_token("acme/app")
    words = ("--access-token", "--host", bitbucket.url, "--for", "acme/app", "--expires", "3d")
    keyed(HELPER, "login", *words, stdin=f"{token}\n")
    return token


def states(run: Runner) -> dict[str, str]:
    """The state of each credential by its id."""
    return {one["id"]: one["state"] for one in listed(run)}


def given(run: Runner, bitbucket: FakeBitbucket) -> str:
    """What git is given for acme/app."""
    text = f"protocol=https\nhost={bitbucket.netloc}\npath=acme/app.git\n"
    answer = run(HELPER, "get", stdin=text).stdout
    return dict(line.split("=", 1) for line in answer.splitlines())["password"]


def test_a_person_is_guided_from_the_page_to_the_revocation(keyed: Runner, bitbucket: FakeBitbucket, old: str) -> None:
    """Where it is made, the scopes, its end; what is said names no secret, and git has the new one at once."""
    new = bitbucket.issue_access_token("acme/app")
    person = Person({**keyed.env, "TERM": "xterm-256color"}, keyed.folder)
    with person.types(HELPER, "rotate", columns=140) as dialogue:
        dialogue.reads(f"Replacing: the access token for {bitbucket.netloc}/acme/app, expires ")
        dialogue.reads(f"{bitbucket.url}/acme/app/admin/access-tokens")
        dialogue.reads("repository to fetch")
        dialogue.reads("New access token (not shown): ")
        dialogue.types(new)
        dialogue.reads("Expiry date")
        dialogue.types("90d")
        shown = dialogue.ends()
    assert "Bitbucket accepted the token." in shown
    assert f"Replaced: access token for {bitbucket.netloc}/acme/app, expires " in shown
    assert "revoke the old one at Bitbucket here: " in shown
    assert old not in shown
    assert new not in shown
    assert given(keyed, bitbucket) == new
    assert sorted(states(keyed).values()) == ["disabled", "ready"]


def test_the_old_one_comes_back_and_goes_again(keyed: Runner, bitbucket: FakeBitbucket, old: str) -> None:
    """`restore` changes places, however new the other one is, and as often as one likes."""
    (first,) = states(keyed)
    new = bitbucket.issue_access_token("acme/app")
    keyed(HELPER, "rotate", f"{bitbucket.netloc}/acme/app", stdin=f"{new}\n")
    (previous,) = set(states(keyed)) - {first}
    assert states(keyed) == {first: "ready", previous: "disabled"}, "the new one has the id"
    for credential_id, token, other in ((previous, old, first), (first, new, previous)):
        keyed(HELPER, "restore", credential_id)
        assert given(keyed, bitbucket) == token
        assert states(keyed) == {credential_id: "ready", other: "disabled"}
    why = next(one for one in listed(keyed) if one["id"] == previous)
    assert "replaced by a newer one" in why["why"] or "restored" in why["why"]
    assert f"restore {previous}" in why["hint"]


def test_what_bitbucket_refuses_changes_nothing(keyed: Runner, bitbucket: FakeBitbucket, old: str) -> None:
    """Neither does the old one pasted again, a slip, or an end of the input."""
    before = listed(keyed)
    for typed, said in (
        (tokens.access_token(), "Bitbucket rejected the token"),
        (bitbucket.issue_access_token("acme/app")[:-1], "the token looks incomplete"),
        (old, "this token is already stored"),
        ("alice@example.com", "an email"),
        ("", "no line on standard input"),
    ):
        refused = keyed(HELPER, "rotate", stdin=f"{typed}\n" if typed else "", check=False)
        assert refused.returncode == 1
        assert said in refused.stderr
    assert [(one["id"], one["state"], one["ends_at"]) for one in listed(keyed)] == [
        (one["id"], one["state"], one["ends_at"]) for one in before
    ]
    assert given(keyed, bitbucket) == old


def test_a_full_disk_is_said_once_and_nothing_is_lost(keyed: Runner, bitbucket: FakeBitbucket, home: Path) -> None:
    """The old token stays in use, the new one is called for once more when there is room."""
    old, new = (bitbucket.issue_access_token("acme") for _ in range(2))
    with mounted(home / "disk", "size=128k") as disk:
        keyed.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = str(disk / "vault")
        words = ("--access-token", "--host", bitbucket.url, "--for", "acme")
        keyed(HELPER, "login", *words, stdin=old)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        failed = keyed(HELPER, "rotate", stdin=new, check=False)
        assert (failed.returncode, failed.stdout) == (1, "")
        said, hint = failed.stderr.splitlines()
        assert said.endswith(f"the vault {disk / 'vault'} cannot be written: no space left on device")
        assert hint.endswith("the vault's content is unchanged; the new token was not stored, so save it elsewhere")
        assert keyed(HELPER, "token", f"{bitbucket.url}/acme").stdout == f"{old}\n"
        filler.unlink()
        keyed(HELPER, "rotate", stdin=new)
        assert keyed(HELPER, "token", f"{bitbucket.url}/acme").stdout == f"{new}\n"
        keyed(HELPER, "daemon", "stop")


def test_only_the_one_that_is_named_is_replaced(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Two people's API tokens for one host: the other's stays, though nobody said whose the old one is."""
    ids = {}
    for account in ("alice", "bob"):
        token = bitbucket.issue_api_token()
        keyed(HELPER, "login", "--api-token", "--host", bitbucket.url, "--account", account, stdin=f"{token}\n")
        ids[account] = next(one["id"] for one in listed(keyed) if one["account"] == account)
    ambiguous = keyed(HELPER, "rotate", bitbucket.netloc, stdin="x\n", check=False)
    assert "several credentials are stored for this scope" in ambiguous.stderr
    keyed(HELPER, "rotate", ids["bob"], stdin=f"{bitbucket.issue_api_token()}\n")
    assert states(keyed)[ids["alice"]] == "ready"
    assert states(keyed)[ids["bob"]] == "ready"
    assert sorted(states(keyed).values()) == ["disabled", "ready", "ready"]
    assert {one["account"] for one in listed(keyed) if one["state"] == "ready"} == {"alice", "bob"}


def test_what_is_kept_in_memory_is_replaced_in_memory(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    token = bitbucket.issue_access_token("acme")
    words = ("--access-token", "--host", bitbucket.url, "--for", "acme", "--memory")
    keyed(HELPER, "login", *words, stdin=f"{token}\n")
    keyed(HELPER, "rotate", stdin=f"{bitbucket.issue_access_token('acme')}\n")
    keyed(HELPER, "daemon", "stop", "--force")
    assert listed(keyed) == []


def test_what_renews_itself_is_not_rotated(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    assert "no credential is stored that can be rotated" in keyed(HELPER, "rotate", stdin="x\n", check=False).stderr
    keep_consumer(keyed, bitbucket)
    refused = keyed(HELPER, "rotate", bitbucket.netloc, stdin="x\n", check=False)
    assert "only API tokens and access tokens can be rotated" in refused.stderr


def test_the_access_log_has_the_history(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Which one took the place of which, and that it was changed back."""
    keyed.env[access_log.SETTING] = "on"
    bitbucket.create_repository("acme/app")
    words = ("--access-token", "--host", bitbucket.url, "--for", "acme/app")
    keyed(HELPER, "login", *words, stdin=f"{bitbucket.issue_access_token('acme/app')}\n")
    (old,) = states(keyed)
    keyed(HELPER, "rotate", stdin=f"{bitbucket.issue_access_token('acme/app')}\n")
    (previous,) = set(states(keyed)) - {old}
    keyed(HELPER, "restore", previous)
    keyed(HELPER, "daemon", "stop")
    lines = [json.loads(line) for line in keyed(HELPER, "log", "--json").stdout.splitlines()]
    told = [(line["operation"], line.get("credential"), line.get("replaces")) for line in lines]
    assert [each for each in told if each[0] in ("add", "restore")] == [
        ("add", old, None),
        ("add", old, old),
        ("restore", previous, None),
    ]
    assert f"add for {old}" in keyed(HELPER, "log").stdout
