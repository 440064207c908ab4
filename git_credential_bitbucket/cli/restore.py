"""`restore`: offers a credential again that was disabled, or is suspended after a rejection."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output, prompts


@click.command(
    cls=secret_arguments.SecretRefusingCommand,
    help=f"{summary('restore')}.\n\nA credential is removed thirty days after it was disabled.",
)
@click.argument("what", metavar="ID|SCOPE")
def command(*, what: str) -> None:
    """Restore."""
    vault_setup.readable()
    held = [one for one in arguments.select(what) if one["state"] != "ready" or one["suspended_for"]]
    one = arguments.select_one(held, prompts.choosing(), "for this scope that is disabled or suspended")
    ask("restore", [("id", one["id"])])
    output.say(f"Re-enabled: {arguments.one_line({**one, 'state': 'ready'})}")
