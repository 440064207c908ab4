"""One refresh token, several hosts: it is presented once, whoever is cut off, and wherever."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.errors import VaultBusy, VaultUnreachable
from git_credential_bitbucket.vault.storage import redis_server
from tests.agent.conftest import World
from tests.daemon.daemons import eventually
from tests.valkey import Valkey


class Cut(BaseException):
    """What stands for the end of a host in the middle of a renewal."""


class Fleet:
    """Hosts with a copy each of one shared vault."""

    def __init__(self, world: World, valkey: Valkey) -> None:
        self.world = world
        self.valkey = valkey

    def host(self, name: str, step: Callable[[str], None] = lambda _: None, lock_timeout_s: float = 20) -> Agent:
        """A process on the host of this name, with the key at hand."""
        path = self.world.path.parent / name / "vault"
        agent = self.world.another(step, self.valkey.storage(path, step=step, lock_timeout_s=lock_timeout_s))
        agent.credential_store.open(create=True)
        return agent

    def login(self, *hosts: Agent) -> Credential:
        """An OAuth login whose token has ended, and which all hosts have read."""
        self.world.agent = hosts[0]
        login = self.world.login()
        for host in hosts:
            with host.credential_store.vault.transaction():
                pass
            assert host.credential_store.index().get(login.id) is not None
        self.world.offset += 7300
        return login

    def cut_off(self, login: Credential, point: str) -> None:
        """Have `h1` cut off there in the middle of a renewal."""

        def step(name: str) -> None:
            if name == point:
                raise Cut

        with pytest.raises(Cut):
            self.host("h1", step).renewals.renew(login.id, login.generation)

    @contextmanager
    def without_replica(self, host: Agent) -> Iterator[None]:
        """Inside, the server does not keep what it promises to this host."""
        storage: Any = host.credential_store.vault.storage
        server = storage._server
        address = server._address
        server._address = address._replace(replicas=1)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(redis_server, "PROOF_TIMEOUT_MS", 50)
            yield
        server._address = address

    def presented(self) -> int:
        """How often Bitbucket was asked for a token."""
        return len(self.world.standin.token_requests())


@pytest.fixture
def fleet(world: World, valkey: Valkey) -> Fleet:
    """No hosts yet."""
    return Fleet(world, valkey)


def test_a_daemon_without_a_copy_waits_for_the_server_in_a_job_only(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one loop serves everybody; the first `get` gets the token all the same."""
    login = fleet.login(fleet.host("h1"))
    fleet.world.offset -= 7300
    storage = fleet.valkey.storage(fleet.world.path.parent / "new" / "vault")
    agent = fleet.world.another(storage=storage)
    monkeypatch.setattr(storage._server, "changes", list)
    head, asked = storage._server.head, set()

    def noted() -> object:
        asked.add(threading.get_ident())
        return head()

    monkeypatch.setattr(storage._server, "head", noted)
    agent.credential_store.vault.follow()
    assert list(agent.credential_store.index()) == []
    assert agent.credential_store.vault.state == "locked"
    assert fleet.world.get(agent=agent)["password"] == login.secret.reveal()
    assert asked
    assert threading.get_ident() not in asked


