"""`unlock`: gives the daemon the vault's key, from keyring, passphrase or file; also during a `get`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import output, prompts

if TYPE_CHECKING:
    from collections.abc import Mapping


HELP = """
The key is read from where it is stored: the keyring (which may open a dialogue, for up to a minute), a passphrase
(entered at the terminal, or the first line of standard input), or the environment.
"""


@options.verb("unlock", HELP)
@click.option("--key-file", metavar="FILE", help="Read the key from FILE: 32 bytes, raw or in base64.")
def command(*, key_file: str | None) -> None:
    """Unlock the vault."""
    told = dict(ask("status"))
    if told["vault"] == "open" and key_file is None:
        output.say("The vault is already unlocked.")
        return
    vault_setup.header()  # raises if there is no vault
    if "pid" not in told:
        raise Error(
            "no daemon is running, so the vault cannot be kept unlocked",
            hint="each command reads the key itself; to use a key file, run: "
            "git-credential-bitbucket rekey --to key-file --key-file FILE",
        )
    vault_setup.unlock(prompts.prompter(), key_file, by_hand=True)
    output.say("Vault unlocked.")


def during_get(request: git_protocol.Request, why: Mapping[str, str]) -> bool:
    """Let the user unlock the vault at the terminal while git waits; False if they do not.

    All dialogue is on the terminal: standard output is git's.
    """
    terminal = prompts.open_terminal()
    if terminal is None:
        return False
    cause = git_protocol.printable(why.get("error") or "the vault is locked", 1000)
    try:
        terminal.say(f"git needs a credential for {git_protocol.printable(request.host)}, and {cause}.")
        vault_setup.unlock(prompts.Prompter(terminal))
    except Error as exc:
        text = git_protocol.printable(exc.cause, 1000)
        terminal.say(f"Hint: {exc.hint}." if text == cause else f"{text}; {exc.hint}.", style="yellow")
        return False
    finally:
        terminal.close()
    return True
