"""`unconfigure`: takes back what `configure` wrote, and nothing else."""

from __future__ import annotations

import os

import click

from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.configure import address
from git_credential_bitbucket.gitsetup import configuration


@click.command(
    help=f"""{summary("unconfigure")}.

    Lines of other helpers were only hidden, and count again. Credentials are not touched: `logout` removes those."""
)
@click.option("--host", metavar="URL", callback=address, help="For this host only; without it, for all.")
@click.option("--system", is_flag=True, help="In the configuration for all users of this machine.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the git commands, and run none.")
def command(*, host: str | None, system: bool, dry_run: bool) -> None:
    """Take the configuration back."""
    configuration.unconfigure(os.environ, host, system=system, dry_run=dry_run)
