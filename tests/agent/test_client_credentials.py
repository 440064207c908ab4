"""The verb `mint`: tokens for the OAuth consumers in callers' environments, in a store of their own."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from git_credential_bitbucket import access_log, git_protocol
from git_credential_bitbucket.agent import upgrade_state
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.agent.dispatch import CONTROL, Caller, Dispatcher
from git_credential_bitbucket.secret import Secret
from tests.agent.conftest import World
from tests.daemon.daemons import eventually
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import ConsumerKey


def body_of(world: World, consumer: ConsumerKey) -> bytes:
    """The verb's body, as the front end of a runner with this consumer sends it."""
    pairs = [("client_id", consumer.key), ("client_secret", consumer.secret)]
    return git_protocol.emit([*pairs, ("protocol", "https"), ("host", world.standin.netloc)])


def mint(world: World, consumer: ConsumerKey) -> dict[str, str]:
    """What a runner with a consumer in its environment is answered."""
    return dict(git_protocol.parse_pairs(wait_for(control(world.agent, "mint", body_of(world, consumer)))))


def test_a_consumer_in_an_environment_answers_its_caller_alone(world: World) -> None:
    """Who has it is told what keeps it from being minted; who does not is told of no such thing."""
    consumer = world.standin.add_consumer()
    world.standin.script_fault("token", "503")
    told = mint(world, consumer)
    assert "the OAuth consumer for " in told["error"]
    assert "could not be renewed: " in told["error"]
    assert "next attempt" in told["hint"]
    assert world.get() == {}
    assert diagnose_request(world.agent, world.lines())[::2] == (
        "none",
        f"run: git-credential-bitbucket login --host {world.standin.url}",
    )
    world.offset += 60
    assert mint(world, consumer)["password"]


def test_client_credentials_are_in_no_persons_store(world: World, home: Path) -> None:
    """No `get`, `status` or `explain` of a person's knows it, and git's `store` of it leaves no trace."""
    path = str(home / "log.jsonl")
    log = access_log.AccessLog(path)
    asked = Dispatcher(world.agent, access_log=log)
    body = body_of(world, world.standin.add_consumer())

    def answer(action: str, body: bytes) -> bytes:
        return wait_for(asked.answer(action, body, Caller(0, 0, CONTROL)) or b"")

    minted = dict(git_protocol.parse_pairs(answer("mint", body)))["password"]
    request = f"protocol=https\nhost={world.standin.netloc}\npath=acme/app.git\n".encode()
    store = request + f"username=x-token-auth\npassword={minted}\n".encode()
    assert answer("store", store) == b"ok=1\n"
    assert answer("get", request) == answer("token", request) == b""
    shown = answer("status", b"") + answer("explain", request) + answer("why", request)
    assert minted.encode() not in shown
    assert b"OAuth consumer" not in shown
    assert b"client-credentials" not in shown
    assert not list(world.agent.credential_store.index())
    assert world.agent.credential_store.in_memory_only == []
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
    wait_for(Dispatcher(world.agent).answer("erase", body.encode(), Caller(0, 0, CONTROL)) or b"")
    eventually(lambda: mint(world, consumer)["password"] != first)


def test_a_minted_token_in_use_is_renewed_ahead_and_keeps_the_daemon(world: World) -> None:
    """As a person's login is; one that nobody used since its renewal is let go."""
    consumer = world.standin.add_consumer()
    first = mint(world, consumer)["password"]
    assert world.agent.must_keep_running()
    world.offset += 7200 - 600  # half an hour before the end it is due
    world.agent.tick()
    assert world.agent.consumers is not None
    world.executor.shutdown()  # waits for what `tick` has begun
    (renewed,) = world.agent.consumers.credential_store.index()
    assert renewed.had_secret(Secret(first))
    assert len(world.standin.token_requests()) == 2
    assert not world.agent.must_keep_running()


def test_a_consumers_new_secret_takes_the_place_of_the_old(world: World) -> None:
    """Another consumer's stays beside it."""
    consumer = world.standin.add_consumer()
    for each in (replace(consumer, secret=tokens.consumer_pair()[1]), consumer, world.standin.add_consumer()):
        mint(world, each)
    assert world.agent.consumers is not None
    kept = [one.client_secret for one in world.agent.consumers.credential_store.index()]
    assert len(kept) == 2
    assert Secret(consumer.secret) in kept


def test_a_predecessors_client_credentials_answer_no_one(world: World) -> None:
    """0.1.0 handed them over among a person's; each consumer has its own minted again."""
    login = world.login()
    state = json.loads(json.dumps(upgrade_state.export_state(world.agent)))
    record = {**login.to_record(), "id": "minted", "origin": "environment"}
    state["memory"] = {"credentials": [record, {**record, "id": "mine", "origin": "login"}]}
    successor = world.another()
    upgrade_state.import_state(successor, state)
    assert [one.id for one in successor.credential_store.index() if one.id != login.id] == ["mine"]


