"""`lock`: the client forgets the vault's key, until a person unlocks it."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import output

HELP = f"""{summary("lock")}.

git gets nothing then until `unlock`, also where the key could be had without asking. What the daemon holds in memory
only is not locked.
"""


@click.command(cls=secret_arguments.SecretRefusingCommand, help=HELP)
def command() -> None:
    """Lock."""
    if "pid" not in dict(ask("status")):
        raise Error(
            "there is no daemon that could hold the vault locked",
            hint="each command opens it with the key it finds; take the key away: rekey --to passphrase",
        )
    ask("lock")
    output.say("Locked. To open it again: git-credential-bitbucket unlock")
