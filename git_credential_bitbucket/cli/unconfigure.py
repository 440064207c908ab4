"""`unconfigure`: takes back what `configure` wrote, and nothing else."""

from __future__ import annotations

import os
import shlex

import click

from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.configure import address, tell
from git_credential_bitbucket.gitsetup import config_writer
from git_credential_bitbucket.ui.output import say


@click.command(
    help=f"""{summary("unconfigure")}.

    Lines of other helpers were only hidden, and count again. Credentials are not touched: `logout` removes those."""
)
@click.option("--host", metavar="URL", callback=address, help="For this host only; without it, for all.")
@click.option("--system", is_flag=True, help="In the configuration for all users of this machine.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the git commands, and run none.")
def command(*, host: str | None, system: bool, dry_run: bool) -> None:
    """Take the configuration back."""
    scope = config_writer.open_scope(os.environ, system=system)
    commands = config_writer.unconfiguring(scope, host)
    if dry_run:
        tell(commands)
        return
    config_writer.run(commands, os.environ)
    taken = [(origin, url) for origin, url in scope.ours() if host in (None, url)]
    for origin, url in taken:
        say(f"{url}: git no longer asks this program ({origin})")
        if username := scope.values(origin, url, config_writer.USERNAME):
            unset = ["git", "config", "--file", origin, "--unset-all", f"credential.{url}.{config_writer.USERNAME}"]
            say(f"  left: git asks for the account {username[-1]} there; to undo that: {shlex.join(unset)}")
    if not taken:
        say(f"there is nothing of ours in git's {scope.name} configuration" + (f" for {host}" if host else ""))