def shared(world: World, directory: Path) -> Agent:
    """An agent in-process: what it mints is shared by files in `directory`."""
    agent = world.another()
    agent.consumers_dir = str(directory)
    return agent


def mint_by(agent: Agent, world: World, consumer: ConsumerKey, verb: str = "mint", more: bytes = b"") -> dict[str, str]:
    """What an in-process get (or erase) is answered."""
    return dict(git_protocol.parse_pairs(wait_for(control(agent, verb, body_of(world, consumer) + more))))


def minted(world: World) -> int:
    """How many tokens were asked for."""
    return len(world.standin.token_requests())


def test_processes_share_a_minted_token_until_it_expires(world: World, home: Path) -> None:
    """One request while it lives; nothing of it can be read in the files, and nobody else may open them."""
    consumer, directory = world.standin.add_consumer(), home / "shared"
    first = mint_by(shared(world, directory), world, consumer)["password"]
    assert mint_by(shared(world, directory), world, consumer)["password"] == first
    assert minted(world) == 1
    paths = [directory, *directory.rglob("*")]
    assert [oct(path.stat().st_mode & 0o077) for path in paths if path.stat().st_mode & 0o077] == []
    written = b"".join(path.read_bytes() for path in paths if path.is_file())
    assert not any(secret.encode() in written for secret in (first, consumer.secret, consumer.key))
    world.offset += 7200 - 60
    assert mint_by(shared(world, directory), world, consumer)["password"] != first
    assert minted(world) == 2


def test_a_rejected_shared_token_is_requested_again_once(world: World, home: Path) -> None:
    """An old token's rejection is an echo; a new one that is rejected at once is not replaced by another."""
    consumer, directory = world.standin.add_consumer(), home / "shared"

    def erase(token: str) -> dict[str, str]:
        more = f"username=x-token-auth\npassword={token}\n".encode()
        return mint_by(shared(world, directory), world, consumer, "mint-erase", more)

    first = mint_by(shared(world, directory), world, consumer)["password"]
    assert erase(first) == {"ok": "1"}
    second = mint_by(shared(world, directory), world, consumer)["password"]
    assert second != first
    assert erase(first) == {"ok": "1"}
    assert mint_by(shared(world, directory), world, consumer)["password"] == second
    assert erase(second) == {"ok": "1"}
    assert "rejected" in mint_by(shared(world, directory), world, consumer)["error"]
    assert minted(world) == 2
    assert erase("never-minted-here") == {}


def test_a_shared_token_is_unreadable_without_the_secret(world: World, home: Path) -> None:
    """Another secret of the same consumer opens nothing, also where its files are put in the place of its own."""
    consumer, directory = world.standin.add_consumer(), home / "shared"
    other = replace(consumer, secret=tokens.consumer_pair()[1])
    first = mint_by(shared(world, directory), world, consumer)["password"]
    (mine,) = directory.iterdir()
    assert "password" not in mint_by(shared(world, directory), world, other)
    (others,) = set(directory.iterdir()) - {mine}
    for file in ("token", "token.previous"):
        (others / file).write_bytes((mine / file).read_bytes())
    assert "password" not in mint_by(shared(world, directory), world, other)
    assert mint_by(shared(world, directory), world, consumer)["password"] == first


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 40])
def test_a_damaged_shared_token_is_requested_again(world: World, home: Path, damage: bytes) -> None:
    consumer, directory = world.standin.add_consumer(), home / "shared"
    mint_by(shared(world, directory), world, consumer)
    for file in filter(Path.is_file, directory.glob("*/token*")):
        file.write_bytes(damage)
    again = mint_by(shared(world, directory), world, consumer)["password"]
    assert mint_by(shared(world, directory), world, consumer)["password"] == again
    assert minted(world) == 2


@pytest.mark.parametrize("trouble", ["full disk", "open to others", "no directory"])
def test_where_nothing_can_be_shared_each_process_mints(world: World, home: Path, trouble: str) -> None:
    """An `erase` then says that nobody has judged it, so that the front end leaves its mark."""
    consumer, directory = world.standin.add_consumer(), home / "shared"
    directory.mkdir(mode=0o755 if trouble == "open to others" else 0o700)
    if trouble == "no directory":
        directory = home / "file" / "shared"
        (home / "file").touch()
    with world.full_disk() if trouble == "full disk" else nullcontext():
        first, second = (mint_by(shared(world, directory), world, consumer)["password"] for _ in range(2))
        assert first != second
        more = f"username=x-token-auth\npassword={second}\n".encode()
        assert mint_by(shared(world, directory), world, consumer, "mint-erase", more) == {}
    assert minted(world) == 2


def test_files_of_expired_tokens_are_removed(world: World, home: Path) -> None:
    """By the next that is minted, for whatever consumer."""
    directory = home / "shared"
    mint_by(shared(world, directory), world, world.standin.add_consumer())
    (old,) = directory.iterdir()
    world.offset += 2 * 3600 + 60
    mint_by(shared(world, directory), world, world.standin.add_consumer())
    (new,) = directory.iterdir()
    assert new != old
