"""Spans of time and dates as the command line takes them: what cannot be read is a usage error, and not exit code 1.

That is how `status --fail-within` ends where a token ends; a job with a mistyped span must not look like it. These are
click's callbacks. What was typed is not repeated: it may be a secret.
"""

from __future__ import annotations

import time

import click

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import dates

UNKNOWN = "unknown"
"""What is typed for a date to forget the one before."""


def span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Seconds (`times.span`). Raises `click.BadParameter`."""
    try:
        return None if text is None else dates.span(text)
    except Error as exc:
        raise _bad(exc, ctx, param) from exc


def end(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A token's end in epoch seconds (`times.end`). Raises `click.BadParameter`."""
    try:
        return None if text is None else dates.expiry(text, time.time())
    except Error as exc:
        raise _bad(exc, ctx, param) from exc


def end_or_unknown(ctx: click.Context, param: click.Parameter, text: str | None) -> float | str | None:
    """As `end`; `UNKNOWN` is taken as it is."""
    return text if text == UNKNOWN else end(ctx, param, text)


def _bad(exc: Error, ctx: click.Context, param: click.Parameter) -> click.BadParameter:
    return click.BadParameter(f"{exc.cause} ({exc.hint})", ctx, param)
