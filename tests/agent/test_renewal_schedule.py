"""When tokens are renewed, waited for and served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_credential_bitbucket.agent import renewal_schedule
from git_credential_bitbucket.secret import Secret
from tests.agent.credentials import a_credential, an_oauth_login

LIVES = st.floats(1, 10 * 86400)


def test_a_get_waits_when_ten_minutes_of_two_hours_are_left() -> None:
    """A handed-out token of two hours has at least ten minutes to live."""
    login = an_oauth_login()
    assert not renewal_schedule.must_wait(login, 7200 - 600)
    assert renewal_schedule.must_wait(login, 7200 - 599)


def test_a_short_lived_token_is_waited_for_in_its_last_twelfth() -> None:
    """Ten minutes' promise cannot be kept by a token of a minute."""
    login = an_oauth_login(life=60)
    assert not renewal_schedule.must_wait(login, 55)
    assert renewal_schedule.must_wait(login, 55.1)


def test_a_dropped_token_is_waited_for() -> None:
    """After an erase there is no token, whatever its end would have been."""
    login = an_oauth_login(secret=Secret(""))
    assert renewal_schedule.must_wait(login, 1)
    assert not renewal_schedule.has_valid_token(login, 1)


def test_a_static_token_is_never_waited_for() -> None:
    """It has no end that we know of."""
    assert not renewal_schedule.must_wait(a_credential(), 1e12)


def test_a_clock_set_back_makes_the_end_unknown() -> None:
    """A token from an hour ahead would be served an hour too long; it is renewed instead."""
    login = an_oauth_login(minted_at=10_000)
    assert renewal_schedule.must_wait(login, 10_000 - 3600)
    assert not renewal_schedule.must_wait(login, 10_000 - 30)


@given(LIVES, st.integers(1, 10**6))
def test_renewal_comes_before_anybody_has_to_wait(life: float, generation: int) -> None:
    """The background renews within the last part of a life, and earlier than a get would wait."""
    login = an_oauth_login(life=life, generation=generation)
    due = renewal_schedule.renewal_due_at(login)
    assert life - 0.36 * life - 1e-6 <= due <= life
    assert life - 1.2 * renewal_schedule.RENEW_AHEAD_S <= due
    assert not renewal_schedule.must_wait(login, due)


@given(st.integers(1, 50), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_attempts_are_spaced_and_bounded(failures: int, jitter: float, retry_after: float | None) -> None:
    """Each failure waits at least the floor, at most a bounded time, and as long as Bitbucket asked within it."""
    pause = renewal_schedule.next_attempt_at(0, failures, retry_after, jitter)
    assert renewal_schedule.MIN_RETRY_S <= pause <= 1.5 * renewal_schedule.MAX_RETRY_S
    assert pause >= min(retry_after or 0, renewal_schedule.MAX_RETRY_S)


def test_renewals_ahead_of_time_do_not_all_come_at_once() -> None:
    """A hundred logins of one moment, or one login's generations, are spread over a fifth of the time ahead."""
    ahead = renewal_schedule.RENEW_AHEAD_S
    earliest, latest = 7200 - 1.2 * ahead, 7200 - ahead
    for logins in (
        [an_oauth_login() for _ in range(100)],
        [an_oauth_login(id="one", generation=generation) for generation in range(1, 101)],
    ):
        due = [renewal_schedule.renewal_due_at(login) for login in logins]
        assert all(earliest <= at <= latest for at in due)
        assert len(set(due)) > 50
        assert max(due) - min(due) > (latest - earliest) / 2
        assert due == [renewal_schedule.renewal_due_at(login) for login in logins], "asked again it is the same"


def test_of_many_hosts_one_wakes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """When thousands share a login, few others are due before the first one has the answer and all know it."""
    for due_at, spread_s in ((renewal_schedule.renewal_due_at, 360), (renewal_schedule.idle_renewal_due_at, 64800)):
        early = []
        for generation in range(1, 9):
            login, due = an_oauth_login(id="one", generation=generation), []
            for host in range(1000):
                monkeypatch.setattr(renewal_schedule, "_PROCESS", host.to_bytes(8, "big"))
                due.append(due_at(login))
            assert max(due) - min(due) < spread_s
            early.append(sum(at - min(due) < 3 for at in due) - 1)
        assert sum(early) < 8, "less than one at a time"


@given(st.integers(1, 50))
def test_attempts_after_an_outage_do_not_all_come_at_once(failures: int) -> None:
    """The pause grows with the jitter, by up to half of itself; what Bitbucket asked for is never shortened by it."""
    shortest, middle, longest = (
        renewal_schedule.next_attempt_at(0, failures, None, jitter) for jitter in (0.0, 0.5, 1.0)
    )
    assert shortest < middle < longest == 1.5 * shortest
    assert renewal_schedule.next_attempt_at(0, 1, 600, 1.0) == 600
