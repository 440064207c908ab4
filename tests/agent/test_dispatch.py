"""Which actions there are, who may ask for each, and that an answer is noted once, whenever it comes."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from git_credential_bitbucket import access_log, git_protocol
from git_credential_bitbucket.agent import access_log_entry, control_actions, dispatch, matching, retention
from git_credential_bitbucket.agent.deferred_answer import Deferred, map_answer, wait_for
from git_credential_bitbucket.agent.dispatch import ACTIONS, CONTROL, GIT, GUEST, Caller, Dispatcher
from git_credential_bitbucket.bitbucket import token_kinds
from tests.fake_bitbucket import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import World


def caller(role: dispatch.Role) -> Caller:
    """A caller that is this very process."""
    return Caller(os.getpid(), os.getuid(), role)


def test_every_action_stands_in_the_table_and_nothing_else() -> None:
    """A verb that nobody thought about who may ask for is one for CONTROL, but it has to be written down."""
    assert set(ACTIONS) == {"get", "store", "erase", "ping", "exit", *control_actions.VERBS}
    assert set(ACTIONS) >= access_log_entry.OPERATIONS
    assert all(CONTROL in roles for roles in ACTIONS.values())


@pytest.mark.parametrize("role", [GIT, GUEST])
def test_git_and_guests_get_nothing_of_the_rest(world: World, role: dispatch.Role) -> None:
    """No verb that changes, tells of, or hands out what a `get` would not; an unknown one is not even refused."""
    secret = tokens.access_token()
    world.store("x-token-auth", secret)
    left: list[bool] = []
    asked = Dispatcher(world.agent, leave=left.append)
    body = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n".encode()
    assert secret.encode() in wait_for(asked.answer("get", body, caller(role)) or b"")
    assert secret.encode() in wait_for(asked.answer("token", body, caller(CONTROL)) or b"")
    allowed = {action for action in (*ACTIONS, "no-such-verb") if asked.answer(action, body, caller(role)) != b""}
    assert allowed <= {"get", "store", "erase", "why"}
    assert not left
    assert b"has no such action" in wait_for(asked.answer("no-such-verb", body, caller(CONTROL)) or b"")


@pytest.mark.parametrize(("role", "counts"), [(GIT, True), (GUEST, False)])
def test_what_a_guest_asked_for_in_vain_is_not_what_a_person_was_asked_for(
    world: World, role: dispatch.Role, counts: bool
) -> None:
    """Else a repository's secret could count as a person's, and a person's be forgotten where a guest asks much."""
    answers = Dispatcher(world.agent)
    body = f"protocol=https\nhost={world.standin.netloc}\npath=evil/app.git\n".encode()
    assert answers.answer("get", body, Caller(0, 65534, role)) == b""
    request = git_protocol.parse(body)
    assert world.agent.misses.close(request, world.clock(), lambda: None) is counts


@pytest.mark.parametrize(("role", "renewals"), [(GIT, 1), (GUEST, 0)])
def test_a_guests_get_reports_no_rejection(world: World, role: dispatch.Role, renewals: int) -> None:
    """What git sends back after a 401 has the token renewed; from a guest that would be an `erase` by another name."""
    login = world.login()
    state = f"capability[]=state\nstate[]={matching.state_of(login)}\n"
    body = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n{state}".encode()
    answer = wait_for(Dispatcher(world.agent).answer("get", body, caller(role)) or b"")
    assert b"password=" in answer
    assert (b"state[]=" in answer) == (role == GIT)
    assert world.kept()[0].generation == login.generation + renewals


def test_an_answer_that_waits_for_a_job_is_logged_once(world: World, home: Path) -> None:
    """A `store` waits for the vault twice; the log has one line of it, with what became of it."""
    path = str(home / "log.jsonl")
    log = access_log.AccessLog(path)
    asked = Dispatcher(world.agent, access_log=log)
    head = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n".encode()
    body = head + f"username=alice\npassword={tokens.access_token()}\n".encode()
    answer = asked.answer("store", body, caller(CONTROL))
    assert isinstance(answer, Deferred)
    assert wait_for(answer).startswith(b"ok=1\n")
    log.close()
    assert [(one["operation"], one["outcome"]) for one in access_log.read(path)] == [("store", "done")]


def test_a_token_kept_for_two_hosts_is_logged_as_the_one_of_the_host_that_was_asked_for(
    world: World, home: Path
) -> None:
    """And of two on one host as the one that is nearest to what was asked for."""
    secret = tokens.access_token()
    places = ("https://bitbucket.org", world.standin.url, f"{world.standin.url}/acme/app")
    ids = {}
    for place in places:
        record = {
            "kind": token_kinds.ACCESS_TOKEN,
            "place": place,
            "secret": secret,
            "endpoint": world.endpoint.to_record(),
        }
        ids[place] = world.keep(retention.credential_from_login(record, world.clock())).id
    path = str(home / "log.jsonl")
    log = access_log.AccessLog(path)
    asked = Dispatcher(world.agent, access_log=log)
    for repository in ("elsewhere/app.git", "acme/app.git"):
        body = f"protocol=https\nhost={world.standin.netloc}\npath={repository}\n".encode()
        for operation in ("get", "erase"):
            more = f"username=x-token-auth\npassword={secret}\n".encode() if operation == "erase" else b""
            answer = asked.answer(operation, body + more, caller(CONTROL))
            assert answer is not None
            wait_for(answer)
    log.close()
    found = [one["credential"] for one in access_log.read(path)]
    assert found == [ids[places[1]], ids[places[1]], ids[places[2]], ids[places[2]]]


def test_a_change_is_applied_to_each_end_of_a_deferred_answer() -> None:
    """To the answer after one job or two, and to the one at the deadline; once."""
    first: Future[None] = Future()
    first.set_result(None)
    last = Deferred(first, lambda: b"late", lambda: b"early")
    answer = map_answer(Deferred(first, lambda: last, lambda: b"at once"), lambda found: found + b"!")
    assert isinstance(answer, Deferred)
    assert answer.give_up() == b"at once!"
    resumed = answer.resume()
    assert isinstance(resumed, Deferred)
    assert resumed.give_up() == b"early!"
    assert resumed.resume() == b"late!"
    assert map_answer(b"there", lambda found: found + b"!") == b"there!"


def test_every_action_is_logged_or_is_a_query() -> None:
    """What gives a secret away or changes something leaves a line in the access log."""
    questions = {"ping", "why", "status", "explain", "warn", "grant-list", "backup-put", "backup-get", "backup-drop"}
    assert set(ACTIONS) == access_log_entry.OPERATIONS | questions
    assert not access_log_entry.OPERATIONS & questions
