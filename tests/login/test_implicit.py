"""The implicit grant: a token that arrives in the redirect's fragment, through a page of ours with a script."""

import re
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.bitbucket.token_response import Grant
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login import loopback, pages, paste
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.login.pages import Page
from tests.daemon.daemons import eventually
from tests.fake_bitbucket import browser as standin_browser
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.login.chromium import Chromium
from tests.login.logins import RunningLogin, attempt_at
from tests.login.test_loopback import ask, get

DONE = Page("You are logged in", ("For two hours.", "You can close this tab."))


def log_in(provider: Provider) -> tuple[RunningLogin, list[Grant]]:
    """A login by the implicit grant, and the grants that it gets."""
    attempt = attempt_at(provider, implicit=True)
    grants: list[Grant] = []

    def redeem(fragment: str) -> Page:
        grants.append(attempt.token(fragment))
        return DONE

    return RunningLogin(attempt, redeem), grants


def test_a_person_grants_access_and_the_token_is_nowhere_in_the_browser(
    bitbucket: FakeBitbucket, provider: Provider, chromium: Chromium, tmp_path: Path, artefacts: Path
) -> None:
    """Not in the address, nor a step back, nor in its history; the console has nothing to say against the page."""
    login, grants = log_in(provider)
    chromium.visit(login.url)
    chromium.text("#grant")
    chromium.complaints()
    chromium.click("#grant")
    wait_for_title(chromium, DONE.title)
    login.end()
    assert login.error is None
    (grant,) = grants
    assert grant.access_token.reveal() in bitbucket.secrets()
    assert (grant.scopes, grant.expires_in, grant.refresh_token) == (("repository", "repository:write"), 7200, None)
    assert "#" not in chromium.address()
    token = grant.access_token.reveal().encode()
    history = list((tmp_path / "profile" / "Default").glob("History*"))
    # Its session file, from which it reopens tabs after a crash, a browser writes before any page has a say.
    assert history
    assert not [path.name for path in history if token in path.read_bytes()]
    assert chromium.complaints() == []
    chromium.screenshot(artefacts / "implicit.png")
    assert bitbucket.token_requests() == []
    chromium.back()
    chromium.text("#grant")
    assert "#" not in chromium.address()


def test_a_person_refuses(provider: Provider, chromium: Chromium) -> None:
    """In the fragment, too, Bitbucket may say no; page and terminal tell it."""
    login, _ = log_in(provider)
    chromium.visit(login.url)
    chromium.click("#deny")
    login.end()
    assert isinstance(login.error, LoginFailed)
    assert login.error.cause == "access was denied in the browser"


def test_a_second_tab_and_a_stranger_s_answer_have_their_pages(provider: Provider, chromium: Chromium) -> None:
    """A token that somebody else sends is not kept: it would be theirs, and what is pushed would be, too."""
    login, grants = log_in(provider)
    chromium.visit(f"{provider.redirect_uri}#access_token=theirs&token_type=bearer&state=guessed")
    wait_for_title(chromium, pages.NOT_OURS.title)
    assert grants == []
    chromium.visit(login.url)
    chromium.click("#grant")
    login.end()
    assert len(grants) == 1


def wait_for_title(chromium: Chromium, title: str) -> None:
    """Until the tab shows it: our script goes there by itself."""
    eventually(lambda: chromium.title() == title)


@pytest.fixture
def attempt(cloud: Provider, port: int) -> Attempt:
    """A login whose redirect has a path, on a free port."""
    return Attempt(cloud._replace(redirect_uri=f"http://localhost:{port}/callback"), "key", (), implicit=True)


def fragment_of(attempt: Attempt, **more: str) -> str:
    """What stands behind the # of a right redirect."""
    fields = {"access_token": tokens.oauth_token(2600), "token_type": "bearer", "expires_in": "7200", **more}
    return urlencode({**fields, "state": parse_qs(urlsplit(attempt.url).query)["state"][0]})


def post(port: int, body: str, target: str = "/callback", **more: str) -> str:
    """What a script's POST is answered; `more` replaces headers."""
    headers = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **more}.items())
    return ask(port, f"POST {target} HTTP/1.1\r\n{lines}\r\n{body}")


def test_the_address_asks_for_a_token_and_carries_no_challenge(attempt: Attempt) -> None:
    """`response_type=token`, a state, and no secret of any sort."""
    fields = parse_qs(urlsplit(attempt.url).query)
    assert fields["response_type"] == ["token"]
    assert "code_challenge" not in fields
    assert len(fields["state"][0]) >= 43


