"""Asking the daemon, for a person's verbs: lines in, lines out, errors as errors."""

import os
from pathlib import Path

import pytest

from git_credential_bitbucket.client import ask, inprocess
from git_credential_bitbucket.errors import DaemonUnavailable, Error, RequestRefused
from tests.front.peers import answering, listening
from tests.fronts import request, socket_of
from tests.standin import tokens


@pytest.fixture(autouse=True)
def _environment(front_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a verb."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in front_env.items():
        monkeypatch.setenv(name, value)


def test_answer_is_its_lines_in_order(home: Path) -> None:
    """Keys may come again: a table has many rows."""
    with listening(socket_of(home), answering(b"id=1\nkind=a=b\nid=2\n")) as received:
        assert ask.ask("status", [("all", "1")]) == [("id", "1"), ("kind", "a=b"), ("id", "2")]
    assert received == [b"action=status\ntimeout=35\nall=1\n"]


def test_refusal_is_raised_with_its_hint(home: Path) -> None:
    """`error=` and `hint=` are the daemon's way to raise."""
    refusing = answering(b"error=there is no such thing\nhint=look again\n")
    with listening(socket_of(home), refusing), pytest.raises(Error, match="there is no such thing") as caught:
        ask.ask("remove", [("id", "1")])
    assert caught.value.hint == "look again"


def test_daemon_is_started_for_a_verb(home: Path) -> None:
    """Whoever asks first."""
    assert dict(ask.ask("status"))["pid"]
    assert socket_of(home).exists()


def test_no_daemon_is_started_where_only_one_that_runs_is_meant(home: Path) -> None:
    """`daemon stop` starts nothing."""
    with pytest.raises(DaemonUnavailable, match="no daemon is running"):
        ask.ask("exit", start=False)
    assert not socket_of(home).exists()


def test_stranger_on_the_socket_is_named_as_one(home: Path) -> None:
    """An empty answer is no daemon's of ours."""
    with (
        listening(socket_of(home), answering(b"")),
        pytest.raises(DaemonUnavailable, match="not this program's daemon"),
    ):
        ask.ask("status")


def test_field_that_would_break_the_request_is_refused(home: Path) -> None:
    """A value with a line break would be two lines to the daemon."""
    with pytest.raises(RequestRefused):
        ask.ask("remove", [("id", "1\nid=2")])
    assert not socket_of(home).exists()


def test_gits_lines_follow_the_fields(home: Path) -> None:
    """For the verbs that take a request, as `token` does."""
    secret = tokens.api_token()
    ask.Holder().answer("store", request(username="alice", password=secret).encode())
    assert dict(ask.ask("token", request=request().encode()))["password"] == secret
    assert socket_of(home).exists()


def test_verb_is_answered_in_process_where_no_daemon_may_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lines, from the same agent."""
    monkeypatch.setenv("GIT_CREDENTIAL_BITBUCKET_DAEMON", "off")
    inprocess.agent.cache_clear()
    why = dict(ask.ask("why", request=request().encode()))
    assert why["state"] == "none"
    assert not socket_of(home).exists()
