"""What the verbs show of names that come from elsewhere: no character that a terminal obeys, whatever is in them."""

import re

import pytest

from tests.cli.listed import listed
from tests.fake_bitbucket import tokens
from tests.running import Runner

NAME = "git-credential-bitbucket"
TITLE, CLEAR, CSI, RIGHT_TO_LEFT = "\x1b]0;x\x07", "\x1b[2J", "\x9b31m", "\u202e"
HOSTILE = f"a{TITLE}{CLEAR}b{CSI}c{RIGHT_TO_LEFT}d"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PLACE = f"{HOSTILE}/{HOSTILE}"


@pytest.fixture
def full(keyed: Runner) -> Runner:
    """A vault that holds such names in every field that git and a person can fill."""
    keyed.env["GIT_CREDENTIAL_BITBUCKET_LOG"] = "on"
    keyed("git", "config", "--global", "credential.helper", "bitbucket")
    asked = f"protocol=https\nhost=bitbucket.org\nusername={HOSTILE}\npath={PLACE}.git\n"
    for secret in (tokens.api_token(), "of unknown kind"):
        keyed("git", "credential", "approve", stdin=f"{asked}password={secret}\n")
    keyed(NAME, "store", stdin=f"{asked}password={tokens.access_token()}\n")
    keyed("git", "credential", "fill", stdin=asked)
    keyed("git", "credential", "reject", stdin=f"{asked}password=of unknown kind\n")
    assert len(listed(keyed)) == 3
    return keyed


VERBS = (
    ("status",),
    ("status", "--json"),
    ("status", "--prometheus", "-"),
    ("explain", f"https://bitbucket.org/{PLACE}"),
    ("explain", "--json", f"https://bitbucket.org/{PLACE}"),
    ("log",),
    ("log", "--json"),
    ("expires", PLACE),
    ("token", PLACE),
    ("refresh", PLACE),
    ("logout", f"{PLACE}x"),
    ("restore", HOSTILE),
    ("audit", HOSTILE),
    ("login", "--api-token", "--host", f"https://{HOSTILE}"),
    ("exec", "--for", PLACE, "--", HOSTILE),
)


def test_no_verb_shows_what_a_terminal_obeys(full: Runner) -> None:
    """Escapes, C1 controls and bidi overrides alike, on standard output and in errors."""
    for words in VERBS:
        given = {"BITBUCKET_TOKEN": tokens.access_token()} if words[0] == "exec" else {}
        done = full(NAME, *words, env={**full.env, **given}, check=False)
        shown = done.stdout + done.stderr
        assert shown, words
        assert OBEYED.search(shown) is None, [words, shown]
