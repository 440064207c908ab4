"""`unconfigure`: removes what `configure` wrote, and nothing else."""

from __future__ import annotations

import os

import click

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.configure import address
from git_credential_bitbucket.gitsetup import configuration


@options.verb(
    "unconfigure",
    "Lines of other helpers that were overridden take effect again. Credentials stay; `logout` removes them.",
)
@click.option("--host", metavar="URL", callback=address, help="Only this host; by default all.")
@click.option("--system", is_flag=True, help="In the configuration of all users of this machine.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the git commands without running them.")
def command(*, host: str | None, system: bool, dry_run: bool) -> None:
    """Remove the configuration."""
    configuration.unconfigure(os.environ, host, system=system, dry_run=dry_run)
