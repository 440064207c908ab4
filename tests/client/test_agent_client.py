"""Asking the daemon, for a person's verbs: lines in, lines out, errors as errors."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import agent_client, in_process, ipc
from git_credential_bitbucket.errors import DaemonUnavailable, Error, InsecurePath, InvalidRequest
from tests.fake_bitbucket import tokens
from tests.helper.peers import answering, gits_cache_daemon, hung_up, listening
from tests.helpers import control_of, request, socket_of


@pytest.fixture(autouse=True)
def _environment(front_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a verb."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in front_env.items():
        monkeypatch.setenv(name, value)


def test_answer_is_its_lines_in_order(home: Path) -> None:
    """Keys may come again: a table has many rows."""
    with listening(control_of(home), answering(b"id=1\nkind=a=b\nid=2\n")) as received:
        assert agent_client.ask("status", [("all", "1")]) == [("id", "1"), ("kind", "a=b"), ("id", "2")]
    assert received == [ipc.format_request("status", b"all=1\n", paths.vault_id(os.environ))]


def test_refusal_is_raised_with_its_hint(home: Path) -> None:
    """`error=` and `hint=` are the daemon's way to raise."""
    refusing = answering(b"error=there is no such thing\nhint=look again\n")
    with listening(control_of(home), refusing), pytest.raises(Error, match="there is no such thing") as caught:
        agent_client.ask("remove", [("id", "1")])
    assert caught.value.hint == "look again"


def test_daemon_is_started_for_a_verb(home: Path) -> None:
    assert dict(agent_client.ask("status"))["pid"]
    assert socket_of(home).exists()


def test_no_daemon_is_started_to_look(home: Path) -> None:
    """Where none runs this process answers, and the next question that needs a daemon starts one all the same."""
    client = agent_client.AgentClient()
    assert dict(agent_client.ask("status", start=False, client=client))["vault"] == "absent"
    assert not socket_of(home).exists()
    assert dict(agent_client.ask("status", client=client))["pid"]


def keep(secret: str) -> None:
    """Have a secret kept that git has just asked for in vain."""
    client = agent_client.AgentClient()
    client.answer("get", request().encode())
    client.answer("store", request(username="alice", password=secret).encode())


@pytest.mark.parametrize("empty", [b"", b"neither this nor that\n"])
def test_strangers_path_is_taken(home: Path, empty: bytes) -> None:
    """An empty answer is no daemon's of ours, so one is started there, and asked again."""
    with listening(socket_of(home), answering(empty)) as received:
        assert dict(agent_client.ask("status"))["pid"]
    assert received


def test_gits_own_cache_daemon_is_no_end_of_a_verb(home: Path, front_env: dict[str, str]) -> None:
    """Also where nothing may be the answer: what the vault has is found behind it."""
    secret = tokens.api_token()
    keep(secret)
    agent_client.ask("exit", start=False)
    with gits_cache_daemon(socket_of(home), front_env):
        told = dict(git_protocol.parse_pairs(agent_client.AgentClient().offered("token", request().encode())))
    assert told["password"] == secret
    assert agent_client.AgentClient().offered("token", request(host="git.example").encode()) == b""


@pytest.mark.parametrize("place", [socket_of, control_of])
def test_path_that_others_could_have_put_a_socket_at_is_not_taken(home: Path, place: Callable[[Path], Path]) -> None:
    """Whoever listens there may be another user's, and is not even asked."""
    with listening(place(home), answering(b"")) as received:
        place(home).parent.chmod(0o755)
        with pytest.raises(InsecurePath):
            agent_client.ask("status")
    assert received == []


def test_listener_that_keeps_silent_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a daemon of ours, at work on something."""
    monkeypatch.setattr(ipc.send_request, "__defaults__", (0.2,))
    with listening(socket_of(home), silent), pytest.raises(DaemonUnavailable, match="did not answer"):
        agent_client.ask("status")


def silent(connection: socket.socket) -> bytes:
    """Say nothing until the other side is gone."""
    hung_up(connection)
    return b""


def test_field_that_would_break_the_request_is_refused(home: Path) -> None:
    """A value with a line break would be two lines to the daemon."""
    with pytest.raises(InvalidRequest):
        agent_client.ask("remove", [("id", "1\nid=2")])
    assert not socket_of(home).exists()


def test_gits_lines_follow_the_fields(home: Path) -> None:
    """For the verbs that take a request, as `token` does."""
    secret = tokens.api_token()
    keep(secret)
    assert dict(agent_client.ask("token", request=request().encode()))["password"] == secret
    assert socket_of(home).exists()


def test_verb_is_answered_in_process_where_no_daemon_may_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CREDENTIAL_BITBUCKET_DAEMON", "off")
    in_process.dispatcher.cache_clear()
    why = dict(agent_client.ask("why", request=request().encode()))
    assert why["state"] == "none"
    assert not socket_of(home).exists()
