"""What a rejection means, and that nothing it does is final."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket.agent import judgement
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.bitbucket import kinds
from tests.agent.credentials import a_credential, an_oauth_login


def after(credential: Credential, now: float) -> Credential:
    """The credential after a rejection at `now`."""
    return replace(credential, **judgement.rejected(credential, now))  # type: ignore[arg-type]


def test_a_rejected_token_is_held_back_for_a_minute_and_offered_again() -> None:
    """git-lfs asks again at once and for ever, so it must not get the same secret again at once."""
    token = after(a_credential(), 1000)
    assert judgement.withheld(token, 1059)
    assert not judgement.withheld(token, 1060)


def test_one_rejection_told_by_many_gits_counts_once() -> None:
    """Parallel fetches were handed the token together and each erases it."""
    token = a_credential()
    for second in range(30):
        token = after(token, 1000 + second)
    assert len(token.rejections) == 1


def test_the_delay_grows() -> None:
    """Each rejection after a second chance holds the token back for longer."""
    token, now, delays = a_credential(), 1000.0, []
    for _ in range(3):
        token = after(token, now)
        delays.append((token.suspect_until or 0) - now)
        now = token.suspect_until or 0
    assert delays == sorted(delays)
    assert len(set(delays)) == 3


@given(st.lists(st.floats(0, 3600), min_size=1, max_size=60))
def test_an_outage_of_an_hour_sets_nothing_aside(times: list[float]) -> None:
    """However often everything is rejected within an hour, a static token stays."""
    token = a_credential()
    for now in sorted(times):
        token = after(token, now)
    assert token.set_aside_at is None


def test_three_rejections_over_more_than_an_hour_set_aside() -> None:
    """A token that fails again and again is no longer offered; it is kept for a person."""
    token = a_credential()
    for now in (0, 1800, 3601):
        token = after(token, now)
    assert token.set_aside_at == 3601
    assert "3 times" in str(token.set_aside_why)
    assert judgement.withheld(token, 1e9)
    assert token.secret


def test_git_saying_it_works_forgives_everything() -> None:
    """A `store` of the same secret clears suspicion."""
    token = after(a_credential(), 10)
    cleared = replace(token, **judgement.accepted(token))  # type: ignore[arg-type]
    assert (cleared.rejections, cleared.suspect_until) == ((), None)
    assert judgement.accepted(a_credential()) == {}


def test_a_secret_of_unknown_kind_is_set_aside_at_once() -> None:
    """Git's contract for a storing helper: what was refused is not offered again."""
    assert after(a_credential(kind=kinds.UNKNOWN), 5).set_aside_at == 5


def test_a_rejected_oauth_token_is_dropped_and_its_refresh_token_kept() -> None:
    """The next get renews; git's late word about the old token is recognised."""
    login = an_oauth_login()
    dropped = after(login, 100)
    assert not dropped.secret
    assert dropped.refresh_token == login.refresh_token
    assert dropped.had_secret(login.secret)
    assert not judgement.withheld(dropped, 100)


def test_a_token_minted_for_a_rejection_and_rejected_too_is_not_minted_again() -> None:
    """No access to a repository must not become a loop of renewals."""
    login = after(an_oauth_login(), 100)
    minted = replace(a_credential(), **{f: getattr(login, f) for f in Credential.__slots__ if f != "secret"})
    minted = replace(minted, minted_at=101.0, expires_at=7300.0, generation=2)
    assert judgement.rejected_again(minted, 110)
    held = after(minted, 110)
    assert held.secret
    assert judgement.withheld(held, 120)
    assert not judgement.withheld(held, 171)
    assert not judgement.rejected_again(minted, 170)


def test_a_clock_set_back_ends_the_delay() -> None:
    """A delay that has become longer than the longest is no delay."""
    assert not judgement.withheld(a_credential(suspect_until=10_000.0), 10)
