"""Never an expired token, never a refresh token twice."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_bitbucket.agent import renewal, renewal_schedule, revocation, status_views, upgrade_state
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import Deferred, wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.token_response import RawAnswer
from git_credential_bitbucket.errors import DaemonUnavailable, WrongKey
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.file import FileStorage
from tests.agent.conftest import World

STATE = "capability[]=state\n"


def test_a_fresh_token_is_answered_without_a_request(world: World) -> None:
    login = world.login()
    answer = world.get()
    assert (answer["username"], answer["password"]) == ("x-token-auth", login.secret.reveal())
    assert answer["password_expiry_utc"] == str(int(login.expires_at or 0))
    assert "state[]" not in answer
    assert world.standin.token_requests() == []


def test_an_expired_token_is_renewed_before_it_is_answered(world: World) -> None:
    """Git never gets a token that has ended, and the new refresh token is on disk."""
    login = world.login()
    world.offset += 7300
    answer = world.get()
    assert answer["password"] not in ("", login.secret.reveal())
    (kept,) = world.kept()
    assert kept.secret.reveal() == answer["password"]
    assert kept.refresh_token not in (None, login.refresh_token)
    assert kept.generation == 2
    assert len(world.standin.token_requests()) == 1


def test_fifty_parallel_gets_on_an_expired_token_make_one_request(world: World) -> None:
    """A submodule tree that wakes up on Monday does not spend the refresh token twice."""
    world.login()
    world.offset += 7300
    world.standin.turn(latency=0.3)
    pending = [world.agent.get(world.lines()) for _ in range(50)]
    assert all(isinstance(one, Deferred) for one in pending)
    answers = {wait_for(one) for one in pending}
    assert len(answers) == 1
    assert b"password=" in answers.pop()
    assert len(world.standin.token_requests()) == 1


def test_many_processes_on_one_vault_make_one_request(world: World) -> None:
    """Daemons and in-process users share the vault's lock, and the second finds the new token."""
    world.login()
    world.offset += 7300
    agents = [world.another() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda agent: world.get(agent=agent)["password"], agents))
    assert len(set(answers)) == 1
    assert len(world.standin.token_requests()) == 1


def test_a_used_token_is_renewed_ahead_of_time_and_an_unused_one_is_not(world: World) -> None:
    """Nobody waits for the token that he uses; nobody keeps Bitbucket busy for one that he does not."""
    used = world.login(place=f"{world.standin.url}/acme")
    idle = world.login(place=f"{world.standin.url}/other")
    world.get()
    world.offset += 5700
    world.agent.tick()
    world.agent.renewals.start(used).result()
    by_id = {c.id: c for c in world.kept()}
    assert by_id[used.id].generation == 2
    assert by_id[idle.id].generation == 1
    assert len(world.standin.token_requests()) == 1


def test_an_idle_refresh_token_is_used_before_three_months_end_it(world: World) -> None:
    """An unused refresh token dies after three months; the daemon does not let it."""
    login = world.login()
    world.offset += 76 * 86400
    world.agent.tick()
    assert world.agent.renewals.start(login).result().generation == 2


def test_a_failed_renewal_leaves_the_living_token_in_service(world: World) -> None:
    """Bitbucket's trouble is not the user's as long as the token lives."""
    login = world.login()
    world.standin.script_fault("token", "503", count=9)
    world.offset += 6700
    assert world.get()["password"] == login.secret.reveal()
    (kept,) = world.kept()
    assert kept.refresh_token == login.refresh_token
    assert kept.failures == 1
    assert kept.trouble
    world.get()
    assert len(world.standin.token_requests()) == 1, "the floor between attempts holds"


def test_after_a_failure_the_cause_is_told_and_the_next_attempt_succeeds(world: World) -> None:
    world.login()
    world.standin.script_fault("token", "503")
    world.offset += 7300
    assert world.get() == {}
    state, cause, hint = diagnose_request(world.agent, world.lines())
    assert state == "unreachable"
    assert cause
    assert "next attempt" in hint
    world.offset += 60
    assert world.get()["password"]


