"""Two accounts on one host: who answers, who is replaced, and how a person chooses."""

import json

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"


def login(run: Runner, *names: str, more: tuple[str, ...] = (), check: bool = True) -> str:
    """An API token of an account, which is returned."""
    token = tokens.api_token()
    options = [option for name in names for option in ("--account", name)]
    run(HELPER, "login", "--no-verify", "--api-token", *options, *more, stdin=token, check=check)
    return token


def offered(run: Runner, url: str = "https://bitbucket.org/acme/app") -> str | None:
    """The password that git gets for `url`."""
    filled = run("git", "-c", "credential.helper=bitbucket", "credential", "fill", stdin=f"url={url}\n\n", check=False)
    return dict(line.partition("=")[::2] for line in filled.stdout.split("\n")).get("password")


def test_two_accounts_stand_side_by_side_and_switch_chooses(keyed: Runner) -> None:
    """The newest login answers until a person says otherwise; a username in the URL goes before that."""
    alices = login(keyed, "alice@example.com", "alice")
    bobs = login(keyed, "bob@example.com", "bobby", "712020:01234567-89ab-cdef-0123-456789abcdef")
    assert offered(keyed) == bobs
    said = keyed(HELPER, "switch", "alice").stdout
    assert "Default for bitbucket.org" in said
    assert "alice@example.com" in said
    assert offered(keyed) == alices
    assert offered(keyed, "https://bobby@bitbucket.org/acme/app") == bobs
    assert offered(keyed, "https://bob%40example.com@bitbucket.org/acme/app") == bobs
    marked = {one["account"]: (one["default"], one["answers"]) for one in listed(keyed)}
    assert marked == {"alice@example.com": (True, True), "bob@example.com": (False, False)}
    assert "ready, default" in keyed(HELPER, "status").stdout
    keyed(HELPER, "switch")
    assert offered(keyed) == bobs, "with two accounts, the other one"
    told = json.loads(keyed(HELPER, "explain", "acme/app", "--json", check=False).stdout)
    if told["answer"] is not None:  # git may not be configured here
        assert "bob@example.com" in told["answer"]["what"]


def test_switch_names_the_accounts_that_there_are(keyed: Runner) -> None:
    """And says what is wrong where there is nothing to choose."""
    login(keyed, "alice@example.com")
    assert "only one credential" in keyed(HELPER, "switch", check=False).stderr
    refused = keyed(HELPER, "switch", "carol", check=False)
    assert (refused.returncode, "stored accounts: alice@example.com" in refused.stderr) == (1, True)
    assert "no credential is stored for" in keyed(HELPER, "switch", "alice", "--for", "acme", check=False).stderr
    login(keyed, "bob@example.com", more=("--for", "acme"))
    for words in (["switch"], ["switch", "bob@example.com"]):
        refused = keyed(HELPER, *words, check=False)
        assert refused.returncode == 1
        assert "hint: git uses others without a switch, for bitbucket.org/acme; " in refused.stderr


def test_of_an_accounts_credentials_switch_takes_the_newest(keyed: Runner) -> None:
    """It is what a URL with the account's username gets; nobody has to know an id."""
    login(keyed, "alice", more=("--for", "acme"))
    older = login(keyed, "alice@example.com", "alice")
    newer = login(keyed, "alice2@example.com", "alice", more=("--add",))
    login(keyed, "bob")
    keyed(HELPER, "switch", "alice")
    assert offered(keyed) == newer != older


