"""A credential that was given a lifetime: not offered past it, and gone with the next tick."""

import pytest

from git_credential_bitbucket.agent import expiry, retention
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED
from git_credential_bitbucket.agent.control_actions import control
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.agent.diagnosis import diagnose_request
from git_credential_bitbucket.bitbucket import token_kinds
from tests.agent.conftest import World
from tests.fake_bitbucket import tokens

EIGHT_HOURS_S = 8 * 3600


def test_a_token_is_offered_for_its_lifetime_and_not_longer(world: World) -> None:
    """Git is told the end, too, so that whoever caches it further on does not keep it."""
    record = {"kind": token_kinds.API_TOKEN, "place": world.standin.url, "secret": tokens.api_token()}
    kept = world.keep(retention.credential_from_login({**record, "lifetime": EIGHT_HOURS_S}, world.clock()))
    assert world.get()["password_expiry_utc"] == str(int(kept.forget_at or 0))
    world.offset += EIGHT_HOURS_S - 60
    assert world.get()["password"] == kept.secret.reveal()
    world.offset += 120
    assert world.get() == {}
    state, cause, hint = diagnose_request(world.agent, world.lines())
    assert (state, hint) == ("expired", f"run: git-credential-bitbucket login --host {world.standin.url}")
    assert "end of the lifetime" in cause


def test_what_is_over_is_removed_and_keeps_no_daemon(world: World) -> None:
    """A login in use is neither renewed nor kept past its lifetime."""
    world.login(lifetime=EIGHT_HOURS_S)
    world.get()
    assert world.agent.must_keep_running()
    world.offset += EIGHT_HOURS_S + 1
    assert not world.agent.must_keep_running()
    world.agent.tick()
    world.executor.shutdown()
    assert world.kept() == []
    assert world.standin.token_requests() == []


def test_a_tick_comes_in_time_for_the_end(world: World) -> None:
    world.login(lifetime=20)
    assert 1 <= world.agent.tick() <= 20


def test_a_renewal_does_not_lengthen_the_lifetime(world: World) -> None:
    """The access token is new, the end that the person chose is not."""
    kept = world.login(lifetime=EIGHT_HOURS_S)
    world.offset += 7300
    world.get()
    (renewed,) = world.kept()
    assert renewed.generation == 2
    assert renewed.forget_at == kept.forget_at


@pytest.mark.parametrize("end", [{"ends_at": expiry.MAX_EXPIRY}, {"ends_at": -1.0}, {"lifetime": expiry.MAX_EXPIRY}])
def test_an_expiry_out_of_range_is_rejected(end: dict[str, float]) -> None:
    """Whoever lists it later could not say when."""
    record = {"kind": token_kinds.API_TOKEN, "place": "https://bitbucket.org", "secret": tokens.api_token()}
    with pytest.raises(ValueError, match="out of range"):
        retention.credential_from_login({**record, **end}, 1.0)


def test_what_migrate_took_out_of_files_is_forgotten_after_thirty_days(world: World) -> None:
    """By the next credential that is kept, and not only by the next `migrate`."""
    world.store("alice", tokens.api_token())
    assert wait_for(control(world.agent, "backup-put", b"batch=1\npart=a line\n")) == ACKNOWLEDGED
    for days, left in ((20, 1), (29, 1), (31, 0)):
        world.store("alice", tokens.access_token(), path=f"acme/app{days}")
        world.offset = days * 86400
        world.store("alice", tokens.access_token(), path=f"acme/app{days}x")
        content = world.agent.credential_store.vault.snapshot().content
        assert len(content["backups"]) == left, days