def test_a_failure_that_a_person_can_fix_tells_how(world: World) -> None:
    """Not only when it is tried again; and once it is fixed, nothing is left of it."""
    world.login(endpoint={**world.endpoint.to_record(), "ca_file": None})
    world.offset += 7300
    assert world.get() == {}
    state, cause, hint = diagnose_request(world.agent, world.lines())
    assert (state, "certificate" in cause) == ("unreachable", True)
    assert "presents it, run: git config --global http.sslCAInfo FILE (the next attempt is in " in hint
    (kept,) = world.kept()
    stated = status_views.credential_view(kept, world.agent, world.clock())
    assert "http.sslCAInfo FILE (the next attempt is in " in str(stated["hint"])
    assert str(stated["trouble_hint"]).endswith("http.sslCAInfo FILE")
    world.agent.credential_store.change(kept.id, lambda _: {"endpoint": world.endpoint.to_record()})
    world.offset += 60
    assert world.get()["password"]
    (kept,) = world.kept()
    assert (kept.trouble, kept.trouble_cure) == (None, None)


def test_after_an_outage_not_all_logins_are_tried_at_the_same_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits a time of its own, within the bounds; the clock stands still, so that only this makes a difference."""
    names = [f"w{number}" for number in range(8)]
    for name in names:
        world.login(place=f"{world.standin.url}/{name}")
    now = world.clock() + 7300
    monkeypatch.setattr(world, "clock", lambda: now)
    world.agent = world.another()
    world.standin.script_fault("token", "503", count=len(names))
    for name in names:
        assert world.get(path=f"{name}/app.git") == {}
    pauses = [(kept.retry_at or 0.0) - now for kept in world.kept()]
    floor = renewal_schedule.MIN_RETRY_S
    assert all(floor <= pause <= 1.5 * floor for pause in pauses), pauses
    assert len(set(pauses)) > 1


def test_a_rejected_refresh_token_is_told_at_once_and_given_up_after_several_tries(world: World) -> None:
    """A login helps and waiting does not, so nobody is told to wait; but one rejection proves nothing."""
    world.login(place=f"{world.standin.url}/acme")
    world.standin.revoke_logins()
    world.offset += 7300
    for _ in range(renewal.LOGIN_EXPIRED_AFTER):
        assert world.get() == {}
        state, cause, hint = diagnose_request(world.agent, world.lines())
        assert state == "login-expired"
        assert "has expired: Bitbucket rejected the refresh token" in cause
        assert hint == f"run: git-credential-bitbucket login --host {world.standin.url} --oauth --for acme"
        assert world.get() == {}
        world.offset += 1800
    (kept,) = world.kept()
    assert kept.refresh_token, "nothing that a person might still need is thrown away"
    assert world.get() == {}
    assert len(world.standin.token_requests()) == renewal.LOGIN_EXPIRED_AFTER


def test_a_person_s_refresh_is_tried_within_the_pause(world: World) -> None:
    """Who runs it has fixed something; what asks again only to go on waiting keeps the pause."""
    login = world.login()
    world.standin.script_fault("token", "503", count=2)
    world.offset += 7300
    assert world.get() == {}
    assert world.get() == {}
    assert len(world.standin.token_requests()) == 1, "the pause"
    by_hand, waiting = f"id={login.id}\nby_hand=1\n".encode(), f"id={login.id}\n".encode()
    assert b"error=" in wait_for(control(world.agent, "refresh", by_hand))
    assert b"error=" in wait_for(control(world.agent, "refresh", waiting))
    assert len(world.standin.token_requests()) == 2
    assert b"expires_at=" in wait_for(control(world.agent, "refresh", by_hand))
    assert len(world.standin.token_requests()) == 3


def test_an_impatient_person_does_not_lose_a_login_to_a_lock_out(world: World) -> None:
    """Rejections within one pause may be the same lock-out's, and give nothing up."""
    login = world.login()
    world.standin.revoke_logins()
    for _ in range(renewal.LOGIN_EXPIRED_AFTER + 1):
        assert b"error=" in wait_for(control(world.agent, "refresh", f"id={login.id}\nby_hand=1\n".encode()))
    (kept,) = world.kept()
    assert (kept.refusals, kept.login_expired) == (1, False)


