"""login --oauth --implicit, with real Chromium and at a terminal: what is kept, what is said, and what comes after."""

import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import browser
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.login.chromium import Chromium, ChromiumMissing
from tests.running import Runner

HELPER = "git-credential-bitbucket"
ADDRESS = r"(https://[^\s\x1b]+)[\s\x1b]"


@pytest.fixture
def consumer(bitbucket: FakeBitbucket, keyed: Runner) -> ConsumerKey:
    """A consumer of which git's configuration knows the key, and nobody here the secret."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    consumer = bitbucket.add_consumer(callback=f"http://127.0.0.1:{port}/")
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthRedirectURI", consumer.callback)
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthClientId", consumer.key)
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthScopes", "repository")
    return consumer


def pasted(run: Runner, bitbucket: FakeBitbucket) -> str:
    """Log in by pasting the whole address; returns what was shown. The address holds the token, so it is not."""
    person = Person({**run.env, "TERM": "xterm-256color"}, run.folder)
    words = (HELPER, "login", "--oauth", "--implicit", "--paste", "--host", bitbucket.url)
    with person.types(*words, columns=60) as dialogue:
        address = browser.decide(dialogue.reads_match(ADDRESS), bitbucket.ca_file)
        dialogue.reads("(not shown) > ")
        dialogue.types(address)
        shown = dialogue.ends()
    assert parse_qs(urlsplit(address).fragment)["access_token"][0] not in shown
    return shown


@pytest.mark.usefixtures("consumer")
def test_a_login_without_the_consumers_secret(keyed: Runner, bitbucket: FakeBitbucket, tmp_path: Path) -> None:
    """The secret is neither asked for nor kept; git uses the token; that it ends is said in terminal and browser."""
    url = bitbucket.create_repository("acme/app")
    person = Person({**keyed.env, "TERM": "xterm-256color"}, keyed.folder)
    words = (HELPER, "login", "--oauth", "--implicit", "--no-browser", "--host", bitbucket.url)
    try:
        chromium = Chromium(tmp_path, bitbucket.url)
    except ChromiumMissing as exc:
        pytest.skip(str(exc))
    with chromium, person.types(*words, columns=400) as dialogue:
        chromium.visit(dialogue.reads_match(ADDRESS))
        dialogue.reads("waiting for the browser")
        chromium.click("#grant")
        shown = dialogue.ends()
    assert "it expires in 2 h 0 min and cannot be renewed; log in again then" in shown
    assert f"Logged in: OAuth login for {bitbucket.netloc}" in shown
    keyed("git", "-c", "credential.helper=", "-c", "credential.helper=bitbucket", "clone", "-q", url, "app")
    (one,) = listed(keyed)
    assert (one["state"], one["renewed_at"]) == ("ready", None)
    assert 7000 < one["expires_in"] <= 7200
    refused = keyed(HELPER, "refresh", one["id"], check=False)
    assert refused.returncode == 1


@pytest.mark.usefixtures("consumer")
def test_logging_in_every_two_hours_leaves_one_behind(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Nobody wants to have a token back that ends by itself; log-out tells Bitbucket."""
    for _ in range(2):
        shown = pasted(keyed, bitbucket)
        assert "cannot be renewed" in shown
    (one,) = listed(keyed)
    keyed(HELPER, "logout", one["id"])
    assert listed(keyed) == []


@pytest.mark.parametrize("words", [("--implicit", "--api-token"), ("--implicit", "--client-credentials")])
def test_it_goes_with_oauth_only(keyed: Runner, words: tuple[str, ...]) -> None:
    """Exit code 2, before anything is asked."""
    assert keyed(HELPER, "login", *words, check=False).returncode == 2