def test_hosts_that_log_in_at_once_are_both_logged_in(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login has had its consent in the browser by then, which would have to be given again."""
    one, two = fleet.host("h1"), fleet.host("h2")
    known = fleet.login(one, two)
    fleet.world.offset = 0
    vault = two.credential_store.vault
    transaction, made = vault.transaction, [known]

    @contextmanager
    def while_the_other_logs_in() -> Iterator[Any]:
        with transaction() as tx:
            fleet.world.agent = one
            made.append(fleet.world.login(place=f"{fleet.world.standin.url}/w1"))
            yield tx

    fleet.world.agent = two
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(vault, "transaction", while_the_other_logs_in)
        made.append(fleet.world.login(place=f"{fleet.world.standin.url}/w2"))
    for host in (one, two):
        with host.credential_store.vault.transaction() as tx:
            assert {record["id"] for record in tx.content["credentials"]} == {one.id for one in made}


def test_hosts_that_renew_at_once_send_one_request(fleet: Fleet) -> None:
    hosts = [fleet.host(f"h{n}") for n in range(4)]
    login = fleet.login(*hosts)
    fleet.world.standin.script_fault("token", "hold")
    jobs = [host.renewals.start(login) for host in hosts]
    fleet.world.standin.wait_for("token")
    fleet.world.standin.release()
    wait(jobs)
    assert {job.result().generation for job in jobs} == {2}
    assert len({job.result().secret.reveal() for job in jobs}) == 1
    assert fleet.presented() == 1
    fleet.world.offset += 7300
    assert fleet.world.get(agent=hosts[3])["password"]
    assert fleet.presented() == 2


@pytest.mark.parametrize(
    "point", ["renewal-leased", "renewal-reserved", "renewal-kept", "shared-committed", "renewal-written"]
)
def test_a_host_that_was_cut_off_goes_on_itself(fleet: Fleet, point: str) -> None:
    """Others never send the token that it may have spent: they say who has the answer, and read it once it is back."""
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, point)
    is_free = point in ("renewal-leased", "shared-committed", "renewal-written")
    if is_free:
        assert other.renewals.renew(login.id, 1).generation == 2
    else:
        with pytest.raises(VaultBusy, match="has not finished"):
            other.renewals.renew(login.id, 1)
        assert fleet.world.get(agent=other) == {}
        assert "has not finished" in diagnose_request(other, fleet.world.lines())[1]
        back = fleet.host("h1")
        assert fleet.world.get(agent=back)["password"]
        with other.credential_store.vault.transaction():
            pass
    found = other.credential_store.index().get(login.id)
    assert found is not None
    assert found.generation == 2
    assert found.refresh_token
    assert not fleet.world.standin.is_spent(found.refresh_token.reveal())
    assert fleet.presented() == 1
    fleet.world.offset += 7300
    assert other.renewals.renew(login.id, 2).generation == 3
    assert fleet.host("h1").renewals.renew(login.id, 2).generation == 3
    assert fleet.presented() == 2


def test_an_answer_that_was_lost_is_told_as_lost(fleet: Fleet) -> None:
    """Between Bitbucket's answer and the disk of the host: that host tries once more, and nobody else at all."""
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, "renewal-granted")
    assert fleet.world.get(agent=other) == {}
    assert fleet.presented() == 1
    back = fleet.host("h1")
    assert fleet.world.get(agent=back) == {}
    assert diagnose_request(back, fleet.world.lines())[0] == "login-expired"
    with other.credential_store.vault.transaction():
        pass
    assert diagnose_request(other, fleet.world.lines())[0] == "login-expired"


def test_a_person_may_try_when_the_host_is_gone(fleet: Fleet) -> None:
    """It had sent nothing, so that helps; had it, a login does."""
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, "renewal-reserved")
    with pytest.raises(VaultBusy, match="has not finished"):
        other.renewals.renew(login.id, 1, by_hand=True)
    fleet.valkey.client().hincrby(fleet.valkey.key(f"cred:{login.id}"), "intent_at", -901)
    assert other.renewals.renew(login.id, 1, by_hand=True).generation == 2
    assert fleet.presented() == 1
    back = fleet.host("h1")
    assert back.renewals.renew(login.id, 1).generation == 2
    assert fleet.presented() == 1


def test_what_a_host_left_behind_does_not_hide_what_another_began(fleet: Fleet) -> None:
    """It was cut off in one generation; in the next it finds the other's intent, not its own."""
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, "renewal-reserved")
    fleet.valkey.client().hincrby(fleet.valkey.key(f"cred:{login.id}"), "intent_at", -901)
    assert other.renewals.renew(login.id, 1, by_hand=True).generation == 2
    fleet.world.offset += 7300
    job = fleet.world.hanging(login._replace(generation=2), other, 2)
    fleet.valkey.client().delete(fleet.valkey.key(f"lease:{login.id}"))  # as if its time had passed
    with pytest.raises(VaultBusy, match="has not finished"):
        fleet.host("h1").renewals.renew(login.id, 2)
    fleet.world.standin.release()
    assert job.result().generation == 3
    assert fleet.host("h1").renewals.renew(login.id, 2).generation == 3
    assert fleet.presented() == 2


def test_without_the_server_nothing_is_renewed(fleet: Fleet) -> None:
    """The token is served while it lives, and it is said why there is no new one; with the server there is."""
    host = fleet.host("h1")
    login = fleet.login(host)
    fleet.world.offset -= 200  # less than ten minutes are left
    fleet.valkey.stop()
    assert fleet.world.get(agent=host)["password"] == login.secret.reveal()
    assert "cannot be used" in str(host.renewals.troubles[login.id].cause)
    started = fleet.host("h1")
    assert fleet.world.get(agent=started)["password"] == login.secret.reveal()
    assert fleet.presented() == 0
    fleet.valkey.start()
    assert fleet.world.get(agent=fleet.host("h1"))["password"] != login.secret.reveal()
    assert fleet.presented() == 1


