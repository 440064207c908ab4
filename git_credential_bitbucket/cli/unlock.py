"""`unlock`: the holder gets the vault's key, from keyring, passphrase or file; also in the middle of a `get`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import wire
from git_credential_bitbucket.cli import asking, opening, show, shy
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.holder import ask
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.wire import Request

HELP = f"""{summary("unlock")}.

The key comes from where the vault's own came from: the keyring (its dialogue may show, for a minute), a passphrase
(asked for at the terminal, or the first line of standard input), or the environment.
"""


@click.command(cls=shy.Shy, help=HELP)
@click.option("--key-file", metavar="FILE", help="Take the key from FILE: 32 bytes, raw or in base64.")
def command(*, key_file: str | None) -> None:
    """Unlock."""
    told = dict(ask("status"))
    if told["vault"] == "open" and key_file is None:
        show.say("The vault is open already.")
        return
    opening.header()  # without a vault there is nothing to open anywhere
    if "pid" not in told:
        raise Error(
            "there is no daemon that could hold the vault open",
            hint="each command opens it with the key it finds, so use a key file: "
            "git-credential-bitbucket rekey --to key-file --key-file FILE",
        )
    opening.unlock(asking.answers(), key_file, by_hand=True)
    show.say("The vault is open.")


def during_get(request: Request, why: Mapping[str, str]) -> bool:
    """Have the person at the terminal unlock the vault while git waits; False where they would rather not.

    All dialogue is on the terminal: standard output is git's.
    """
    terminal = asking.open_terminal()
    if terminal is None:
        return False
    cause = wire.printable(why.get("error") or "the vault is locked", 1000)
    try:
        terminal.say(f"git needs a credential for {wire.printable(request.host)}, and {cause}.")
        opening.unlock(asking.Answers(terminal))
    except Error as exc:
        told = wire.printable(exc.cause, 1000)
        terminal.say(f"Hint: {exc.hint}." if told == cause else f"{told}; {exc.hint}.", style="yellow")
        return False
    finally:
        terminal.close()
    return True
