"""`logout`: removes a credential here for good, and tells Bitbucket that an OAuth login is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.agent import revocation
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output, prompts

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.views import CredentialView

HELP = f"""{summary("logout")}.

What is kept here is always removed. Bitbucket documents no revocation; where it takes one for an OAuth login, it is
said. A token that you made can only be revoked by you, on the page where you made it.
"""
_SAID = {
    revocation.REVOKED: "Bitbucket took its revocation.",
    revocation.REJECTED: "Bitbucket refused to revoke it: it may be over already. Your Bitbucket settings list what "
    "has access, under “App authorizations”.",
    revocation.QUEUED: "Bitbucket did not say whether it is revoked; the daemon asks again, for up to a week.",
    revocation.UNKNOWN: "Bitbucket did not say whether it is revoked; its access token ends by itself. Your Bitbucket "
    "settings list what has access, under “App authorizations”.",
}
_YOURS = "It is still valid at Bitbucket: revoke it on the page where you made it."


@click.command(cls=secret_arguments.SecretRefusingCommand, help=HELP)
@click.argument("what", metavar="[PLACE|ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All that match, or all that is kept.")
def command(*, what: str | None, everything: bool) -> None:
    """Remove."""
    vault_setup.readable()
    found = arguments.select(what)
    if everything:
        meant = list(found)
        if not meant:
            output.say("There is nothing to remove.")
    else:
        meant = [arguments.select_one(found, prompts.choosing(), "kept here" if what is None else "for that place")]
    for one in meant:
        _remove(one)


def _remove(one: CredentialView) -> None:
    told = dict(ask("remove", [("id", one["id"]), ("revoke", "1")]))
    account = f" of {one['account']}" if one["account"] else ""
    output.say(f"Removed: {one['kind']} for {one['scope']}{account}")
    if one["kind"] in token_kinds.RENEWABLE:
        output.say(_SAID.get(told.get("revoked", ""), _SAID[revocation.UNKNOWN]))
    elif one["kind"] != token_kinds.APP_PASSWORD:
        output.say(_YOURS)
