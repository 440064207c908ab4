"""`restore`: offers a credential again that was disabled, or is suspended after a rejection."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output, prompts


@click.command(
    cls=secret_arguments.SecretRefusingCommand, help=f"{summary('restore')}.\n\nThirty days after that it is removed."
)
@click.argument("what", metavar="ID|PLACE")
def command(*, what: str) -> None:
    """Restore."""
    vault_setup.readable()
    held = [one for one in arguments.select(what) if one["state"] != "ready" or one["suspended_for"]]
    one = arguments.select_one(held, prompts.choosing(), "there that is disabled or suspended")
    ask("restore", [("id", one["id"])])
    output.say(f"Offered again: {arguments.one_line({**one, 'state': 'ready'})}")
