"""pages.py: what is written into a page, and what the policy lets it do."""

import base64
import hashlib
import re

import pytest

from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login import pages
from git_credential_bitbucket.login.pages import Page

HOSTILE = "<script>alert('x')</script>\"'&$title ${text}\u202e\x1b[2J\n"


def test_text_from_outside_is_escaped() -> None:
    """Markup, quotes, placeholders, control and bidi characters all come out as text that is seen."""
    shown = pages.render(Page(HOSTILE, (HOSTILE,))).decode()
    assert "<script" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&#x27;&amp;$title ${text}") == 3


@pytest.mark.parametrize("page", [pages.SECOND_TAB, pages.NOT_OURS, pages.INTERRUPTED])
def test_a_page_needs_nothing_else(page: Page) -> None:
    """No script, no link, no image, no address at all: everything it is, is in it."""
    shown = pages.render(page).decode()
    assert not re.search(r"<(script|link|img|iframe|form|object)|https?:|url\(|@import|\son\w+=|style=", shown)
    assert '<html lang="en">' in shown


def test_the_policy_knows_the_style_that_is_sent() -> None:
    """The hash in the policy is the hash of the style in the page."""
    style = re.search(r"<style>(.*)</style>", pages.render(pages.SECOND_TAB).decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in pages.policy()


def test_an_error_s_page_has_its_cause_and_its_hint() -> None:
    """The same words as in the terminal; without a cure, none is made up."""
    page = pages.of_error(LoginFailed("it rained", hint="wait for the sun"))
    assert page.paragraphs[:2] == ("Error: it rained.", "Hint: wait for the sun.")
    assert not page.good
    assert len(pages.of_error(LoginFailed("it rained")).paragraphs) == 2
