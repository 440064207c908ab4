"""browser.py with real Chromium: a person clicks through the consent page, and reads what became of it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from git_credential_bitbucket.bitbucket import oauth
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import BitbucketUnreachable, LoginFailed
from git_credential_bitbucket.login import pages
from git_credential_bitbucket.login.authorization import CodeGrant
from git_credential_bitbucket.login.pages import Page
from tests.fake_bitbucket.client import FakeBitbucket
from tests.login.chromium import Chromium
from tests.login.logins import RunningLogin, attempt_at

GRANTED = Page("You are logged in", ("For: alice & <friends>.", "You can close this tab."))


def log_in(provider: Provider, redeem: Callable[[CodeGrant], Page]) -> RunningLogin:
    """A login by the code grant."""
    attempt = attempt_at(provider)
    return RunningLogin(attempt, lambda query: redeem(attempt.grant(query)))


def test_a_person_grants_access_and_reads_that_it_worked(
    bitbucket: FakeBitbucket, provider: Provider, chromium: Chromium, artefacts: Path
) -> None:
    """The page comes after the exchange, says what was granted, is readable in both schemes, and needs nothing else."""
    grants = []

    def redeem(grant: CodeGrant) -> Page:
        key, secret = provider.client_id or "", provider.client_secret
        sent = grant.code, grant.redirect_uri, grant.verifier
        grants.append(oauth.exchange_code(provider.endpoint, key, secret, *sent))
        return GRANTED

    login = log_in(provider, redeem)
    chromium.visit(login.url)
    assert "repository:write" in chromium.text("p")
    chromium.complaints()
    chromium.click("#grant")
    assert chromium.text("main h1") == "You are logged in"
    assert chromium.text("main").split("\n")[1] == "For: alice & <friends>."
    login.end()
    assert login.error is None
    assert grants[0].scopes == ("repository", "repository:write")
    assert bitbucket.token_requests()[0].form["grant_type"] == "authorization_code"
    for scheme, ground in (("light", "rgba(247, 248, 249, 1)"), ("dark", "rgba(16, 18, 20, 1)")):
        chromium.prefer(scheme)
        assert chromium.style("body", "background-color") == ground
        chromium.screenshot(artefacts / f"granted-{scheme}.png")
    assert chromium.complaints() == []


def test_a_person_refuses(provider: Provider, chromium: Chromium, artefacts: Path) -> None:
    """The page and the terminal both say that it was refused, and the code is not asked for."""
    login = log_in(provider, lambda _: pytest.fail("there is no code"))
    chromium.visit(login.url)
    chromium.click("#deny")
    assert chromium.text("main h1") == "The login failed"
    assert "denied in the browser" in chromium.text("main")
    chromium.screenshot(artefacts / "refused.png")
    login.end()
    assert isinstance(login.error, LoginFailed)
    assert login.error.cause == "access was denied in the browser"


def test_a_failed_exchange_is_told_in_the_browser_too(provider: Provider, chromium: Chromium, artefacts: Path) -> None:
    """The browser does not say "logged in" where the terminal says otherwise."""

    def redeem(_: CodeGrant) -> Page:
        raise BitbucketUnreachable("bitbucket.org has a problem (502)", hint="wait, then try again")

    login = log_in(provider, redeem)
    chromium.visit(login.url)
    chromium.click("#grant")
    assert "bitbucket.org has a problem (502)" in chromium.text("main")
    chromium.screenshot(artefacts / "failed.png")
    login.end()
    assert isinstance(login.error, BitbucketUnreachable)


def test_a_second_tab_gets_a_page_of_its_own(provider: Provider, chromium: Chromium, artefacts: Path) -> None:
    """Who opened the address twice and granted twice reads that one was enough; the first is what counts."""
    goes_on = threading.Event()
    codes = []

    def redeem(grant: CodeGrant) -> Page:
        codes.append(grant.code)
        assert goes_on.wait(60)
        return GRANTED

    login = log_in(provider, redeem)
    chromium.visit(login.url)
    chromium.click("#grant")
    chromium.new_tab()
    chromium.visit(login.url)
    chromium.click("#grant")
    assert chromium.text("main h1") == pages.SECOND_TAB.title
    chromium.screenshot(artefacts / "second-tab.png")
    goes_on.set()
    login.end()
    assert login.error is None
    assert len(codes) == 1


def test_an_answer_to_another_login_is_shown_as_such(provider: Provider, chromium: Chromium, artefacts: Path) -> None:
    """A redirect with a wrong state is not taken, the page says so, and the login waits on."""
    login = log_in(provider, lambda _: GRANTED)
    url = login.url
    chromium.visit(f"{provider.redirect_uri}?code=stolen&state=guessed")
    assert chromium.text("main h1") == pages.NOT_OURS.title
    chromium.screenshot(artefacts / "not-ours.png")
    chromium.visit(url)
    chromium.click("#grant")
    assert chromium.text("main h1") == GRANTED.title
    login.end()
    assert login.error is None
