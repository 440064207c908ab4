"""Booleans: one set of words for our variables, and git's own reading for what is git's."""

import subprocess
from pathlib import Path

import pytest

from git_credential_bitbucket import config
from git_credential_bitbucket.errors import SettingsError
from tests.fake_bitbucket import tokens
from tests.helpers import request
from tests.running import Runner

HELPER = "git-credential-bitbucket"
NAME = "GIT_CREDENTIAL_BITBUCKET_ANY"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ("on", "On", "true", "TRUE", "yes", "1")),
        *((word, False) for word in ("off", "OFF", "false", "False", "no", "0")),
    ],
)
def test_a_variable_is_on_or_off_by_each_of_the_usual_words(word: str, value: bool) -> None:
    assert config.is_on({NAME: word}, NAME, default=not value) is value


@pytest.mark.parametrize("default", [True, False])
def test_an_unset_or_empty_variable_says_nothing(default: bool) -> None:
    """As in a shell, where the two are seldom told apart."""
    assert config.is_on({}, NAME, default=default) is default
    assert config.is_on({NAME: ""}, NAME, default=default) is default


@pytest.mark.parametrize("word", ["never", "disabled", "2", "offf", " off\t", "on\x1b[2J"])
def test_any_other_word_is_refused_by_the_name_of_the_variable(word: str) -> None:
    """A word that was meant to turn something off must not leave it on in silence."""
    with pytest.raises(SettingsError, match=f"{NAME} is neither on nor off") as refused:
        config.is_on({NAME: word}, NAME, default=True)
    assert word not in f"{refused.value.cause} {refused.value.hint}"


WORDS = (
    *("true", "True", "yes", "YES", "on", "On", "false", "FALSE", "no", "No", "off", "OFF", ""),
    *("0", "1", "2", "-1", "+1", "00", "010", "08", "0x10", "0X1f", "0xg", "1k", "0k", "2M", "3G", "1kk", "1t", "k"),
    *("2147483647", "2147483648", "-2147483648", "9999999999999999999", " 1", "1 ", "\t0", "- 1", "+-1", "1_0", "0b1"),
    *("0o1", "0x0x1", "0x", "-", "never", "auto", "y", "n", "t", "enabled", "1.0", "\u0661", "tr\u0443e"),
)


def test_gits_booleans_are_read_as_git_reads_them(bare_env: dict[str, str], home: Path) -> None:
    wrong = {}
    for word in WORDS:
        command = ["git", "-c", f"any.thing={word}", "config", "--type=bool", "any.thing"]
        done = subprocess.run(command, env=bare_env, cwd=home, capture_output=True, text=True, check=False)
        said = {"true\n": True, "false\n": False, "": None}[done.stdout]
        if config.git_bool(word) is not said:
            wrong[word] = said
    assert wrong == {}


@pytest.mark.parametrize("variable", ["GIT_CREDENTIAL_BITBUCKET_DAEMON", "GIT_CREDENTIAL_BITBUCKET_KEYRING"])
def test_git_is_told_of_a_word_that_is_neither_on_nor_off(front: Runner, variable: str) -> None:
    """In one line, and gets nothing: what was to be forbidden must not happen."""
    front.env[variable] = "never"
    front.env.pop("GIT_CREDENTIAL_BITBUCKET_KEY_FILE", None)
    done = front("git", "credential", "approve", stdin=request(username="a", password=tokens.api_token()), check=False)
    assert f"{HELPER}: error: {config.describe(variable)} is neither on nor off\n" in done.stderr
    assert f"{HELPER}: hint: set it to on or off, or unset it\n" in done.stderr


def test_a_trace_that_is_neither_on_nor_off_is_told_of_once(front: Runner) -> None:
    """And is on: somebody wants to be told something."""
    env = {**front.env, "GIT_CREDENTIAL_BITBUCKET_TRACE": "verbose"}
    said = front("git", "credential", "fill", stdin=request(), env=env, check=False).stderr
    assert said.count("warning: GIT_CREDENTIAL_BITBUCKET_TRACE is neither on nor off") == 1
    assert f"{HELPER}: trace: " in said
