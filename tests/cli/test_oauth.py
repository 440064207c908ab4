"""login --oauth, and logging in while git waits: a terminal by pexpect, consent by a small browser, the stand-in."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import ROOT
from tests.cli.listed import listed
from tests.cli.person import Person
from tests.fake_bitbucket import browser
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.login.chromium import Chromium
from tests.login.test_connection_owner import as_root, visit_as_another
from tests.running import Runner
from tests.sockets import free_port

HELPER = "git-credential-bitbucket"
ADDRESS = r"(https://[^\s\x1b]+)[\s\x1b]"


def configured_consumer(run: Runner, bitbucket: FakeBitbucket, *, with_secret: bool) -> ConsumerKey:
    """A consumer in git's configuration, whose callback is a port that is free now."""
    consumer = bitbucket.add_consumer(callback=f"http://127.0.0.1:{free_port()}/")
    settings = {"oauthRedirectURI": consumer.callback, "oauthClientId": consumer.key}
    if with_secret:
        settings["oauthClientSecret"] = consumer.secret
    for key, value in settings.items():
        run("git", "config", "--global", f"credential.{bitbucket.url}.{key}", value)
    return consumer


@pytest.fixture
def consumer(bitbucket: FakeBitbucket, keyed: Runner) -> ConsumerKey:
    """A consumer that git's configuration has."""
    return configured_consumer(keyed, bitbucket, with_secret=True)


@pytest.fixture
def consumer_of_others(bitbucket: FakeBitbucket, keyed: Runner) -> ConsumerKey:
    """A consumer of which git's configuration knows the key, and nobody here the secret."""
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthScopes", "repository")
    return configured_consumer(keyed, bitbucket, with_secret=False)


@pytest.fixture
def clicking(home: Path, bitbucket: FakeBitbucket) -> str:
    """What $BROWSER names: a browser that consents at once."""
    script = home / "browser"
    command = f"{sys.executable} -m tests.fake_bitbucket.browser --ca {bitbucket.ca_file}"
    script.write_text(f'#!/bin/sh\ncd {ROOT} && exec {command} "$1"\n')
    script.chmod(0o700)
    return str(script)


def person_of(run: Runner) -> Person:
    """Somebody at a terminal with that environment."""
    return Person({**run.env, "TERM": "xterm-256color"}, run.folder)


@pytest.mark.usefixtures("consumer")
def test_a_login_in_the_browser_is_kept_and_used_by_git(keyed: Runner, bitbucket: FakeBitbucket, clicking: str) -> None:
    """Nothing is typed: the consumer is configured, the browser consents, and the account may be asked for."""
    url = bitbucket.create_repository("acme/app")
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthScopes", "account repository")
    with person_of(keyed).types(HELPER, "login", "--oauth", "--host", bitbucket.url, BROWSER=clicking) as dialogue:
        dialogue.reads("Allow access in the browser.")
        shown = dialogue.ends()
    assert f"Logged in: OAuth login for {bitbucket.netloc} of alice, stored in the vault." in shown
    keyed("git", "-c", "credential.helper=", "-c", "credential.helper=bitbucket", "clone", "-q", url, "app")
    (one,) = listed(keyed)
    assert one["account"] == "alice"
    assert one["renewal_due_at"] > one["renewed_at"]


@pytest.mark.usefixtures("consumer")
def test_without_the_account_scope_nobody_asks_whose_it_is(
    keyed: Runner, bitbucket: FakeBitbucket, clicking: str
) -> None:
    """Git does not need it, so it is neither wanted nor missed."""
    keyed.env["BROWSER"] = clicking
    said = keyed(HELPER, "login", "--oauth", "--host", bitbucket.url)
    assert f"OAuth login for {bitbucket.netloc}, stored" in said.stdout
    assert bitbucket.requests("api") == []