def test_a_login_outlives_a_lock_out(world: World) -> None:
    """Somebody has sent a spent refresh token, so Bitbucket rejects the valid one for a while (a published probe)."""
    login = world.login()
    world.offset += 7300
    assert world.get()["password"]
    world.standin.turn(reuse_lockout=50)
    renewal.send_request(login)
    world.offset += 7300
    assert world.get() == {}
    assert diagnose_request(world.agent, world.lines())[0] == "login-expired"
    for seconds in (30, 31):
        asked = len(world.standin.token_requests())
        world.offset += seconds
        world.standin.advance(seconds)
        answer = world.get()
        assert (len(world.standin.token_requests()) - asked, bool(answer)) == (int(seconds > 30), seconds > 30)
    (kept,) = world.kept()
    assert (kept.refusals, kept.refresh_rejected, kept.trouble) == (0, False, None)


def test_an_outage_after_a_rejection_is_told_as_an_outage(world: World) -> None:
    world.login()
    world.standin.revoke_logins()
    world.offset += 7300
    assert world.get() == {}
    world.standin.script_fault("token", "503")
    world.offset += 1800
    assert world.get() == {}
    assert diagnose_request(world.agent, world.lines())[0] == "unreachable"


def test_an_outage_is_no_refusal(world: World) -> None:
    """A night without network, and one refusal in the morning, do not end a login."""
    world.login()
    world.offset += 7300
    world.standin.script_fault("token", "503", count=renewal.LOGIN_EXPIRED_AFTER)
    for _ in range(renewal.LOGIN_EXPIRED_AFTER):
        assert world.get() == {}
        world.offset += 1800
    world.standin.revoke_logins()
    assert world.get() == {}
    (kept,) = world.kept()
    assert (kept.refusals, kept.login_expired) == (1, False)


def test_a_missing_expires_in_means_short(world: World) -> None:
    """A token of unknown life is not trusted for ever."""
    login = world.login(expires_in=None)
    assert (login.expires_at or 0) - login.minted_at == 600


def test_the_consumers_own_tokens_are_minted_again(world: World) -> None:
    """client_credentials has no refresh token since 2026; the consumer asks again."""
    login = world.login()
    world.agent.credential_store.change(login.id, lambda _: {"set_aside_at": world.clock(), "set_aside_why": "test"})
    consumer = world.standin.add_consumer()
    world.login(
        kind=token_kinds.CLIENT_CREDENTIALS,
        refresh_token=None,
        client_id=consumer.key,
        client_secret=consumer.secret,
        secret="",
    )
    assert world.get()["username"] == "x-token-auth"
    assert [entry.endpoint for entry in world.standin.token_requests()] == ["token"]


def test_a_revoked_token_is_replaced_within_the_command(world: World) -> None:
    """Git ≥ 2.46 comes back with our state when the server refuses: it gets another token, and no third try."""
    world.login()
    first = world.get(STATE)
    assert first["continue"] == "1"
    second = world.get(f"{STATE}state[]={first['state[]']}\n")
    assert second["password"] != first["password"]
    assert "continue" not in second
    assert world.get(f"{STATE}state[]={second['state[]']}\n") == {}, "a token minted moments ago was rejected as well"
    assert len(world.standin.token_requests()) == 1
    assert diagnose_request(world.agent, world.lines())[0] == "suspended"


def test_two_commands_that_meet_one_revoked_token_renew_it_once(world: World) -> None:
    """The second finds the generation that the first has made."""
    world.login()
    first = world.get(STATE)
    again = f"{STATE}state[]={first['state[]']}\n"
    assert world.get(again)["password"] == world.get(again)["password"] != first["password"]
    assert len(world.standin.token_requests()) == 1


