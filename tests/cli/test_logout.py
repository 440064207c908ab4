"""logout: gone here whatever Bitbucket answers, and the truth about what it answered."""

import pytest

from tests.cli.listed import keep_consumer, listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner
from tests.sandbox import keep

HELPER = "git-credential-bitbucket"


def test_a_login_is_revoked_and_removed(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    told = keep_consumer(keyed, bitbucket)
    assert told.endswith(f"git does not ask this helper yet; run: {HELPER} configure --host {bitbucket.url}\n")
    said = keyed(HELPER, "logout", bitbucket.netloc)
    assert said.stdout.endswith("Revoked at Bitbucket.\n")
    assert len(bitbucket.requests("revoke")) == 1
    assert listed(keyed) == []


def test_a_proxy_that_changed_since_the_login_is_obeyed(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Bitbucket is reached as git's configuration says now."""
    keep_consumer(keyed, bitbucket)
    keyed("git", "config", "--global", "http.proxy", bitbucket.proxy_url)
    assert "Revoked at Bitbucket" in keyed(HELPER, "logout", bitbucket.netloc).stdout
    assert [entry.path for entry in bitbucket.requests("proxy")] == [bitbucket.netloc]


@pytest.mark.parametrize(
    ("fault", "words"),
    [("404", "did not confirm the revocation"), ("403", "rejected the revocation"), ("reset", "did not confirm")],
)
def test_it_is_removed_here_whatever_bitbucket_says(
    keyed: Runner, bitbucket: FakeBitbucket, fault: str, words: str
) -> None:
    """The endpoint is undocumented, and nobody is told that something is revoked which may not be."""
    keep_consumer(keyed, bitbucket)
    bitbucket.script_fault("revoke", fault, count=5)
    said = keyed(HELPER, "logout", bitbucket.netloc)
    assert words in said.stdout
    assert "Revoked at Bitbucket" not in said.stdout
    assert listed(keyed) == []


def test_a_persons_own_token_is_theirs_to_revoke(keyed: Runner) -> None:
    keep(keyed.env, "https://bitbucket.org", tokens.api_token(), kind="api-token")
    said = keyed(HELPER, "logout").stdout
    assert "still valid at Bitbucket: revoke it on the page where you created it: https://" in said
    assert listed(keyed) == []


def test_several_are_listed_where_nobody_can_choose(keyed: Runner) -> None:
    keep(keyed.env, "https://bitbucket.org/acme", tokens.access_token())
    keyed(HELPER, "login", "--no-verify", "--api-token", "--for", "acme", stdin=tokens.api_token())
    refused = keyed(HELPER, "logout", "acme", check=False)
    assert refused.returncode == 1
    assert all(one["id"] in refused.stderr for one in listed(keyed))
    keyed(HELPER, "logout", listed(keyed)[0]["id"])
    assert len(listed(keyed)) == 1


def test_all_of_a_scope_and_all_of_everything(keyed: Runner) -> None:
    """A place is exact: what serves a repository in it stays."""
    keep(keyed.env, "https://bitbucket.org/acme", tokens.access_token())
    keyed(HELPER, "login", "--no-verify", "--api-token", "--for", "acme", stdin=tokens.api_token())
    keep(keyed.env, "https://bitbucket.org/acme/app", tokens.access_token())
    keyed(HELPER, "logout", "acme", "--all")
    assert [one["scope"] for one in listed(keyed)] == ["bitbucket.org/acme/app"]
    keyed(HELPER, "logout", "--all")
    assert listed(keyed) == []
    assert keyed(HELPER, "logout", "--all").stdout == "There is nothing to remove.\n"


def test_a_person_chooses_which(person: Person, keyed: Runner) -> None:
    """By number; what is no number is asked for again."""
    keep(keyed.env, "https://bitbucket.org/acme", tokens.access_token())
    keep(keyed.env, "https://bitbucket.org", tokens.api_token(), kind="api-token")
    with person.types(HELPER, "logout") as dialogue:
        dialogue.reads("Several credentials are stored here:")
        for wrong in ("x", "3"):
            dialogue.reads("Which one: ")
            dialogue.types(wrong)
            dialogue.reads("Type a number from 1 to 2.")
        dialogue.reads("Which one: ")
        dialogue.types("1")
        dialogue.ends()
    assert [one["kind"] for one in listed(keyed)] == ["access-token"]


def test_what_is_not_kept_cannot_be_removed(keyed: Runner) -> None:
    refused = keyed(HELPER, "logout", "acme", check=False)
    assert refused.returncode == 1
    assert "hint: see: git-credential-bitbucket status" in refused.stderr