@pytest.mark.usefixtures("consumer")
def test_pasting_the_address_where_there_is_no_browser(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """A wrong paste is told and asked for again."""
    with person_of(keyed).types(HELPER, "login", "--oauth", "--host", bitbucket.url, columns=60) as dialogue:
        dialogue.reads("No browser can be opened from here")
        address = dialogue.reads_match(ADDRESS)
        dialogue.reads("> ")
        dialogue.types(address)
        dialogue.reads("This is the address to open.")
        dialogue.reads("> ")
        dialogue.types(browser.decide(address, bitbucket.ca_file))
        dialogue.ends()
    assert len(listed(keyed)) == 1


@pytest.mark.usefixtures("consumer")
def test_ctrl_c_instead_of_pasting_leaves_nothing_behind(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Also after a paste that belongs to another login."""
    words = (HELPER, "login", "--oauth", "--paste", "--host", bitbucket.url)
    with person_of(keyed).types(*words, columns=200) as dialogue:
        dialogue.reads("> ")
        dialogue.types("http://localhost:34106/?code=of&state=another")
        dialogue.reads("belongs to another login")
        dialogue.reads("> ")
        dialogue.presses("c")
        dialogue.ends(130)
    assert listed(keyed) == []


@pytest.mark.usefixtures("consumer")
def test_ctrl_c_while_waiting_for_the_browser_leaves_nothing_behind(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """The port is free again, and nothing is kept."""
    words = (HELPER, "login", "--oauth", "--no-browser", "--host", bitbucket.url)
    for _ in range(2):
        with person_of(keyed).types(*words) as dialogue:
            dialogue.reads("Open this address in a browser on this computer")
            dialogue.reads("Waiting.")
            dialogue.presses("c")
            dialogue.ends(130)
    assert listed(keyed) == []


@pytest.mark.usefixtures("consumer")
def test_a_refusal_in_the_browser_is_said_in_the_terminal(
    keyed: Runner, bitbucket: FakeBitbucket, clicking: str
) -> None:
    script = Path(clicking)
    script.write_text(script.read_text().replace("--ca", "--button deny --ca"))
    keyed.env["BROWSER"] = clicking
    refused = keyed(HELPER, "login", "--oauth", "--host", bitbucket.url, check=False)
    assert refused.returncode == 1
    assert "access was denied in the browser" in refused.stderr


def test_only_what_is_missing_of_a_consumer_is_advised(person: Person, keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """A key that is configured already needs no advice; that its secret is asked for has its reason."""
    consumer = bitbucket.add_consumer()
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.oauthClientId", consumer.key)
    words = (HELPER, "login", "--oauth", "--memory", "--paste", "--host", bitbucket.url)
    with person.types(*words, columns=300) as dialogue:
        dialogue.reads("Secret of the consumer (not shown): ")
        dialogue.presses("c")
        shown = dialogue.ends(130)
    assert f"in plain text: credential.{bitbucket.url}.oauthClientSecret" in shown
    assert "oauthClientId" not in shown


def test_a_consumer_that_is_not_configured_is_asked_for(
    person: Person, keyed: Runner, bitbucket: FakeBitbucket
) -> None:
    consumer = bitbucket.add_consumer()
    words = (HELPER, "login", "--oauth", "--memory", "--paste", "--account", "bob", "--host", bitbucket.url)
    with person.types(*words) as dialogue:
        dialogue.reads("/workspace/settings/api")
        dialogue.reads(consumer.callback)
        dialogue.reads("To store its key in git's configuration, run:")
        dialogue.reads(f"git config --global credential.{bitbucket.url}.oauthClientId KEY")
        dialogue.reads("in plain text:")
        dialogue.reads("Key of the consumer: ")
        dialogue.types(consumer.key)
        dialogue.reads("Secret of the consumer (not shown): ")
        dialogue.types(consumer.secret)
        dialogue.reads("allow access:")
        address = dialogue.reads_match(ADDRESS)
        dialogue.reads("> ")
        dialogue.types(browser.decide(address, bitbucket.ca_file, account="bob"))
        shown = dialogue.ends()
    assert "of bob, stored in memory only" in shown
    assert consumer.secret not in shown
    assert len(listed(keyed)) == 1


@pytest.mark.usefixtures("consumer")
def test_a_grant_that_cannot_be_kept_is_given_back(
    keyed: Runner, bitbucket: FakeBitbucket, clicking: str, home: Path
) -> None:
    """The vault cannot be written: that is said, and Bitbucket is told that nobody holds the login."""
    keyed(HELPER, "status")
    data = home / ".local" / "share"
    data.mkdir(exist_ok=True)
    (data / HELPER).write_text("a file where the vault's directory belongs")
    keyed.env["BROWSER"] = clicking
    refused = keyed(HELPER, "login", "--oauth", "--host", bitbucket.url, check=False)
    assert refused.returncode == 1
    assert "hint: " in refused.stderr
    assert len(bitbucket.token_requests()) == len(bitbucket.requests("revoke"))


@pytest.mark.usefixtures("consumer")
def test_a_clone_in_a_terminal_logs_in_on_the_way(keyed: Runner, url: str, clicking: str) -> None:
    """Git waits, the person picks the browser, the clone goes on; git's own output stays git's."""
    keyed.env["GIT_TERMINAL_PROMPT"] = "1"
    words = ("git", "-c", "credential.helper=", "-c", "credential.helper=bitbucket", "clone", url, "app")
    with person_of(keyed).types(*words, BROWSER=clicking) as dialogue:
        dialogue.reads("git needs a credential for")
        dialogue.reads("let git ask for username and password")
        dialogue.reads("How do you want to authenticate [1]: ")
        dialogue.types("")
        dialogue.reads("Logged in: OAuth login")
        dialogue.ends()
    assert (keyed.folder / "app" / ".git").is_dir()


@pytest.fixture
def started(home: Path) -> tuple[str, Path]:
    """What $BROWSER names, and the FIFO that it writes its argument to: the test goes on with it."""
    fifo, script = home / "opened", home / "browser"
    os.mkfifo(fifo)
    script.write_text(f'#!/bin/sh\nprintf %s "$1" >{fifo}\n')
    script.chmod(0o700)
    return str(script), fifo


@as_root
@pytest.mark.usefixtures("consumer")
def test_somebody_else_s_browser_is_told_at_the_terminal(
    keyed: Runner, bitbucket: FakeBitbucket, started: tuple[str, Path]
) -> None:
    """Other users read the start page's address in the browser's arguments: they open nothing, and spend nothing."""
    script, fifo = started
    words = (HELPER, "login", "--oauth", "--host", bitbucket.url)
    with person_of(keyed).types(*words, BROWSER=script) as dialogue:
        start = fifo.read_text()
        heard = visit_as_another(start, urlsplit(start).path, tries=2)
        assert "login --oauth --paste" in heard
        assert bitbucket.url not in heard
        dialogue.reads("Note: the login page rejected a program")
        dialogue.reads("--paste")
        command = [sys.executable, "-m", "tests.fake_bitbucket.browser", "--ca", str(bitbucket.ca_file), start]
        subprocess.run(command, check=True, cwd=ROOT, timeout=60)
        dialogue.reads("Logged in: OAuth login")
        assert dialogue.ends().count("rejected a program") == 1


@pytest.mark.usefixtures("consumer")
def test_a_clone_in_a_terminal_logs_in_by_a_real_browser(
    keyed: Runner, bitbucket: FakeBitbucket, url: str, tmp_path: Path, started: tuple[str, Path]
) -> None:
    """Git waits, the person consents in Chromium, whose page says what was granted; the clone goes on.

    What Chromium was started with, which other users can read, holds no state; the terminal shows where it leads.
    """
    keyed.env["GIT_TERMINAL_PROMPT"] = "1"
    words = ("git", "-c", "credential.helper=", "-c", "credential.helper=bitbucket", "clone", url, "app")
    script, fifo = started
    with (
        Chromium(tmp_path, bitbucket.url) as chromium,
        person_of(keyed).types(*words, BROWSER=script, columns=400) as dialogue,
    ):
        dialogue.reads("How do you want to authenticate [1]: ")
        dialogue.types("")
        shown = dialogue.reads_match(ADDRESS)
        start = fifo.read_text()
        assert start.startswith("http://127.0.0.1:")
        assert "state" not in start
        chromium.visit(start)
        chromium.text("#grant")
        assert chromium.address() == shown
        chromium.click("#grant")
        dialogue.reads("Logged in: OAuth login")
        dialogue.ends()
        assert chromium.text("main h1").startswith("You are logged in")
        assert "repository:write" in chromium.text("main")
        assert "You can close this tab." in chromium.text("main")
    assert (keyed.folder / "app" / ".git").is_dir()


@pytest.mark.usefixtures("consumer")
def test_a_clone_in_a_terminal_takes_a_token_for_the_repository(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Bitbucket is asked about the repository that git works on, so nobody has to say what the token is for."""
    url = bitbucket.create_repository("acme/app")
    token = bitbucket.issue_access_token("acme/app")
    keyed.env["GIT_TERMINAL_PROMPT"] = "1"
    keyed("git", "config", "--global", f"credential.{bitbucket.url}.useHttpPath", "true")
    words = ("git", "-c", "credential.helper=", "-c", "credential.helper=bitbucket", "clone", url, "app")
    with person_of(keyed).types(*words) as dialogue:
        dialogue.reads("How do you want to authenticate")
        dialogue.types("3")
        dialogue.reads("Access token (not shown): ")
        dialogue.types(token)
        dialogue.reads("Bitbucket says that it is for acme/app.")
        dialogue.reads("Expiry date")
        dialogue.types("")
        dialogue.ends()
    assert (keyed.folder / "app" / ".git").is_dir()
    (one,) = listed(keyed)
    assert one["scope"] == f"{bitbucket.netloc}/acme/app"


def implicit_login(run: Runner, bitbucket: FakeBitbucket) -> str:
    """Log in by pasting the whole address; returns what was shown. The address holds the token, so it is not."""
    words = (HELPER, "login", "--oauth", "--implicit", "--paste", "--host", bitbucket.url)
    with person_of(run).types(*words, columns=60) as dialogue:
        address = browser.decide(dialogue.reads_match(ADDRESS), bitbucket.ca_file)
        dialogue.reads("(not shown) > ")
        dialogue.types(address)
        shown = dialogue.ends()
    assert parse_qs(urlsplit(address).fragment)["access_token"][0] not in shown
    return shown


@pytest.mark.usefixtures("consumer_of_others")
def test_an_implicit_login_takes_no_secret_of_the_consumer(
    keyed: Runner, bitbucket: FakeBitbucket, tmp_path: Path
) -> None:
    """The secret is neither asked for nor kept; git uses the token; that it ends is said in terminal and browser."""
    url = bitbucket.create_repository("acme/app")
    words = (HELPER, "login", "--oauth", "--implicit", "--no-browser", "--host", bitbucket.url)
    with Chromium(tmp_path, bitbucket.url) as chromium, person_of(keyed).types(*words, columns=400) as dialogue:
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


@pytest.mark.usefixtures("consumer_of_others")
def test_an_implicit_login_every_two_hours_leaves_one_behind(keyed: Runner, bitbucket: FakeBitbucket) -> None:
    """Nobody wants to have a token back that ends by itself; log-out tells Bitbucket."""
    for _ in range(2):
        shown = implicit_login(keyed, bitbucket)
        assert "cannot be renewed" in shown
    (one,) = listed(keyed)
    keyed(HELPER, "logout", one["id"])
    assert listed(keyed) == []


@pytest.mark.parametrize("words", [("--implicit", "--api-token"), ("--implicit", "--client-credentials")])
def test_the_implicit_grant_goes_with_oauth_only(keyed: Runner, words: tuple[str, ...]) -> None:
    """Exit code 2, before anything is asked."""
    assert keyed(HELPER, "login", *words, check=False).returncode == 2
