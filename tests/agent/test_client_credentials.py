"""The verb `mint`: tokens for the OAuth consumers in callers' environments, in a store of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from git_credential_bitbucket import access_log, git_protocol
from git_credential_bitbucket.agent import handover
from git_credential_bitbucket.agent.control import control
from git_credential_bitbucket.agent.deferred import finish
from git_credential_bitbucket.agent.diagnosis import why
from git_credential_bitbucket.agent.dispatch import CONTROL, Caller, Dispatcher
from git_credential_bitbucket.secret import Secret
from tests.daemon.daemons import eventually
from tests.fake_bitbucket import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import World
    from tests.fake_bitbucket.client import ConsumerKey


def body_of(world: World, consumer: ConsumerKey) -> bytes:
    """The verb's body, as the front end of a runner with this consumer sends it."""
    pairs = [("client_id", consumer.key), ("client_secret", consumer.secret)]
    return git_protocol.emit([*pairs, ("protocol", "https"), ("host", world.standin.netloc)])


def mint(world: World, consumer: ConsumerKey) -> dict[str, str]:
    """What a runner with a consumer in its environment is answered."""
    return dict(git_protocol.parse_pairs(finish(control(world.agent, "mint", body_of(world, consumer)))))


def test_a_consumer_in_an_environment_is_nobody_elses(world: World) -> None:
    """Who has it is told what keeps it from being minted; who does not is told of no such thing."""
    consumer = world.standin.add_consumer()
    world.standin.script_fault("token", "503")
    told = mint(world, consumer)
    assert "the OAuth consumer for " in told["error"]
    assert "could not be renewed: " in told["error"]
    assert "tried again" in told["hint"]
    assert world.get() == {}
    assert why(world.agent, world.lines())[::2] == ("none", "type: git-credential-bitbucket login")
    world.offset += 60
    assert mint(world, consumer)["password"]


def test_what_is_minted_is_in_nobodys_store(world: World, home: Path) -> None:
    """No `get`, `status` or `explain` of a person's knows it, and git's `store` of it leaves no trace."""
    path = str(home / "log.jsonl")
    log = access_log.AccessLog(path)
    asked = Dispatcher(world.agent, access_log=log)
    body = body_of(world, world.standin.add_consumer())

    def answer(action: str, body: bytes) -> bytes:
        return finish(asked.answer(action, body, Caller(0, 0, CONTROL)) or b"")

    minted = dict(git_protocol.parse_pairs(answer("mint", body)))["password"]
    request = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n".encode()
    store = request + f"username=x-token-auth\npassword={minted}\n".encode()
    assert answer("store", store) == b"ok=1\n"
    assert answer("get", request) == answer("token", request) == b""
    shown = answer("status", b"") + answer("explain", request) + answer("why", request)
    assert minted.encode() not in shown
    assert b"OAuth consumer" not in shown
    assert b"client-credentials" not in shown
    assert not list(world.agent.holdings.index())
    assert world.agent.holdings.in_memory_only == []
    log.close()
    named = [(one["operation"], one["outcome"], bool(one.get("credential"))) for one in access_log.read(path)]
    given, done, *nothing = named
    assert (given, done) == (("mint", "given", True), ("store", "done", True))
    assert nothing == [("get", "nothing", False), ("token", "nothing", False)]


@pytest.mark.parametrize("named", [True, False])
def test_a_rejected_token_is_minted_again(world: World, named: bool) -> None:
    """Also where the erase names no secret, as a truncated one does."""
    consumer = world.standin.add_consumer()
    first = mint(world, consumer)["password"]
    world.offset += 120
    body = f"protocol=https\nhost={world.standin.netloc}\nusername=x-token-auth\n"
    body += f"password={first}\n" if named else ""
    finish(Dispatcher(world.agent).answer("erase", body.encode(), Caller(0, 0, CONTROL)) or b"")
    eventually(lambda: mint(world, consumer)["password"] != first)


def test_a_minted_token_in_use_is_renewed_ahead_and_keeps_the_daemon(world: World) -> None:
    """As a person's login is; one that nobody used since its renewal is let go."""
    consumer = world.standin.add_consumer()
    first = mint(world, consumer)["password"]
    assert world.agent.must_stay()
    world.offset += 7200 - 600  # half an hour before the end it is due
    world.agent.tick()
    assert world.agent.consumers is not None
    world.executor.shutdown()  # waits for what `tick` has begun
    (renewed,) = world.agent.consumers.holdings.index()
    assert renewed.had_secret(Secret(first))
    assert len(world.standin.token_requests()) == 2
    assert not world.agent.must_stay()


def test_a_consumers_new_secret_takes_the_place_of_the_old(world: World) -> None:
    """Another consumer's stays beside it."""
    consumer = world.standin.add_consumer()
    for each in (replace(consumer, secret=tokens.consumer_pair()[1]), consumer, world.standin.add_consumer()):
        mint(world, each)
    assert world.agent.consumers is not None
    kept = [one.client_secret for one in world.agent.consumers.holdings.index()]
    assert len(kept) == 2
    assert Secret(consumer.secret) in kept


def test_a_predecessors_minted_tokens_are_given_to_nobody(world: World) -> None:
    """0.1.0 handed them over among a person's; each consumer has its own minted again."""
    login = world.login()
    state = json.loads(json.dumps(handover.hand_over(world.agent)))
    record = {**login.to_record(), "id": "minted", "origin": "environment"}
    state["memory"] = {"credentials": [record, {**record, "id": "mine", "origin": "login"}]}
    successor = world.another()
    handover.take_over(successor, state)
    assert [one.id for one in successor.holdings.index() if one.id != login.id] == ["mine"]
