"""Rejects secrets in arguments, before click could repeat them in a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence


class SecretRefusingCommand(click.Command):
    """A command that rejects secrets in its arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, after a check that no argument is a token. Raises `Error`."""
        refuse_secrets(args)
        return super().parse_args(ctx, args)


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise `Error` if an argument, or the value in `--option=value` or a URL, looks like a token."""
    for argument in arguments:
        # `--token=…`, `https://user:…@host`, `Authorization: Bearer …`
        if token_kinds.whole_tokens(argument.replace("=", " ", 1)):
            raise exposed_secret()


def exposed_secret() -> Error:
    """The error for a secret on the command line, which it does not repeat."""
    return Error(
        "a secret on the command line is exposed: it is in your shell's history, and others may have seen it in ps",
        hint="revoke it at Bitbucket and create another; enter that at the prompt, or on standard input: … < FILE",
    )
