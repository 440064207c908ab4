"""What a rejection means, and that nothing it does is final."""

from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket.agent import rejection
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.bitbucket import token_kinds
from tests.agent.credentials import HOST, a_credential, an_oauth_login

APP, LIB = f"{HOST}/acme/app", f"{HOST}/acme/lib"


def after(credential: Credential, now: float, scope: str = HOST) -> Credential:
    """The credential after a rejection at `now`."""
    return credential._replace(**rejection.on_rejection(credential, now, scope))  # type: ignore[arg-type] # fields by name


def accepted(credential: Credential, scope: str = HOST) -> Credential:
    """The credential after git worked with it."""
    return credential._replace(**rejection.on_acceptance(credential, scope))  # type: ignore[arg-type] # fields by name


def renewed(credential: Credential, now: float) -> Credential:
    """The credential with a new access token."""
    secret = a_credential().secret
    return credential._replace(
        secret=secret, minted_at=now, expires_at=now + 7200, generation=credential.generation + 1
    )


def test_a_rejected_token_is_suspended_for_a_minute_and_offered_again() -> None:
    """git-lfs asks again at once and for ever, so it must not get the same secret again at once."""
    token = after(a_credential(), 1000)
    assert rejection.is_blocked(token, 1059)
    assert not rejection.is_blocked(token, 1060)


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
def test_an_outage_of_an_hour_disables_nothing(times: list[float]) -> None:
    """However often everything is rejected within an hour, a static token stays."""
    token = a_credential()
    for now in sorted(times):
        token = after(token, now)
    assert token.set_aside_at is None


def test_three_rejections_over_more_than_an_hour_disable() -> None:
    """A token that fails again and again is no longer offered; it is kept for a person."""
    token = a_credential()
    for now in (0, 1800, 3601):
        token = after(token, now)
    assert token.set_aside_at == 3601
    assert "3 times" in str(token.set_aside_why)
    assert rejection.is_blocked(token, 1e9)
    assert token.secret


def test_git_saying_it_works_forgives_everything() -> None:
    """A `store` of the same secret clears suspicion."""
    token = after(a_credential(), 10)
    cleared = accepted(token)
    assert (cleared.rejections, cleared.suspect_until) == ((), None)
    assert rejection.on_acceptance(a_credential(), HOST) == {}


def test_a_secret_of_unknown_kind_is_disabled_at_once() -> None:
    """Git's contract for a storing helper: what was refused is not offered again."""
    assert after(a_credential(kind=token_kinds.UNKNOWN), 5).set_aside_at == 5


def test_a_rejected_oauth_token_is_dropped_and_its_refresh_token_kept() -> None:
    """The next get renews; git's late word about the old token is recognised."""
    login = an_oauth_login()
    dropped = after(login, 100)
    assert not dropped.secret
    assert dropped.refresh_token == login.refresh_token
    assert dropped.had_secret(login.secret)
    assert not rejection.is_blocked(dropped, 100)


def test_a_token_minted_for_a_rejection_and_rejected_too_is_not_minted_again() -> None:
    """No access to a repository must not become a loop of renewals."""
    minted = renewed(after(an_oauth_login(), 100), 101)
    held = after(minted, 110)
    assert held.secret
    assert rejection.is_blocked(held, 120)
    assert not rejection.is_blocked(held, 171)
    assert not after(minted, 170).secret, "a minute later it may be renewed again"


def test_a_rejection_at_a_repository_suspends_the_token_there_alone() -> None:
    """One hostile address, or one repository without access, costs no other repository anything."""
    token = after(a_credential(), 1000, APP)
    assert rejection.is_blocked(token, 1001, APP)
    assert not rejection.is_blocked(token, 1001, LIB)
    assert not rejection.is_blocked(token, 1001)
    assert not rejection.is_blocked(token, 1060, APP)
    assert rejection.suspended_scopes(token, 1001) == [APP]
    for now in range(4000, 37000, 4000):
        token = after(token, now, APP)
    assert not rejection.is_blocked(token, 36001, LIB)
    assert token.set_aside_at is None
    assert rejection.suspended_until(token, 36000, APP) == 36000 + 3600


def test_rejections_at_two_repositories_within_ten_minutes_count_for_the_host() -> None:
    """The token itself is bad, then."""
    token = after(after(a_credential(), 1000, APP), 1599, LIB)
    assert rejection.is_blocked(token, 1600, f"{HOST}/other/repo")
    assert rejection.is_blocked(token, 1600)
    late = after(after(a_credential(), 1000, APP), 1600, LIB)
    assert not rejection.is_blocked(late, 1601, f"{HOST}/other/repo")


def test_an_acceptance_between_keeps_rejections_apart() -> None:
    """It works somewhere, so it is not bad; where it was rejected before, it stays suspended."""
    token = accepted(after(a_credential(), 1000, APP), LIB)
    token = after(token, 1030, f"{HOST}/third/repo")
    assert rejection.is_blocked(token, 1031, APP)
    assert not rejection.is_blocked(token, 1031, LIB)
    assert rejection.suspended_scopes(accepted(token, APP), 1031) == [f"{HOST}/third/repo"]


def test_an_oauth_token_rejected_at_a_repository_is_renewed_and_serves_all_others_meanwhile() -> None:
    """Its renewal may fail, and other repositories still take the token that there is."""
    login = after(an_oauth_login(), 100, APP)
    assert login.secret
    assert rejection.needs_renewal(login, APP)
    assert not rejection.needs_renewal(login, LIB)
    assert rejection.on_rejection(login, 101, APP) == {}, "told again by another git"
    assert not rejection.needs_renewal(renewed(login, 101), APP)


def test_at_most_one_renewal_a_minute_is_caused_by_rejections() -> None:
    """A fresh token rejected again is suspended for that repository alone, and not renewed."""
    fresh = renewed(after(an_oauth_login(), 100, APP), 101)
    again = after(fresh, 110, APP)
    assert rejection.is_blocked(again, 111, APP)
    assert not rejection.needs_renewal(again, APP)
    assert not rejection.is_blocked(again, 111, LIB)
    assert not rejection.needs_renewal(
        after(fresh, 110, "https://bitbucket.org/evil/x"), "https://bitbucket.org/evil/x"
    )
    assert rejection.needs_renewal(after(fresh, 161, APP), APP)


def test_a_clock_set_back_ends_the_delay() -> None:
    """A delay that has become longer than the longest is no delay."""
    assert not rejection.is_blocked(a_credential(suspect_until=10_000.0), 10)
