"""Dates and spans as people write and read them. Imports the ledger's last date, and errors."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from git_credential_bitbucket.agent.expiry import MAX_EXPIRY, days
from git_credential_bitbucket.errors import Error

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
_UNITS = {"m": MINUTE_S, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S, "mo": 30 * DAY_S, "y": 365 * DAY_S}
_SPAN = re.compile(rf"(\d{{1,5}})\s*({'|'.join(_UNITS)})", re.ASCII)
MAX_SPAN_YEARS = 1000
"""More is a slip of the hand, and from now would soon be past the last year that a date has."""


def span(text: str) -> float:
    """Seconds of `30m` (minutes), `12h`, `7d`, `2w`, `3mo` (months of 30 days) or `1y` (365 days). Raises `Error`."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise Error("not a time span", hint="write 30m (minutes), 12h, 7d, 2w, 3mo (months) or 1y")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > MAX_SPAN_YEARS * _UNITS["y"]:
        raise Error(
            f"the time span is longer than {MAX_SPAN_YEARS} years",
            hint="write a shorter one, or none if there is no limit",
        )
    return float(seconds)


def expiry(text: str, now: float) -> float:
    """The epoch seconds of a token's end: `2027-01-31`, or a span from `now`. Raises `Error`.

    A date counts from its beginning in UTC: Bitbucket's page names the day and not the hour, and a warning that comes
    half a day early harms nobody. Today's counts from its end: what works has not ended.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        if _SPAN.fullmatch(text.strip().lower()) is not None:
            return now + span(text)
        raise Error("not a date", hint="write 2027-01-31, or the time left: 90d, 1y") from None
    found = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    if found + DAY_S < now:
        raise Error("this date is in the past", hint="an expired token cannot be used: create a new one")
    return found if found > now else found + DAY_S - 1


def day(at: float) -> str:
    """The date of epoch seconds, in UTC as `end` reads it; the last or first that there is for what lies beyond.

    Git's `password_expiry_utc` may say anything, and so may a vault that an earlier version wrote.
    """
    return datetime.fromtimestamp(min(max(at, 0), MAX_EXPIRY), UTC).date().isoformat()


def left(seconds: float) -> str:
    """What is left, in two words at most: `42 days`, `1 h 52 min`, `40 s`; `ended` where nothing is."""
    if seconds <= 0:
        return "ended"
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S:.0f} min"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S:.0f} h {seconds % HOUR_S // MINUTE_S:.0f} min"
    return days(seconds)


def ago(seconds: float) -> str:
    """How long ago; a clock that was set back makes it `now`."""
    return "now" if seconds < MINUTE_S else f"{left(seconds)} ago"