def test_the_same_account_is_replaced_and_an_unclear_one_is_not(keyed: Runner) -> None:
    login(keyed, "alice@example.com")
    newer = login(keyed, "alice@example.com")
    assert offered(keyed) == newer
    assert [one["state"] for one in listed(keyed)].count("ready") == 1
    refused = keyed(HELPER, "login", "--no-verify", "--api-token", stdin=tokens.api_token(), check=False)
    assert refused.returncode == 1
    assert "may be another account's" in refused.stderr
    assert "--replace" in refused.stderr
    assert offered(keyed) == newer
    beside = login(keyed, more=("--add",))
    assert offered(keyed) == beside
    assert [one["state"] for one in listed(keyed)].count("ready") == 2
    words = ("login", "--no-verify", "--api-token", "--replace")
    told = keyed(HELPER, *words, stdin=tokens.api_token()).stdout
    ids = [one["id"] for one in listed(keyed) if one["account"] == "alice@example.com"]
    restores = [
        f"alice@example.com. To re-enable it within 30 days, run: {HELPER} restore {one}\n" in told for one in ids
    ]
    assert restores.count(True) == 1
    assert told.count("Replaced: API token for bitbucket.org") == 2
    assert (
        "cannot be combined"
        in keyed(HELPER, "login", "--no-verify", "--api-token", "--add", "--replace", check=False).stderr
    )


def test_a_second_access_token_for_one_workspace_is_asked_about(keyed: Runner, person: Person) -> None:
    """Access tokens belong to nobody; at the terminal a person says what becomes of the first."""
    first, second = tokens.access_token(), tokens.access_token()
    keyed(HELPER, "login", "--no-verify", "--access-token", "--for", "acme", stdin=first)
    with person.types(HELPER, "login", "--no-verify", "--access-token", "--for", "acme") as dialogue:
        dialogue.reads("Access token (not shown): ")
        dialogue.types(second)
        dialogue.reads("Expiry date")
        dialogue.types("")
        dialogue.reads("What do you want to do [1]: ")
        dialogue.types("2")
        dialogue.reads("Logged in")
        dialogue.ends()
    assert [one["state"] for one in listed(keyed)] == ["ready", "ready"]


def test_a_second_account_is_asked_for_its_username(keyed: Runner, person: Person) -> None:
    """It is what the Clone button puts into URLs; with one account alone it decides nothing."""
    login(keyed, "alice@example.com")
    with person.types(HELPER, "login", "--no-verify", "--api-token") as dialogue:
        dialogue.reads("API token (not shown): ")
        dialogue.types(tokens.api_token())
        dialogue.reads("Email of your Atlassian account")
        dialogue.types("bob@example.com")
        dialogue.reads("Bitbucket username, as in the URLs of the Clone button")
        dialogue.types("bobby")
        dialogue.reads("Expiry date")
        dialogue.types("")
        dialogue.reads("Logged in")
        dialogue.ends()
    assert {one["bitbucket_username"] for one in listed(keyed)} == {None, "bobby"}


@pytest.mark.parametrize("verb", ["logout", "restore"])
def test_verbs_take_an_account(keyed: Runner, verb: str) -> None:
    login(keyed, "alice@example.com", "alice")
    login(keyed, "bob@example.com")
    if verb == "restore":
        (one,) = [one for one in listed(keyed) if one["account"] == "alice@example.com"]
        login(keyed, "alice@example.com")
        keyed(HELPER, "restore", one["id"])
        assert one["id"] in {one["id"] for one in listed(keyed) if one["state"] == "ready"}
        return
    keyed(HELPER, "logout", "alice")
    assert [one["account"] for one in listed(keyed)] == ["bob@example.com"]