def test_a_host_that_was_cut_off_goes_on_although_it_is_not_used(fleet: Fleet) -> None:
    """Others cannot renew before it has: only its own try shows whether the token was spent."""
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, "renewal-reserved")
    fleet.host("h1").tick()
    eventually(lambda: fleet.world.standin.token_requests() != [])
    eventually(lambda: fleet.world.get(agent=other) != {})
    assert fleet.presented() == 1


def test_a_host_that_sent_nothing_keeps_nobody_waiting(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server took its note and did not keep it as promised: as soon as the note can be removed, it is."""
    other = fleet.host("h2")
    login = fleet.login(other)
    host = fleet.host("h1")
    with fleet.without_replica(host), pytest.raises(VaultUnreachable, match="did not keep a write"):
        host.renewals.renew(login.id, 1)
    fleet.valkey.client().delete(fleet.valkey.key(f"lease:{login.id}"))  # as if its time had passed
    with pytest.raises(VaultBusy, match="has not finished"):
        other.renewals.renew(login.id, 1)
    monkeypatch.setattr(redis_server, "RETRY_UNREACHABLE_S", 0.0)
    for is_kept in (False, True):
        with nullcontext() if is_kept else fleet.without_replica(host):
            host.renewals.write_answers()
        assert (host.credential_store.vault.awaited() == []) == is_kept, "a failover could bring it back"
    assert other.renewals.renew(login.id, 1).generation == 2
    assert fleet.presented() == 1


def test_a_second_try_that_fails_does_not_let_others_try(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may have spent the token: also after the server took the note of the second, and did not keep it."""
    monkeypatch.setattr(redis_server, "RETRY_UNREACHABLE_S", 0.0)
    other = fleet.host("h2")
    login = fleet.login(other)
    fleet.cut_off(login, "renewal-granted")
    back = fleet.host("h1")
    with fleet.without_replica(back), pytest.raises(VaultUnreachable, match="did not keep a write"):
        back.renewals.renew(login.id, 1)
    back.renewals.write_answers()
    with pytest.raises(VaultBusy, match="has not"):
        other.renewals.renew(login.id, 1)
    fleet.valkey.stop()
    with pytest.raises(VaultUnreachable):
        back.renewals.renew(login.id, 1)
    fleet.valkey.start()
    with pytest.raises(VaultBusy, match="has not"):
        other.renewals.renew(login.id, 1)
    assert fleet.presented() == 1
    assert back.renewals.renew(login.id, 1).login_expired
    assert fleet.presented() == 2


def test_a_server_that_ends_during_the_request_loses_no_answer(fleet: Fleet) -> None:
    """It is on the disk of the host that asked, and on the server as soon as that is back; others wait for it."""
    host, other = fleet.host("h1"), fleet.host("h2")
    login = fleet.login(host, other)
    job = fleet.world.hanging(login, host)
    fleet.valkey.stop()
    fleet.world.standin.release()
    assert isinstance(job.exception(), VaultUnreachable)
    fleet.valkey.start()
    fleet.valkey.client().delete(fleet.valkey.key(f"lease:{login.id}"))  # as if its time had passed
    again = fleet.host("h2")
    assert fleet.world.get(agent=again) == {}
    back = fleet.host("h1")
    assert fleet.world.get(agent=back)["password"]
    assert again.renewals.renew(login.id, 1).generation == 2
    assert fleet.presented() == 1


def test_a_lease_that_ended_lets_nobody_spend_the_token_again(fleet: Fleet) -> None:
    """The holder was stopped for longer than the lease: the next one finds its intent; it goes on when it wakes up."""
    host, other = fleet.host("h1"), fleet.host("h2")
    login = fleet.login(host, other)
    job = fleet.world.hanging(login, host)
    fleet.valkey.client().delete(fleet.valkey.key(f"lease:{login.id}"))
    with pytest.raises(VaultBusy, match="has not finished"):
        other.renewals.renew(login.id, 1)
    fleet.world.standin.release()
    assert job.result().generation == 2
    assert other.renewals.renew(login.id, 1).generation == 2
    assert fleet.presented() == 1