def test_the_deadline_answers_with_a_token_that_still_lives(world: World) -> None:
    """A hanging Bitbucket does not take a living token away."""
    login = world.login()
    world.offset += 6700
    world.standin.turn(latency=2.0)
    pending = world.agent.get(world.lines())
    assert isinstance(pending, Deferred)
    assert login.secret.reveal().encode() in pending.give_up()
    wait_for(pending)


def test_a_grant_that_cannot_be_written_is_not_answered_and_not_lost(world: World) -> None:
    """Durable first: with a disk that fails after the request, the new refresh token waits in memory for the disk."""
    login = world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
        assert diagnose_request(world.agent, world.lines())[1] == "the disk is full"
        assert world.agent.must_keep_running()
    answer = world.get()
    (kept,) = world.kept()
    assert kept.secret.reveal() == answer["password"] != login.secret.reveal()
    assert len(world.standin.token_requests()) == 1, "the refresh token was spent once"


def test_a_grant_that_waits_for_the_disk_is_written_when_the_process_ends(world: World) -> None:
    """The disk has recovered, and nobody has asked since: the end is the last occasion, and nobody else knows it."""
    login = world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
        world.agent.close()
        assert world.agent.renewals.unwritten
        assert world.agent.renewals.troubles[login.id].cause == "the disk is full"
    world.agent.close()
    (kept,) = world.kept()
    assert (kept.generation, kept.login_expired) == (2, False)
    assert kept.refresh_token
    assert not world.standin.is_spent(kept.refresh_token.reveal())
    assert not world.agent.renewals.unwritten
    assert not world.agent.renewals.troubles
    assert len(world.standin.token_requests()) == 1


def test_an_end_writes_no_grant_over_a_later_one_and_asks_nobody(world: World) -> None:
    """Another process has the living refresh token by then; what is left over here is thrown away."""
    login = world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
    world.agent.credential_store.change(login.id, lambda _: {"generation": 3, "expires_at": 0.0})
    world.agent.close()
    (kept,) = world.kept()
    assert kept.generation == 3
    assert not world.agent.renewals.unwritten
    assert len(world.standin.token_requests()) == 1


def test_who_is_leaving_begins_no_request(world: World) -> None:
    """Also one that waited for the vault's lock: its answer could come when nobody is there to write it down."""
    login = world.login()
    world.offset += 7300
    with FileStorage(str(world.path)).lock():
        waiting = world.agent.renewals.start(login)
        assert not world.agent.renewals.is_requesting
        world.agent.renewals.stopping = True
    with pytest.raises(DaemonUnavailable):
        waiting.result()
    assert world.get() == {}
    assert not world.agent.renewals.is_requesting
    assert world.standin.token_requests() == []
    (kept,) = world.kept()
    assert (kept.generation, kept.failures) == (1, 0)


def test_a_renewal_counts_as_asking_until_its_answer_is_on_disk(world: World) -> None:
    """From before the request, so that no moment is left in which the process might end."""
    world.login()
    world.offset += 7300
    seen = []
    world.agent = world.another(lambda name: seen.append((name, world.agent.renewals.is_requesting)))
    assert world.get()["password"]
    before, after = ("leased", "reserved"), ("granted", "kept", "written", "forgotten")
    assert seen == [(f"renewal-{name}", False) for name in before] + [(f"renewal-{name}", True) for name in after]
    assert not world.agent.renewals.is_requesting


def test_an_answer_without_a_refresh_token_leaves_the_one_before(world: World) -> None:
    """RFC 6749 lets it be left out where it stays the same; the login goes on."""
    login = world.login()
    world.standin.turn(rotate_refresh_tokens=False, omit_refresh_token=True)
    for generation in (2, 3):
        world.offset += 7300
        assert world.get()["password"]
        (kept,) = world.kept()
        assert (kept.generation, kept.refresh_token) == (generation, login.refresh_token)


ODD = {
    "no access token": (200, '{"refresh_token": "{refresh_token}"}'),
    "an error beside it": (400, '{"error": "invalid_grant", "refresh_token": "{refresh_token}"}'),
    "a server error": (500, '{"access_token": "{access_token}", "refresh_token": "{refresh_token}"}'),
    "a broken end": (200, '{"refresh_token": "{refresh_token}", "expires_in": 7'),
}