def test_doctor_learns_whose_a_login_is(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Credentials kept by an older version have no username; Bitbucket is asked, where the token may."""
    names = {}
    for email in ("alice@example.com", "bob@example.com"):
        token = bitbucket.issue_api_token(
            email.partition("@")[0], scopes=("read:user:bitbucket", "read:repository:bitbucket")
        )
        keyed(HELPER, "login", "--no-verify", "--api-token", "--host", bitbucket.url, "--account", email, stdin=token)
        names[email] = email.partition("@")[0]
    said = keyed(HELPER, "doctor", "--fix", f"{bitbucket.url}/acme/app", check=False).stdout
    assert "asked Bitbucket for the usernames" in said
    assert {one["account"]: one["bitbucket_username"] for one in listed(keyed)} == names
    assert all(one["account_id"] for one in listed(keyed))
    again = keyed(HELPER, "doctor", f"{bitbucket.url}/acme/app", check=False).stdout
    assert "is not known: a URL" not in again


def test_configure_writes_the_account_that_git_asks_for(run: Runner) -> None:
    """Git's own setting, which an included file may change for a directory."""
    assert "for the account alice where" in run(HELPER, "configure", "--account", "alice").stdout
    run(HELPER, "configure", "--account", "bobby")
    assert run("git", "config", "--get-all", "credential.https://bitbucket.org.username").stdout == "alice\nbobby\n"
    run(HELPER, "configure", "--account", "bobby")
    assert run("git", "config", "credential.https://bitbucket.org.username").stdout == "bobby\n"
    told = run(HELPER, "unconfigure").stdout
    assert "git asks for the account bobby; " in told
    run("sh", "-c", told.partition("to remove that, run: ")[2])
    assert run("git", "config", "credential.https://bitbucket.org.username", check=False).stdout == ""


def test_a_login_beside_another_says_which_answers_and_how_to_choose(keyed: Runner) -> None:
    """Nobody looks for `switch` who does not know that there is something to choose."""
    token = tokens.api_token
    first = keyed(HELPER, "login", "--no-verify", "--api-token", "--account", "alice@example.com", stdin=token()).stdout
    assert "Also stored" not in first
    second = keyed(HELPER, "login", "--no-verify", "--api-token", "--account", "bob@example.com", stdin=token()).stdout
    assert "Also stored for bitbucket.org: alice@example.com." in second
    assert "the new one is used.\nTo choose another one, run: git-credential-bitbucket switch\n" in second
    keyed(HELPER, "switch", "alice@example.com")
    assert (
        "an earlier one is used" in keyed(HELPER, "login", "--no-verify", "--api-token", "--add", stdin=token()).stdout
    )


def test_status_asks_bitbucket_and_a_revoked_token_fails(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """A revoked token looks healthy until somebody asks; one that cannot be asked about is no failure."""
    token = bitbucket.issue_api_token("alice", scopes=("read:user:bitbucket", "read:repository:bitbucket"))
    for names, secret in ((("--account", "alice@example.com"), token), (("--add",), bitbucket.issue_api_token("bob"))):
        keyed(HELPER, "login", "--api-token", "--host", bitbucket.url, *names, stdin=secret)
    said = keyed(HELPER, "status", "--check").stdout
    assert "Bitbucket says that it is valid" in said
    assert "did not say whether it is valid: Bitbucket's REST API accepts an API token only with" in said
    bitbucket.revoke(token)
    refused = keyed(HELPER, "status", "--check", "--json", check=False)
    assert refused.returncode == 1
    assert "error: Bitbucket rejects API token" in refused.stderr
    verdicts = json.loads(refused.stdout)["verdicts"].values()
    assert sorted(one["verdict"] for one in verdicts) == ["", "rejected"]


def test_a_credential_that_one_repository_rejected_is_offered_there_again(keyed: Runner) -> None:
    """The hint of `status` and `doctor` can be typed."""
    token = login(keyed, "alice@example.com")
    text = f"protocol=https\nhost=bitbucket.org\npath=acme/app\nusername=x\npassword={token}\n\n"
    keyed(HELPER, "erase", stdin=text)
    (one,) = listed(keyed)
    assert (one["state"], one["suspended_for"]) == ("ready", ["bitbucket.org/acme/app"])
    asked = "protocol=https\nhost=bitbucket.org\npath=acme/app\n\n"
    assert not keyed(HELPER, "get", stdin=asked, check=False).stdout
    keyed(HELPER, "restore", one["id"])
    assert token in keyed(HELPER, "get", stdin=asked).stdout
    assert listed(keyed)[0]["suspended_for"] == []
