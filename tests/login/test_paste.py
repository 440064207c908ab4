"""paste.py: a person without a browser here, against the stand-in's consent page."""

from collections.abc import Callable

import pytest

from git_credential_bitbucket.bitbucket import oauth
from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login import paste
from git_credential_bitbucket.login.authorization import Attempt, CodeGrant
from tests.fake_bitbucket import browser
from tests.fake_bitbucket.client import FakeBitbucket

SCOPES = ("repository",)
Typed = Callable[[str], list[str]]


def log_in(provider: Provider, typed: Typed) -> tuple[CodeGrant, list[str]]:
    """The grant, and the lines that were shown; `typed` makes the pasted lines of the shown address."""
    shown: list[str] = []
    lines: list[str] | None = None

    def read_line() -> str:
        nonlocal lines
        if lines is None:
            lines = typed(next(line for line in shown if line.startswith("https://")))
        return lines.pop(0) if lines else ""

    attempt = Attempt(provider, provider.client_id or "", SCOPES)
    return attempt.grant(paste.obtain_answer(attempt, show=shown.append, read_line=read_line)), shown


@pytest.mark.parametrize("wrap", ["{}\n", "  <{}>  \r\n", "'{}'\n", '"{}"'])
def test_the_whole_address_is_taken_with_what_came_along(
    bitbucket: FakeBitbucket, provider: Provider, wrap: str
) -> None:
    """As a browser's address bar, a mail or a chat program gives it; and the code is good for tokens."""
    grant, shown = log_in(provider, lambda url: [wrap.format(browser.decide(url, bitbucket.ca_file))])
    tokens = oauth.exchange_code(
        provider.endpoint,
        provider.client_id or "",
        provider.client_secret,
        grant.code,
        grant.redirect_uri,
        grant.verifier,
    )
    assert tokens.scopes == SCOPES
    assert any(provider.redirect_uri in line for line in shown)


def test_the_code_alone_is_taken(bitbucket: FakeBitbucket, provider: Provider) -> None:
    """Who copies only the code from the address has copied enough."""
    codes: list[str] = []

    def typed(url: str) -> list[str]:
        codes.append(browser.decide(url, bitbucket.ca_file).partition("code=")[2].partition("&")[0])
        return ["\n", f" {codes[0]}\n"]

    assert log_in(provider, typed)[0].code == codes[0]


def test_the_query_alone_is_taken(bitbucket: FakeBitbucket, provider: Provider) -> None:
    grant, _ = log_in(provider, lambda url: ["?" + browser.decide(url, bitbucket.ca_file).partition("?")[2]])
    assert grant.code


def test_a_wrong_paste_is_explained_and_asked_for_again(bitbucket: FakeBitbucket, provider: Provider) -> None:
    """The address to open, an answer to another login, a cut one: each is refused, and the right one then works."""

    def typed(url: str) -> list[str]:
        right = browser.decide(url, bitbucket.ca_file)
        other = f"{provider.redirect_uri}?code=stolen&state=other"
        return [url, other, right.partition("&state")[0], right]

    grant, shown = log_in(provider, typed)
    assert grant.code != "stolen"
    assert sum("address to open." in line for line in shown) == 1
    assert sum("belongs to another login" in line for line in shown) == 2


def test_a_refusal_is_told_as_one(bitbucket: FakeBitbucket, provider: Provider) -> None:
    with pytest.raises(LoginFailed, match="denied in the browser"):
        log_in(provider, lambda url: [browser.decide(url, bitbucket.ca_file, button="deny")])


@pytest.mark.parametrize("lines", [[], ["\n"] * 5, ["https://[::1"] * 9, ["http://localhost/?code=c"] * 9])
def test_giving_up_and_guessing_end(provider: Provider, lines: list[str]) -> None:
    """The end of input, nothing but blank lines, nothing but nonsense."""
    with pytest.raises(LoginFailed, match="no address of this login was pasted"):
        log_in(provider, lambda _: list(lines))
