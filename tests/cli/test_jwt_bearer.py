"""login --jwt-bearer: an installation of an Atlassian Connect app, for which tokens are minted again and again."""

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

HELPER = "git-credential-bitbucket"
CLIENT_KEY = "ari:cloud:bitbucket::app/1b9ee2b2/installation"


def test_it_is_kept_used_by_git_and_minted_again(keyed: Runner, bitbucket: FakeBitbucket, url: str) -> None:
    """As an OAuth consumer is; what it is minted with is shown nowhere."""
    app = bitbucket.add_consumer()
    words = ("--jwt-bearer", "--host", bitbucket.url, "--for", "acme")
    said = keyed(HELPER, "login", *words, stdin=f"{app.key}\n{CLIENT_KEY}\n{app.secret}\n").stdout
    assert f"Logged in: Connect app for {bitbucket.netloc}/acme" in said
    clone = (
        "git",
        "-c",
        "credential.helper=",
        "-c",
        "credential.helper=bitbucket",
        "-c",
        "credential.useHttpPath=true",
    )
    keyed(*clone, "clone", "-q", url, "app")
    assert keyed(HELPER, "refresh").stdout.startswith(
        f"Renewed: Connect app for {bitbucket.netloc}/acme, valid for 1 h 59 min"
    )
    assert {entry.form["grant_type"] for entry in bitbucket.token_requests()} == {"urn:bitbucket:oauth2:jwt"}
    assert app.secret not in keyed(HELPER, "status", "--json").stdout
    (one,) = listed(keyed)
    assert one["username"] == "x-token-auth"


def test_two_installations_of_one_app_live_side_by_side(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    app = bitbucket.add_consumer()
    for client_key in (CLIENT_KEY, CLIENT_KEY, "another"):
        given = f"{app.key}\n{client_key}\n{app.secret}\n"
        keyed(HELPER, "login", "--jwt-bearer", "--host", bitbucket.url, stdin=given)
    assert [one["state"] for one in listed(keyed)] == ["ready", "ready"]


def test_what_bitbucket_does_not_take_is_not_kept(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """A wrong secret, and a slip of the hand, which is told before Bitbucket is asked."""
    app = bitbucket.add_consumer()
    for given, said in (
        (f"{app.key}\n{CLIENT_KEY}\n{'wrong' * 8}\n", "rejected the Connect app's JWT"),
        (f"{app.key}\ntwo words\n{app.secret}\n", "not a key of a Connect app"),
        (f"{app.key}\n{CLIENT_KEY}\n", "no line on standard input"),
    ):
        refused = keyed(HELPER, "login", "--jwt-bearer", "--host", bitbucket.url, stdin=given, check=False)
        assert refused.returncode == 1
        assert said in refused.stderr
    assert listed(keyed) == []
    assert len(bitbucket.token_requests()) == 1


def test_a_person_is_told_where_the_three_come_from(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    app = bitbucket.add_consumer()
    person = Person({**keyed.env, "TERM": "xterm-256color"}, keyed.folder)
    with person.types(HELPER, "login", "--jwt-bearer", "--host", bitbucket.url) as dialogue:
        dialogue.reads("sharedSecret")
        dialogue.reads("Key of the app: ")
        dialogue.types(app.key)
        dialogue.reads("Client key of the installation: ")
        dialogue.types(CLIENT_KEY)
        dialogue.reads("Shared secret of the installation (not shown): ")
        dialogue.types(app.secret)
        shown = dialogue.ends()
    assert "Logged in: Connect app" in shown
    assert app.secret not in shown
