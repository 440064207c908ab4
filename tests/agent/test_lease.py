"""A renewal holds its own credential alone; wherever it is cut off, what Bitbucket answered gets into the vault."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from git_credential_bitbucket.agent import renewal, retention, revocation, upgrade_state
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.errors import UnknownCredential, VaultBusy, VaultLocked
from git_credential_bitbucket.vault.key import Key
from tests.agent.conftest import World


class Cut(BaseException):
    """What stands for the end of a process in the middle of a renewal."""


def cut_at(point: str) -> Callable[[str], None]:
    """A step that ends everything at `point`."""

    def step(name: str) -> None:
        if name == point:
            raise Cut

    return step


def cut_off(world: World, point: str) -> Credential:
    """A login whose renewal was cut off at `point`; only what is on the disk is left of it."""
    login = world.login()
    world.offset += 7300
    dying = world.another(cut_at(point))
    dying.credential_store.open()
    with pytest.raises(Cut):
        dying.renewals.renew(login.id, login.generation)
    return login


def other(world: World) -> Agent:
    """Another process, with the key at hand."""
    agent = world.another()
    agent.credential_store.open()
    return agent


@pytest.mark.parametrize("who", ["the same process", "another process"])
def test_a_hanging_endpoint_holds_its_own_credential_alone(world: World, who: str) -> None:
    """Another credential's renewal, a store, an erase, a login and a logout go through meanwhile."""
    held = world.login(place=f"{world.standin.url}/held")
    free = world.login(place=f"{world.standin.url}/free")
    world.offset += 7300
    job = world.hanging(held)
    hung = world.agent
    if who == "another process":
        world.agent = other(world)
    assert world.get(path="free/app.git")["password"] != free.secret.reveal()
    token = world.standin.issue_access_token("acme/app")
    assert world.store("x-token-auth", token).startswith(b"ok=1")
    assert world.get()["password"] == token
    assert world.erase(token) == b"ok=1\n"
    later = world.login(place=f"{world.standin.url}/later")
    retention.remove(world.agent.credential_store, later.id)
    assert not job.done()
    world.standin.release()
    assert job.result().generation == 2
    assert hung.credential_store.index().get(free.id) == world.agent.credential_store.index().get(free.id)
    assert {c.id: c.generation for c in world.kept()}[free.id] == 2


def test_the_second_client_waits_for_the_same_renewal(world: World) -> None:
    """Another process, too; and it finds the new token, without a second request."""
    login = world.login()
    world.offset += 7300
    job = world.hanging(login)
    second = other(world)
    pending = second.get(world.lines())
    assert isinstance(pending, Deferred)
    assert pending.give_up() == b"", "at its deadline it answers with what lives: nothing here"
    assert not pending.future.done()
    world.standin.release()
    assert f"password={job.result().secret.reveal()}\n".encode() in wait_for(pending)
    assert len(world.standin.token_requests()) == 1


@pytest.mark.parametrize("point", ["renewal-kept", "renewal-written"])
@pytest.mark.parametrize("who", ["client", "writer", "reader", "starter", "rekey"])
def test_a_whole_answer_left_over_is_merged_by_the_next_client(world: World, who: str, point: str) -> None:
    """Before it is in the vault, and once it is: with the first use of the vault after it, and once only."""
    login = cut_off(world, point)
    agent = other(world)
    if who == "client":
        assert agent.renewals.renew(login.id, login.generation).generation == 2
    elif who == "writer":
        agent.credential_store.change(login.id, lambda _: {"account": "alice"})
    elif who == "rekey":
        world.key = os.urandom(32)
        agent.credential_store.vault.rekey(Key(world.key, "environment"))
    elif who == "starter":
        assert world.get(agent=agent)["password"]
    else:
        found = agent.credential_store.index().get(login.id)
        assert found is not None
        assert found.generation == 2
    (kept,) = world.kept()
    assert (kept.generation, kept.failures) == (2, 0)
    assert kept.refresh_token
    assert not world.standin.is_spent(kept.refresh_token.reveal())
    agent.credential_store.change(login.id, lambda _: {"account": "bob"})
    assert agent.credential_store.vault.storage.leases() == []
    assert len(world.standin.token_requests()) == 1
    world.offset += 7300
    assert world.get(agent=agent)["password"] != kept.secret.reveal()


@pytest.mark.parametrize("point", ["renewal-leased", "renewal-reserved"])
def test_interrupted_before_the_request_it_starts_again(world: World, point: str) -> None:
    """Nothing is spent, so the next renewal is one like any other."""
    cut_off(world, point)
    assert world.get()["password"]
    (kept,) = world.kept()
    assert (kept.generation, len(world.standin.token_requests())) == (2, 1)


def test_what_was_lost_with_the_process_is_told_as_what_it_is(world: World) -> None:
    """The answer had not arrived on the disk: the refresh token is spent, a login helps, and waiting does not."""
    cut_off(world, "renewal-granted")
    assert world.get() == {}
    state, cause, hint = diagnose_request(world.agent, world.lines())
    assert (state, "interrupted" in cause, "login" in hint) == ("login-expired", True, True)
    assert len(world.standin.token_requests()) == 2