def test_the_page_may_run_its_one_script_and_ask_its_one_server(
    attempt: Attempt, waiting: loopback.Loopback, port: int
) -> None:
    """By the hash of just that script; the other pages run nothing."""
    assert waiting.attempt is attempt
    reply = get(port, "/callback")
    policy = re.search(r"Content-Security-Policy: (.*)\r\n", reply)
    assert policy is not None
    assert policy[1] == pages.policy(scripted=True)
    assert "script-src 'sha256-" in policy[1]
    assert "connect-src 'self'" in policy[1]
    assert "unsafe" not in policy[1]
    assert reply.count("<script>") == 1
    for target in ("/callback?refused", "/callback?again", "/elsewhere"):
        assert "<script>" not in get(port, target)
        assert "script" not in pages.policy()


def test_the_token_arrives_once_and_only_its_page_gets_the_outcome(
    attempt: Attempt, waiting: loopback.Loopback, port: int
) -> None:
    """The second tab is told so; who does not know where the outcome is shown is shown the first page."""
    fragment = fragment_of(attempt)
    ticket = post(port, fragment).rpartition("\r\n\r\n")[2]
    assert ticket.startswith("outcome=")
    assert post(port, fragment).endswith("again")
    assert pages.FRAGMENT.title in get(port, "/callback?outcome=guessed")
    grant = attempt.token(waiting.wait(60))
    assert grant.access_token.reveal() == parse_qs(fragment)["access_token"][0]
    replies: list[str] = []
    thread = threading.Thread(target=lambda: replies.append(get(port, f"/callback?{ticket}")))
    thread.start()
    waiting.conclude(DONE)
    thread.join(60)
    assert f"<h1>{DONE.title}</h1>" in replies[0]


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        ({"Origin": "https://evil.example"}, "/callback"),
        ({"Origin": "null"}, "/callback"),
        ({"Origin": "http://localhost:1"}, "/callback"),
        ({"Host": "evil.example"}, "/callback"),
        ({"Content-Length": "99999"}, "/callback"),
        ({"Content-Length": "000000000000000099999"}, "/callback"),
        ({"Content-Length": "-1"}, "/callback"),
        ({"Content-Length": "10"}, "/callback"),
        ({}, "/elsewhere"),
        ({}, "/callback?x"),
    ],
)
def test_nobody_else_may_bring_a_token(
    attempt: Attempt, waiting: loopback.Loopback, port: int, headers: dict[str, str], target: str
) -> None:
    """Another page's script, a rebound name, a body that is cut or too long: right state or not."""
    assert "outcome=" not in post(port, fragment_of(attempt), target, **headers)
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)


def test_a_token_in_the_query_is_not_taken(attempt: Attempt, waiting: loopback.Loopback, port: int) -> None:
    """It would stand in logs and histories; a refusal may come that way."""
    get(port, f"/callback?{fragment_of(attempt)}")
    with pytest.raises(LoginFailed):
        waiting.wait(0.05)
    refusal = f"error=access_denied&state={parse_qs(urlsplit(attempt.url).query)['state'][0]}"
    thread = threading.Thread(target=lambda: get(port, f"/callback?{refusal}"))
    thread.start()
    with pytest.raises(LoginFailed, match="denied in the browser"):
        attempt.token(waiting.wait(60))
    waiting.conclude(DONE)
    thread.join(60)


@pytest.mark.parametrize("token", ["", "two words", "n\u00e9", "x" * 40000])
def test_what_is_no_token_ends_the_login(attempt: Attempt, token: str) -> None:
    with pytest.raises(LoginFailed) as caught:
        attempt.token(fragment_of(attempt, access_token=token))
    assert not token or token not in caught.value.cause


def test_a_token_is_pasted_with_its_whole_address(bitbucket: FakeBitbucket, provider: Provider) -> None:
    """Where no browser is: only the address will do, and a token alone belongs to no login."""
    lines: list[str] = []
    shown: list[str] = []

    def read_line() -> str:
        if not lines:
            url = next(line for line in shown if line.startswith("https://"))
            address = standin_browser.decide(url, bitbucket.ca_file)
            token = parse_qs(urlsplit(address).fragment)["access_token"][0]
            lines.extend([token, url, address.partition("state=")[0], address])
        return lines.pop(0)

    attempt = attempt_at(provider, implicit=True)
    grant = attempt.token(paste.obtain_answer(attempt, show=shown.append, read_line=read_line))
    assert grant.access_token.reveal() in bitbucket.secrets()
    assert len([line for line in shown if "belongs to another login" in line]) == 2
    assert not any(grant.access_token.reveal() in line for line in shown)
