"""`configure`: git asks this program about Bitbucket, and nobody else; and says who else is told the tokens."""

from __future__ import annotations

import os
import shlex

import click

from git_credential_bitbucket import url_match
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.gitsetup import config_writer
from git_credential_bitbucket.gitsetup.executable import as_helper, means_us, stable_path
from git_credential_bitbucket.gitsetup.other_helpers import Neighbour, neighbours, reset_after
from git_credential_bitbucket.login import paste_validation
from git_credential_bitbucket.ui.output import say, warn


def address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The host of `--host` as git's configuration names it: `https://HOST[:PORT]`."""
    del context, parameter
    if value is None:
        return None
    url = url_match.normalise(value)
    if url is None or url.scheme not in ("https", "http") or url.user is not None or url.path != "/":
        raise click.BadParameter("it must be an address without path or name, such as https://bitbucket.example.com")
    return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port else "")


@click.command(
    help=f"""{summary("configure")}.

    Writes three lines into git's global configuration: a reset of the list of helpers for https://bitbucket.org, so
    that no other one is handed the tokens; the path of this program; and useHttpPath, so that each repository can have
    a token of its own. Done twice it changes nothing; `unconfigure` takes back what it wrote.

    With --host it writes the same for that host, and a line that opts it in. With --account it writes which account's
    credential git asks for; a username in a URL goes before it. That line is git's own setting, so `unconfigure`
    leaves it and says so."""
)
@click.option("--host", metavar="URL", callback=address, help="For this host instead of bitbucket.org.")
@click.option("--account", metavar="NAME", help="The username that git asks for where a URL has none.")
@click.option("--system", is_flag=True, help="For all users of this machine.")
@click.option("-n", "--dry-run", is_flag=True, help="Print the git commands, and run none.")
def command(*, host: str | None, account: str | None, system: bool, dry_run: bool) -> None:
    """Write the configuration."""
    url = host or hosts.CLOUD_URL
    path = stable_path(os.environ)
    scope = config_writer.open_scope(os.environ, system=system)
    others = neighbours(scope.read, url)
    username = paste_validation.account(account) if account else None
    commands = config_writer.configuring(scope, url, as_helper(path), username)
    if dry_run:
        tell(commands)
        return
    config_writer.run(commands, os.environ)
    scope = config_writer.open_scope(os.environ, system=system)
    left = {(n.value, n.origin) for n in neighbours(scope.read, url)}
    silenced = [n for n in others if (n.value, n.origin) not in left]
    _report(scope, url, path, silenced, changed=bool(commands))
    if username is not None:
        say(f"  for the account {username} where a URL has no username")
    _warn(scope, url)
    if url.startswith("http:"):
        warn(f"{url} is plain http: whoever is on the way reads the tokens", "use https if the host has it")
    if system and path.startswith(os.path.expanduser("~") + "/"):
        warn(f"{path} lies in a home directory, where others may not reach it", "install this program for all users")


def tell(commands: list[config_writer.Command]) -> None:
    """The commands of a dry run, fit for a shell."""
    for words in commands:
        say(shlex.join(["git", *words]))
    if not commands:
        say("# nothing to change")


def _report(scope: config_writer.Scope, url: str, path: str, silenced: list[Neighbour], *, changed: bool) -> None:
    files = [origin for origin, configured in scope.ours() if configured == url]
    say(f"{url}: git asks {path}" if changed else f"{url}: git asks {path} already")
    say(f"  as {files[-1] if files else 'git'} says")
    for other in silenced:
        say(f"  no longer asked about it: {other.value} ({other.origin}); unconfigure brings it back")


def _warn(scope: config_writer.Scope, url: str) -> None:
    if not any(means_us(value) for value, _, _ in scope.read.helpers(url)):
        warn(
            f"git does not ask this program about {url}: an empty helper line further down takes it off the list",
            f"remove or move that line: {reset_after(scope.read)}",
        )
    for other in neighbours(scope.read, url):
        where = "after" if other.after else "before"
        warn(
            f"git asks {other.value} {where} this program ({other.origin}), and {other.effect}",
            f"remove that line, or move it above the section for {url}" if other.after else "remove that line",
        )
