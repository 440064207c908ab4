"""`restore`: re-enables a credential that is disabled or suspended."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output


@options.verb("restore", "A credential is removed thirty days after it was disabled.")
@click.argument("what", metavar="ID|SCOPE")
def command(*, what: str) -> None:
    """Re-enable a credential."""
    vault_setup.unlock_if_locked()
    candidates = [one for one in arguments.select_credentials(what) if one["state"] != "ready" or one["suspended_for"]]
    one = arguments.select_one(candidates, "for this scope that is disabled or suspended")
    ask("restore", [("id", one["id"])])
    output.say(f"Re-enabled: {arguments.describe({**one, 'state': 'ready'})}")
