"""Secrets are never arguments: whoever gives one is told, before click could repeat it in a message of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SECRET_CHARACTERS = 24
"""App passwords have 36 characters, tokens more; a repository may be called ATBB-something."""


class SecretRefusingCommand(click.Command):
    """A verb that takes no secret as an argument. A class because click parses by overriding."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, once it is clear that no argument is a token. Raises `Error`."""
        refuse_secrets(args)
        return super().parse_args(ctx, args)


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise `Error` if an argument, or the value in `--option=value` or a URL, looks like a token."""
    for argument in arguments:
        # `--token=…`, `https://user:…@host`, `Authorization: Bearer …`
        for part in argument.replace("=", " ", 1).replace("@", " ").replace(":", " ").replace("/", " ").split():
            if token_kinds.recognise(part) != token_kinds.UNKNOWN and len(part) >= MIN_SECRET_CHARACTERS:
                raise leaked()


def leaked() -> Error:
    """What to say of a secret on the command line; the secret itself is not repeated."""
    return Error(
        "a secret on the command line is exposed: it is in your shell's history, and others may have seen it in ps",
        hint="revoke it at Bitbucket and create another; enter that at the prompt, or on standard input: … < FILE",
    )