def test_an_outage_after_that_does_not_hide_it(world: World) -> None:
    """No answer says nothing new about the refresh token."""
    login = cut_off(world, "renewal-granted")
    world.standin.script_fault("token", "reset", count=1)
    assert world.get() == {}
    assert diagnose_request(world.agent, world.lines())[0] == "unreachable"
    world.offset += 600
    assert world.get() == {}
    assert diagnose_request(world.agent, world.lines())[0] == "login-expired"
    world.login()
    assert world.agent.credential_store.index().get(login.id) is not None


def test_an_answer_outlives_a_full_disk_and_the_process(world: World) -> None:
    """Its room was taken before the request, the vault's was not to be had: no process has to stay for that."""
    login = world.login()
    world.offset += 7300
    with world.full_disk(has_room=True):
        assert world.get() == {}
        assert diagnose_request(world.agent, world.lines())[1] == "the disk is full"
        assert not world.agent.renewals.unwritten
        world.agent.close()
        world.agent = other(world)
        assert [c.generation for c in world.agent.credential_store.index()] == [1], "it can still be read"
    assert world.get()["password"] != login.secret.reveal()
    assert [c.generation for c in world.kept()] == [2]
    assert len(world.standin.token_requests()) == 1


def test_a_tick_merges_what_the_disk_did_not_take(world: World) -> None:
    """Nobody asks, and the disk has room again."""
    world.login()
    world.offset += 7300
    with world.full_disk(has_room=True):
        assert world.get() == {}
    world.agent.tick()
    world.executor.shutdown()
    assert [c.generation for c in world.kept()] == [2]


def test_a_login_removed_meanwhile_stays_gone_and_is_revoked(world: World) -> None:
    """Bitbucket hears at once that the new refresh token is not wanted, or, if it does not answer, a while later."""
    login = world.login()
    world.offset += 7300
    job = world.hanging(login)
    retention.remove(world.agent.credential_store, login.id)
    world.standin.turn(revocation=False)
    world.standin.release()
    with pytest.raises(UnknownCredential):
        job.result()
    assert world.kept() == []
    vault = world.agent.credential_store.vault
    (queued,) = vault.snapshot().content["revocations"]
    assert queued["credential"]["refresh_token"] != (login.refresh_token and login.refresh_token.reveal())
    assert not revocation.is_due(vault.snapshot().content, world.clock())
    world.standin.turn(revocation=True)
    world.offset += revocation.RETRY_S + 1
    world.agent.tick()
    world.executor.shutdown()
    assert len(world.standin.requests("revoke")) == 2
    assert not vault.snapshot().content["revocations"]


def test_an_answer_for_a_vault_that_was_locked_meanwhile_waits_for_its_unlocking(world: World) -> None:
    """The key that sealed it is gone from memory then, and the answer is in a file."""
    login = world.login()
    world.offset += 7300
    job = world.hanging(login)
    world.agent.lock("by hand")
    world.standin.release()
    with pytest.raises(VaultLocked):
        job.result()
    assert not world.agent.renewals.unwritten
    world.agent.close()
    other(world).credential_store.index()
    (kept,) = world.kept()
    assert kept.generation == 2
    assert len(world.standin.token_requests()) == 1


def test_a_rekey_waits_for_a_renewal_and_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer under the old key would be opened by nobody any more."""
    login = world.login()
    world.offset += 7300
    job = world.hanging(login)
    impatient = other(world)
    monkeypatch.setattr(impatient.credential_store.vault.storage, "_lock_timeout_s", 0.05)
    new = os.urandom(32)
    with pytest.raises(VaultBusy, match="lease"):
        impatient.credential_store.vault.rekey(Key(new, "environment"))
    rekeyed = world.agent.submit(lambda: world.agent.credential_store.vault.rekey(Key(new, "environment")))
    world.standin.release()
    rekeyed.result()
    assert job.result().generation == 2
    world.key = new
    assert [c.generation for c in world.kept()] == [2]


def test_no_answer_lies_on_the_disk_in_the_clear(world: World) -> None:
    """Neither token nor refresh token, also where the answer was left over."""
    cut_off(world, "renewal-kept")
    (left,) = Path(f"{world.path}.renewing").iterdir()
    blob = left.read_bytes()
    assert len(blob) > renewal.LOGIN_EXPIRED_AFTER
    assert not [secret for secret in world.standin.secrets() if secret.encode() in blob]
    assert b"access_token" not in blob


def test_what_an_earlier_version_hands_over_is_an_answer(world: World) -> None:
    """Version 0.1.0 gave a whole record with the grant in it."""
    login = world.login()
    granted = {"secret": "new", "refresh_token": "newer", "generation": 2, "minted_at": 5.0, "expires_at": 7205.0}
    state = upgrade_state.export_state(world.agent) | {"unwritten": {login.id: login.to_record() | granted}}
    successor = world.another()
    upgrade_state.import_state(successor, json.loads(json.dumps(state)))
    successor.close()
    (kept,) = world.kept()
    assert (kept.generation, kept.secret.reveal(), kept.expires_at) == (2, "new", 7205.0)
    assert kept.refresh_token is not None
    assert kept.refresh_token.reveal() == "newer"
