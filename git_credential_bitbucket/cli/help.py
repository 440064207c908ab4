"""`help`: the help of a command, or of the program."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import app, options


@options.verb("help")
@click.argument("verb", metavar="[COMMAND]", required=False)
@click.pass_context
def command(ctx: click.Context, *, verb: str | None) -> None:
    """Show help."""
    whole = ctx.find_root()
    if verb is None:
        click.echo(whole.get_help())
        return
    _, found, _ = app.verbs.resolve_command(whole, [verb])
    assert found is not None  # noqa: S101 - for the type checker: a verb that is not there was told of
    click.echo(found.get_help(click.Context(found, parent=whole, info_name=verb)))
