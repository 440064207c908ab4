"""Click callbacks for time spans and dates: an invalid one is a usage error.

Exit code 1 is that of `status --fail-within` for an expiring token, which a typing error must not look like. Errors do
not repeat what was typed, because it may be a secret.
"""

from __future__ import annotations

import time

import click

from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import dates

UNKNOWN = "unknown"
"""Typed as a date, it clears the date."""


def span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Seconds (`dates.parse_span`). Raises `click.BadParameter`."""
    try:
        return None if text is None else dates.parse_span(text)
    except Error as exc:
        raise _usage_error(exc, ctx, param) from exc


def expiry(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A token's expiry in epoch seconds (`dates.parse_expiry`). Raises `click.BadParameter`."""
    try:
        return None if text is None else dates.parse_expiry(text, time.time())
    except Error as exc:
        raise _usage_error(exc, ctx, param) from exc


def expiry_or_unknown(ctx: click.Context, param: click.Parameter, text: str | None) -> float | str | None:
    """As `expiry`; `UNKNOWN` is returned unchanged."""
    return text if text == UNKNOWN else expiry(ctx, param, text)


def _usage_error(exc: Error, ctx: click.Context, param: click.Parameter) -> click.BadParameter:
    return click.BadParameter(f"{exc.cause} ({exc.hint})", ctx, param)
