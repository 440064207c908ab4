"""`configure`: makes git ask this program, and no other helper, for Bitbucket's credentials."""

from __future__ import annotations

import os

import click

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.gitsetup import configuration
from git_credential_bitbucket.login import paste_validation


def address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The URL of `--host` as in git's configuration: `https://HOST[:PORT]`, and a Data Center's context path."""
    del context, parameter
    url = None if value is None else configuration.host_url(value)
    if value is not None and url is None:
        raise click.BadParameter(
            "it must be a URL without username or repository, such as https://bitbucket.example.com"
        )
    return url


@options.verb(
    "configure",
    """
    Writes three lines for https://bitbucket.org into git's global configuration: an empty helper line, so that no
    other helper gets the tokens; the path of this program; and useHttpPath, so that each repository can have its own
    token. Running it again changes nothing; `unconfigure` removes what it wrote.

    With --host it writes the same for that host, and a line that marks it as Bitbucket Data Center if the server says
    that it is one (the URL may have a context path). With --account it sets the username that git asks for where a URL
    has none. That is a setting of git's own: `unconfigure` keeps it, and says so.
    """,
)
@click.option("--host", metavar="URL", callback=address, help="Configure this host instead of bitbucket.org.")
@click.option("--account", metavar="NAME", help="The username git asks for if a URL has none.")
@click.option("--system", is_flag=True, help="Configure git for all users of this machine.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the git commands without running them.")
def command(*, host: str | None, account: str | None, system: bool, dry_run: bool) -> None:
    """Write the configuration."""
    username = paste_validation.check_account(account) if account is not None else None
    if account is not None and username is None:
        raise click.UsageError("--account needs a name")
    configuration.configure(os.environ, host, username, system=system, dry_run=dry_run)