@pytest.mark.parametrize(("status", "body"), ODD.values(), ids=ODD)
def test_a_new_refresh_token_is_kept_whatever_else_is_wrong(world: World, status: int, body: str) -> None:
    """The one before is spent: the failure is noted, and the next attempt uses the new one."""
    login = world.login()
    world.standin.script_fault("token", "odd", status=status, body=body)
    world.offset += 7300
    assert world.get() == {}
    (kept,) = world.kept()
    assert kept.refresh_token not in (None, login.refresh_token)
    assert (kept.generation, kept.failures, kept.refusals) == (1, 1, 0)
    assert kept.trouble
    world.offset += 60
    assert world.get()["password"]
    (kept,) = world.kept()
    assert (kept.generation, kept.trouble) == (2, None)


def test_a_new_refresh_token_beside_an_error_waits_for_the_disk(world: World) -> None:
    """As a grant does: it is in no file yet, and this process must not end before it is."""
    login = world.login()
    world.standin.script_fault("token", "odd", status=500, body='{"refresh_token": "{refresh_token}"}')
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
        assert world.agent.must_keep_running()
    world.agent.close()
    (kept,) = world.kept()
    assert kept.refresh_token not in (None, login.refresh_token)
    assert len(world.standin.token_requests()) == 1


def test_no_request_is_made_when_the_disk_cannot_take_the_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refresh token is not spent for an answer that could not be kept."""
    world.login()
    world.offset += 7300

    def full(_fd: int, data: bytes, _offset: int) -> int:
        assert len(data) > 50_000
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    assert world.get() == {}
    assert world.standin.token_requests() == []
    assert not [*Path(f"{world.path}.renewing").iterdir()]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_an_hour_off_serves_no_expired_token(world: World, jump: float) -> None:
    """Whichever way the clock jumps, what is answered is fresh or renewed."""
    world.login()
    world.get()
    world.offset += jump
    assert world.get()["password"]
    (kept,) = world.kept()
    assert kept.generation == (2 if jump < 0 else 1)


def test_a_second_login_keeps_the_former_one_for_thirty_days(world: World) -> None:
    former = world.login()
    world.login()
    aside = {c.id: c.set_aside_why for c in world.kept()}
    assert aside[former.id] == "replaced by a newer one"
    world.offset += 20 * 86400
    world.login(account="someone else")
    assert former.id in {c.id for c in world.kept()}
    world.offset += 11 * 86400
    world.login(account="someone else again")
    assert former.id not in {c.id for c in world.kept()}


def test_repr_of_a_credential_shows_no_secret(world: World) -> None:
    login = world.login()
    shown = repr(login._replace(account="a"))
    for secret in (login.secret, login.refresh_token, login.client_secret):
        assert secret
        assert secret.reveal() not in shown


def test_a_grant_not_yet_written_is_taken_over_although_the_vault_has_another_key(world: World) -> None:
    """What an upgrade hands on may be the only refresh token that still works, whatever became of the vault."""
    login = world.login()
    held = renewal.answer_of_0_1_0(login.to_record() | {"generation": 2})
    state = upgrade_state.export_state(world.agent) | {"unwritten": {login.id: held}, "locked_by_person": True}
    world.agent.credential_store.vault.rekey(Key(os.urandom(32), "environment"))
    successor = world.another()
    with pytest.raises(WrongKey):
        upgrade_state.import_state(successor, state)
    assert successor.renewals.unwritten == {login.id: held}
    assert successor.credential_store.locked_by_person


def test_a_grant_that_waits_for_the_disk_outlives_an_upgrade(world: World) -> None:
    """What one agent could not write, the next one does, from what is handed over as JSON."""
    world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
    state = json.loads(json.dumps(upgrade_state.export_state(world.agent)))
    successor = world.another()
    upgrade_state.import_state(successor, state)
    assert successor.must_keep_running()
    successor.close()
    (kept,) = world.kept()
    assert kept.generation == 2
    assert kept.refresh_token
    assert not world.standin.is_spent(kept.refresh_token.reveal())
    assert len(world.standin.token_requests()) == 1


def test_a_successor_knows_how_it_was_locked_and_what_was_used(world: World) -> None:
    """A use that could not be written down while the vault was locked is what keeps a token renewed."""
    login = world.login()
    world.get()
    used = world.agent.credential_store.last_used(login)
    world.agent.lock("because it was idle")
    state = json.loads(json.dumps(upgrade_state.export_state(world.agent)))
    successor = world.another()
    upgrade_state.import_state(successor, state)
    _, cause, _ = diagnose_request(successor, world.lines())
    assert "it was idle" in cause
    assert successor.credential_store.last_used(login) == used != login.last_used_at


def test_no_access_costs_ever_fewer_renewals(world: World) -> None:
    """Where every new token is refused too, each round waits longer, until one of them works."""
    world.login(minted_at=world.clock() - 1000)
    minted = []
    for _ in range(600):
        answer = world.get()
        if answer:
            world.erase(answer["password"])
        world.offset += 12
        minted.append(len(world.standin.token_requests()))
    assert minted[-1] <= 6
    assert world.kept()[0].refresh_token


def test_a_grant_is_written_although_another_process_gave_the_login_up(world: World) -> None:
    """What Bitbucket gave last is the living refresh token, whatever the vault says of the one before."""
    login = world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
    world.another().credential_store.vault.unlock(Key(world.key, "environment"))
    world.agent.credential_store.change(login.id, lambda _: {"login_expired": True})
    world.agent.tick()
    world.agent.renewals.start(login).result()
    (kept,) = world.kept()
    assert (kept.generation, kept.login_expired) == (2, False)
    assert not world.agent.renewals.unwritten


def retry_revocations(world: World, after_s: float = 0) -> None:
    """Try those that are due then."""
    vault, renewals = world.agent.credential_store.vault, world.agent.renewals
    revocation.retry_due(vault, world.clock() + after_s, renewals.with_endpoint, lambda _: None)


def test_an_answer_for_what_was_logged_out_keeps_nobody_and_is_revoked(world: World) -> None:
    """Its owner does not want it any more: the login stays gone, and Bitbucket is told of the new refresh token."""
    login = world.login()
    world.offset += 7300
    with world.full_disk():
        assert world.get() == {}
        (held,) = world.agent.renewals.unwritten.values()
    body = RawAnswer.from_record(held["answer"]["raw"]).body
    wait_for(control(world.agent, "remove", f"id={login.id}\n".encode()))
    world.agent.renewals.write_answers()
    assert not world.agent.must_keep_running()
    assert world.kept() == []
    retry_revocations(world)
    given = login._replace(refresh_token=Secret(json.loads(body)["refresh_token"]))
    assert renewal.interpret(given, renewal.send_request(given)).grant is None
    assert len(world.standin.requests("revoke")) == 1
    assert not world.agent.credential_store.vault.snapshot().content.get("revocations")


def test_a_logout_that_bitbucket_did_not_answer_is_revoked_later(world: World) -> None:
    """The login is gone here at once; the queue in the vault is worked off once Bitbucket is back."""
    login = world.login()
    world.standin.script_fault("revoke", "404", count=1)
    told = wait_for(control(world.agent, "remove", f"id={login.id}\nrevoke=1\n".encode()))
    assert b"revoked=queued" in told
    assert world.kept() == []
    retry_revocations(world, revocation.RETRY_S + 1)
    assert renewal.interpret(login, renewal.send_request(login)).grant is None
    assert not world.agent.credential_store.vault.snapshot().content.get("revocations")


def test_a_clock_far_ahead_for_a_moment_forgets_nothing(world: World) -> None:
    """Thirty days that nobody has seen pass are not thirty days."""
    former = world.login()
    world.login()
    world.offset += 400 * 86400
    world.login(account="someone else")
    world.offset -= 400 * 86400
    assert former.id in {c.id for c in world.kept()}
