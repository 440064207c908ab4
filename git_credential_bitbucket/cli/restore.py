"""`restore`: offers a credential again that was set aside, or is held back after a rejection."""

from __future__ import annotations

import click

from git_credential_bitbucket.cli import asking, opening, places, show, shy
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.cli.holder import ask


@click.command(cls=shy.Shy, help=f"{summary('restore')}.\n\nThirty days after that it is removed.")
@click.argument("what", metavar="ID|PLACE")
def command(*, what: str) -> None:
    """Restore."""
    opening.readable()
    held = [one for one in places.meant(what) if one["state"] != "ready" or one["suspended_for"]]
    one = places.one_of(held, asking.choosing(), "there that is set aside or held back")
    ask("restore", [("id", one["id"])])
    show.say(f"Offered again: {places.line({**one, 'state': 'ready'})}")
