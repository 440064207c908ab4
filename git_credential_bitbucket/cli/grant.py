"""`grant`: opens, lists and closes sockets that answer for one scope only."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client import child_process
from git_credential_bitbucket.client.shared_client import ask, query
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import private_daemon
from git_credential_bitbucket.gitsetup.executable import helper_here
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import GrantView

LIFETIME = "30m"
_COLUMNS = ("ID", "SCOPE", "EXPIRES IN", "USED", "REFUSED", "SOCKET")


class Grant(click.Group):
    """The group, whose arguments are a command to run where `--for` says what it is given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; with `--for`, the command that runs `args`."""
        return ("run", run, args) if ctx.params.get("wanted") is not None else super().resolve_command(ctx, args)


@click.group(
    cls=Grant,
    invoke_without_command=True,
    no_args_is_help=False,
    options_metavar="--for SCOPE [OPTIONS]",
    subcommand_metavar="[-- COMMAND … | list | revoke ID]",
    help=f"""{summary("grant")}.

    Prints the socket's path and the grant's id. With a COMMAND, runs it with git using that socket, which is closed
    when the command ends. The socket answers git's `get` for SCOPE and what lies below it; it acknowledges everything
    else and ignores it. It is closed when its time or uses are spent, and when the daemon stops.

    A grant limits which requests are answered, not what the token in the answer can do: for least privilege, store an
    access token for that repository. It protects against programs that can reach only this socket, such as those in a
    container: a program of your own user can reach the daemon's other sockets.

    git's own client can use it:

    \b
    git -c credential.helper='cache --socket PATH' -c credential.useHttpPath=true clone URL""",
)
@click.option("--for", "wanted", metavar="SCOPE", help="WORKSPACE, WORKSPACE/REPOSITORY or a URL.")
@click.option(
    "--expires", default=LIFETIME, show_default=True, metavar="SPAN", callback=options.span, help="For how long."
)
@click.option("--uses", type=click.IntRange(1, 1_000_000), metavar="N", help="How many answers at most.")
@click.option("--peer", type=click.IntRange(0, 2**32 - 2), metavar="UID", help="Also serve this user.")
@click.option(
    "--socket", metavar="PATH", help="Where to open the socket, in a directory of its own (made if it does not exist)."
)
@click.pass_context
def command(
    ctx: click.Context, *, wanted: str | None, expires: float, uses: int | None, peer: int | None, socket: str | None
) -> None:
    """Open a grant, unless a verb of the group follows."""
    if wanted is None:
        if ctx.invoked_subcommand is None:
            raise click.UsageError("a grant needs a scope: --for WORKSPACE/REPOSITORY", ctx)
        return
    scope = arguments.parse_scope(wanted)
    fields = [("protocol", scope.protocol), ("host", scope.host), ("expires", str(max(1, int(expires))))]
    given = {"path": scope.path, "uses": uses, "peer": peer, "socket": socket and os.path.abspath(socket)}
    fields += [(name, str(value)) for name, value in given.items() if value is not None]
    helper = "" if ctx.invoked_subcommand is None else helper_here(os.environ)  # it may raise: before the grant is open
    opened = dict(ask("grant", fields))
    if scopes.is_repository(scope.text):  # for a workspace, one below it may answer
        why = dict(query("why", request=scope.request()))
        if why["state"] != git_protocol.READY:
            output.warn(f"the grant has nothing to give yet: {why['error']}", why["hint"])
    if ctx.invoked_subcommand is None:
        output.say(opened["socket"], is_whole=True)
        output.say(opened["grant"])
    ctx.obj = (opened["socket"], opened["grant"], scope.url, helper)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(opened: tuple[str, str, str, str], *, words: tuple[str, ...]) -> int:
    """Run a command with git using the grant's socket; returns its exit code."""
    socket, grant_id, url, helper = opened
    client = private_daemon.PrivateDaemon(socket)
    try:
        return child_process.run(words, client.command_environment(os.environ, helper, [url]))
    finally:
        try:
            query("grant-revoke", [("grant", grant_id)])
        except Error:
            pass  # it is spent, or the daemon has stopped


@command.command(name="list", help="List the open grants.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; times are epoch seconds.")
def list_grants(*, as_json: bool) -> None:
    """List the grants."""
    found: list[GrantView] = [json.loads(value) for key, value in query("grant-list") if key == "grant[]"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        output.say("no grant is open")
    else:
        output.table((_row(one) for one in found), _COLUMNS)


def _row(one: GrantView) -> tuple[str, ...]:
    uses = str(one["used"]) if one["uses"] is None else f"{one['used']} of {one['uses']}"
    left = dates.time_left(one["expires_at"] - time.time())
    return (one["id"], one["scope"].partition("://")[2], left, uses, str(one["ignored"]), one["socket"])


@command.command(help="Close a grant's socket now. What it gave stays valid.")
@click.argument("grant_id", metavar="ID")
def revoke(*, grant_id: str) -> None:
    """Revoke a grant."""
    query("grant-revoke", [("grant", grant_id)])
    output.say(f"revoked: {grant_id}")
