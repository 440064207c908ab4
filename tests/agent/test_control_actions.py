"""The verbs beside git's: what they refuse, and that none of them holds up the thread that serves everybody."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.credential import Credential, is_valid_record
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.matching import Index
from git_credential_bitbucket.bitbucket.providers import Provider
from tests.agent.conftest import World

BAD_FIELDS: list[dict[str, Any]] = [
    {"place": None},
    {"place": 5},
    {"secret": 5},
    {"secret": ["x"]},
    {"secret": "two\nlines"},
    {"kind": 5},
    {"account": 7},
    {"account": "a\nb"},
    {"id": 5},
    {"created_at": []},
    {"minted_at": "yesterday"},
    {"last_used_at": "yesterday"},
    {"suspect_until": "tomorrow"},
    {"expires_in": "soon"},
    {"expires_in": 10**400},
    {"lifetime": 10**400},
    {"ends_at": 10**400},
    {"expires_in": float("inf")},
    {"expires_in": True},
    {"scopes": "repository"},
    {"scopes": [1]},
    {"superseded": [3]},
    {"refresh_token": 3},
    {"endpoint": "here"},
]

STUCK_S = 60.0
"""Much longer than anything takes that waits for nobody."""


def ask(world: World, action: str, **fields: str) -> dict[str, str]:
    """What the verb answers."""
    reply = wait_for(control(world.agent, action, git_protocol.emit(list(fields.items()))))
    return dict(line.split("=", 1) for line in reply.decode().split("\n") if line)


def mint(world: World) -> bytes | Deferred:
    """A runner's question with a consumer of its own."""
    consumer = world.standin.add_consumer()
    fields = [("client_id", consumer.key), ("client_secret", consumer.secret)]
    return control(
        world.agent, "mint", git_protocol.emit([*fields, ("protocol", "https"), ("host", world.standin.netloc)])
    )


def test_the_index_is_looked_at_in_the_agents_thread_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at once could leave an older one in place, which has what was removed."""
    login, store, threads = world.login(), world.agent.credential_store, set[int]()
    look = store.index

    def index() -> Index:
        threads.add(threading.get_ident())
        return look()

    monkeypatch.setattr(store, "index", index)
    assert "verdict[]" in ask(world, "identify", **{"id[]": login.id})
    for action in ("repositories", "default", "amend", "restore", "refresh", "token", "warn", "backup-get", "remove"):
        ask(world, action, id=login.id, protocol="https", host=world.standin.netloc)
    assert threads == {threading.get_ident()}


def configured(world: World, source: Path) -> Credential:
    """A token that git's configuration refers to, and that git was given."""
    source.write_text(world.standin.issue_login(world.standin.add_consumer())[0])
    world.agent.find_provider = lambda protocol, host: Provider(
        protocol, host, world.endpoint, token_from=f"file:{source}"
    )
    assert world.get()["password"] == source.read_text()
    (credential,) = world.agent.credential_store.index()
    return credential


def test_a_token_that_gits_configuration_refers_to_is_restored_like_others(world: World, tmp_path: Path) -> None:
    """The reason for its suspension says so; what needs a vault says that it is in none."""
    credential = configured(world, tmp_path / "token")
    world.erase(credential.secret.reveal())
    assert world.get() == {}
    why = ask(world, "why", protocol="https", host=world.standin.netloc, path="acme/app.git")
    assert f"git-credential-bitbucket restore {credential.id}" in why["hint"]
    assert ask(world, "restore", id=credential.id) == {"ok": "1"}
    assert world.get()["password"] == credential.secret.reveal()
    for action in ("remove", "default"):
        assert "tokenFrom" in ask(world, action, id=credential.id)["hint"]


def test_a_token_that_gits_configuration_refers_to_can_be_checked(world: World, tmp_path: Path) -> None:
    """It is in no vault, so there is nowhere to store whose it is."""
    credential = configured(world, tmp_path / "token")
    told = ask(world, "identify", **{"id[]": credential.id})
    assert json.loads(told["verdict[]"])["verdict"] == "valid"


def test_a_login_whose_move_is_not_complete_is_not_revoked(world: World) -> None:
    """The other vault may have the same refresh token, and would lose its login with it."""
    login = world.login()
    world.agent.credential_store.change(login.id, lambda _: {"moving": "0123 /mnt/team/vault"})
    told = ask(world, "remove", id=login.id, revoke="1")
    assert "is not complete" in told["error"]
    assert told["hint"].endswith("git-credential-bitbucket vault move /mnt/team/vault")
    assert world.kept()
    assert ask(world, "remove", id=login.id)["revoked"] == "nothing"
    assert not world.kept()


