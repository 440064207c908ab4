"""What the commands share: how one is made, which rejects secrets in its arguments, and its time spans and dates.

An invalid span or date is a usage error: exit code 1 is that of `status --fail-within` for an expiring token, which a
typing error must not look like. No error repeats what was typed, because it may be a secret.
"""

from __future__ import annotations

import time
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import dates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNKNOWN = "unknown"
"""Typed as a date, it clears the date."""


class SecretRefusingCommand(click.Command):
    """A command that rejects secrets in its arguments, before click could repeat them in a message."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, after a check that no argument is a token. Raises `Error`."""
        refuse_secrets(args)
        return super().parse_args(ctx, args)


def verb(
    name: str, text: str = "", cls: type[click.Command] = SecretRefusingCommand
) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a command of a function; its help is its summary, and below that `text`."""
    return click.command(cls=cls, help=f"{summary(name)}.\n\n{cleandoc(text)}")


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise `Error` if an argument, or the value in `--option=value` or a URL, looks like a token."""
    for argument in arguments:
        # `--token=…`, `https://user:…@host`, `Authorization: Bearer …`
        if token_kinds.whole_tokens(argument.replace("=", " ", 1)):
            raise Error(
                "a secret on the command line is exposed: it is in your shell's history, and others may have seen it in"
                " ps",
                hint="revoke it at Bitbucket and create another; enter that at the prompt, or on standard input:"
                " … < FILE",
            )


def span(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Seconds (`dates.parse_span`). Raises `click.BadParameter`."""
    return None if text is None else _parsed(dates.parse_span, text, ctx, param)


def expiry(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """A token's expiry in epoch seconds (`dates.parse_expiry`). Raises `click.BadParameter`."""
    return None if text is None else _parsed(lambda given: dates.parse_expiry(given, time.time()), text, ctx, param)


def expiry_or_unknown(ctx: click.Context, param: click.Parameter, text: str | None) -> float | str | None:
    """As `expiry`; `UNKNOWN` is returned unchanged."""
    return text if text == UNKNOWN else expiry(ctx, param, text)


def _parsed(parse: Callable[[str], float], text: str, ctx: click.Context, param: click.Parameter) -> float:
    try:
        return parse(text)
    except Error as exc:
        raise click.BadParameter(f"{exc.cause} ({exc.hint})", ctx, param) from exc
