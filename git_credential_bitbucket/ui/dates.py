"""Dates and time spans, parsed and formatted for people."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from git_credential_bitbucket.agent.expiry import MAX_EXPIRY, days
from git_credential_bitbucket.errors import Error

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
_UNITS = {"m": MINUTE_S, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S, "mo": 30 * DAY_S, "y": 365 * DAY_S}
_SPAN = re.compile(rf"(\d{{1,5}})\s*({'|'.join(_UNITS)})", re.ASCII)
MAX_SPAN_YEARS = 1000
"""Longer spans are typing errors, and end after the last year that a date can have."""


def parse_span(text: str) -> float:
    """Seconds of `30m` (minutes), `12h`, `7d`, `2w`, `3mo` (months of 30 days) or `1y` (365 days). Raises `Error`."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise Error("not a time span", hint="write 30m (minutes), 12h, 7d, 2w, 3mo (months) or 1y")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > MAX_SPAN_YEARS * _UNITS["y"]:
        hint = "write a shorter one, or none if there is no limit"
        raise Error(f"the time span is longer than {MAX_SPAN_YEARS} years", hint=hint)
    return float(seconds)


def parse_expiry(text: str, now: float) -> float:
    """A token's expiry in epoch seconds: `2027-01-31`, or a span from `now`. Raises `Error`.

    A date means its start in UTC: Bitbucket's page shows the day without the hour, and an early warning does no harm.
    Today means its end, because the token still works.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        if _SPAN.fullmatch(text.strip().lower()) is not None:
            return now + parse_span(text)
        raise Error("not a date", hint="write 2027-01-31, or the time left: 90d, 1y") from None
    found = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    if found + DAY_S < now:
        raise Error("this date is in the past", hint="an expired token cannot be used: create a new one")
    return found if found > now else found + DAY_S - 1


def day(at: float) -> str:
    """The date of epoch seconds, in UTC; the last or first possible date for what is beyond.

    Git's `password_expiry_utc` may say anything, and so may a vault that an earlier version wrote.
    """
    return datetime.fromtimestamp(min(max(at, 0), MAX_EXPIRY), UTC).date().isoformat()


def time_left(seconds: float) -> str:
    """A remaining time in short: `42 days`, `1 h 52 min`, `40 s`; `ended` if there is none."""
    if seconds <= 0:
        return "ended"
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S:.0f} min"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S:.0f} h {seconds % HOUR_S // MINUTE_S:.0f} min"
    return days(seconds)


def time_ago(seconds: float) -> str:
    """An elapsed time in short; `now` if it is under a minute or negative (a clock that was set back)."""
    return "now" if seconds < MINUTE_S else f"{time_left(seconds)} ago"