def test_a_login_that_cannot_be_refreshed_says_why(world: World) -> None:
    """What ended its last renewal, and how to log in again; not that there is no such login."""
    login = world.login()
    ended = {"login_expired": True, "trouble": "the refresh token was lost", "trouble_cure": "log in again"}
    world.agent.credential_store.change(login.id, lambda _: ended)
    told = ask(world, "refresh", id=login.id, by_hand="1")
    assert (told["error"], told["hint"]) == ("the refresh token was lost", "log in again")
    assert ask(world, "refresh", id="0" * 32)["error"] == "there is no such credential that can be refreshed"


@pytest.mark.parametrize("bad", BAD_FIELDS, ids=lambda bad: str(bad)[:30])
def test_a_record_with_a_wrong_field_is_refused(world: World, bad: dict[str, Any]) -> None:
    """One that was kept would stop every answer from then on."""
    record = {"kind": "oauth", "place": world.standin.url, "secret": "x", "endpoint": world.endpoint.to_record()}
    assert "id" in ask(world, "add", record=json.dumps(record))
    assert "error" in ask(world, "add", record=json.dumps(record | bad))
    assert len(world.kept()) == 1


@pytest.mark.parametrize("name", Credential._fields)
def test_every_field_of_a_record_is_checked(name: str) -> None:
    """Each annotation is known to the check, and none holds a list in a list."""
    assert not is_valid_record({name: [[]]})


@pytest.mark.parametrize("text", ["{", "[]", "5", "null", "NaN", "[" * 50000, '"x"', "{}", '{"kind": "oauth"}'])
def test_what_is_no_record_is_refused(world: World, text: str) -> None:
    """Anything may be written to a socket."""
    assert "error" in ask(world, "add", record=text)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("add", {}),
        ("amend", {}),
        ("amend", {"id": "none", "ends_at": "nan"}),
        ("explain", {}),
        ("mint", {}),
        ("refresh", {}),
        ("refresh", {"id": "none"}),
        ("rekey", {}),
        ("rekey", {"key": "AAAA", "source": "environment"}),
        ("rekey", {"key": "A" * 43 + "=", "source": "passphrase", "salt": "00", "argon2": "1,1,8"}),
        ("rekey", {"key": "A" * 43 + "=", "source": "passphrase", "salt": "00" * 16, "argon2": "65,1,8"}),
        ("remove", {"id": "none"}),
        ("restore", {"id": "none"}),
        ("token", {}),
        ("unlock", {"key": "€", "source": "environment"}),
        ("unlock", {"key": "A" * 43 + "=", "source": "passphrase", "salt": "!", "argon2": "1,2"}),
        ("why", {}),
    ],
)
def test_a_verb_without_what_it_needs_says_so(world: World, action: str, fields: dict[str, str]) -> None:
    """An empty answer would look as if another program listened there."""
    world.login()
    assert ask(world, action, **fields)["error"]


def test_a_consumer_without_its_secret_is_refused(world: World) -> None:
    assert ask(world, "mint", protocol="https", host=world.standin.netloc, client_id="x")["error"]


def test_a_refresh_that_must_open_the_vault_first_is_answered_with_its_error(world: World) -> None:
    """What goes wrong after the wait for the key is told as well as what goes wrong before it."""
    world.login()
    world.agent.credential_store.vault.lock()
    assert "no such credential" in ask(world, "refresh", id="none")["error"]


def test_another_consumers_slow_renewal_does_not_hold_up_the_loop(world: World) -> None:
    """The memory's lock is held across a renewal, so who waits for it is a job."""
    world.standin.script_fault("token", "hold")
    jobs = [mint(world)]
    asked = threading.Thread(target=lambda: jobs.append(mint(world)))
    while not world.standin.token_requests():
        world.agent.tick()
    asked.start()
    asked.join(STUCK_S)
    stuck = asked.is_alive()
    world.standin.release()
    asked.join()
    assert not stuck
    assert all(b"password=" in wait_for(job) for job in jobs)


def test_many_first_questions_for_one_consumer_mint_once(world: World) -> None:
    """What the first one's token was minted for is not replaced by the second one's question."""
    consumer = world.standin.add_consumer()
    body = git_protocol.emit([("client_id", consumer.key), ("client_secret", consumer.secret)]) + (
        f"protocol=https\nhost={world.standin.netloc}\n".encode()
    )
    pending = [control(world.agent, "mint", body) for _ in range(20)]
    assert len({wait_for(one) for one in pending}) == 1
    assert len(world.standin.token_requests()) == 1


def test_locking_does_not_wait_for_a_renewal(world: World) -> None:
    """Who walks away from the desk has the vault locked now, and the loop goes on."""
    world.login()
    world.get()
    world.standin.script_fault("token", "hold")
    world.offset += 7300
    renewed = world.agent.get(world.lines())
    while not world.standin.token_requests():
        world.agent.tick()
    asked = threading.Thread(target=lambda: wait_for(control(world.agent, "lock", b"")))
    asked.start()
    asked.join(STUCK_S)
    stuck = asked.is_alive()
    world.standin.release()
    asked.join()
    wait_for(renewed)
    assert not stuck
    assert world.get() == {}
