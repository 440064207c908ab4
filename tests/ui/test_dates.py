"""dates.py: what people write for dates and spans, and how long is left in words."""

from datetime import UTC, datetime

import pytest

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import dates

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("12h", 43200),
        ("7d", 604800),
        ("2w", 1209600),
        ("2mo", 5184000),
        ("3MO", 7776000),
        (" 1y ", 31536000),
    ],
)
def test_spans_as_people_write_them(text: str, seconds: int) -> None:
    """Minutes to years, in either case; `m` is a minute and `mo` a month, as everywhere else."""
    assert dates.parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "1.5d", "\u0667d", "999999d", "7d\n7d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Error, match="not a time span"):
        dates.parse_span(text)


def test_an_end_is_the_beginning_of_its_day_or_a_span_from_now() -> None:
    """A warning may come half a day early, never late."""
    assert dates.parse_expiry("2027-01-31", NOON) == datetime(2027, 1, 31, tzinfo=UTC).timestamp()
    assert dates.parse_expiry("90d", NOON) == NOON + 90 * 86400


def test_an_end_may_be_today_and_not_yesterday() -> None:
    """A token may end tonight; one that has ended is of no use."""
    assert dates.parse_expiry("2026-11-22", NOON) == NOON + 12 * 3600 - 1
    with pytest.raises(Error, match="past"):
        dates.parse_expiry("2026-11-21", NOON)


def test_the_last_day_that_has_a_date_is_one() -> None:
    """Many write it for a token that never ends."""
    assert dates.day(dates.parse_expiry("9999-12-31", NOON)) == "9999-12-31"


@pytest.mark.parametrize("text", ["1001y", "99999y", "99999mo", "99999w"])
def test_a_span_past_all_dates_is_refused_wherever_it_is_written(text: str) -> None:
    for read in (dates.parse_span, lambda text: dates.parse_expiry(text, NOON)):
        with pytest.raises(Error, match="longer than 1000 years") as refused:
            read(text)
        assert refused.value.hint


@pytest.mark.parametrize(("at", "day"), [(1e15, "9999-12-31"), (3e300, "9999-12-31"), (-1e15, "1970-01-01")])
def test_a_day_past_all_dates_is_shown_as_the_last(at: float, day: str) -> None:
    """What is kept already, or came from git, cannot stop the list."""
    assert dates.day(at) == day


@pytest.mark.parametrize("text", ["tomorrow", "31.01.2027", "2027-13-01", "2027-02-30", "00h00"])
def test_what_is_no_date_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(Error, match="not a date") as refused:
        dates.parse_expiry(text, NOON)
    assert "90d" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "ended"),
        (0, "ended"),
        (59, "59 s"),
        (61, "1 min"),
        (6720, "1 h 52 min"),
        (86400, "1 day"),
        (42 * 86400 + 5, "42 days"),
        (20 * 86400 - 0.2, "20 days"),
        (19.9 * 86400, "19 days"),
    ],
)
def test_what_is_left_in_two_words(seconds: float, words: str) -> None:
    """Rounded down, but for an hour: the 20 days that were entered a moment ago are listed as 20."""
    assert dates.time_left(seconds) == words


def test_how_long_ago_survives_a_clock_that_was_set_back() -> None:
    """What seems to lie ahead was now."""
    assert dates.time_ago(-3600) == "now"
    assert dates.time_ago(7200) == "2 h 0 min ago"
