"""`logout`: removes a credential, and revokes an OAuth login at Bitbucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.agent import revocation
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.login import guidance, vault_setup
from git_credential_bitbucket.ui import arguments, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView

HELP = """
The credential is always removed here. Bitbucket documents no way to revoke a token by its API; the output says whether
it revoked an OAuth login. A token that you created can only be revoked by you, on the page where you created it.
"""
_REVOCATION = {
    revocation.REVOKED: "Revoked at Bitbucket.",
    revocation.REJECTED: "Bitbucket rejected the revocation; the login may be revoked already. Your Bitbucket settings "
    "list what has access, under “App authorizations”.",
    revocation.QUEUED: "Bitbucket did not confirm the revocation; the daemon tries again, for up to a week.",
    revocation.UNKNOWN: "Bitbucket did not confirm the revocation; the access token expires by itself. Your Bitbucket "
    "settings list what has access, under “App authorizations”.",
}
_STILL_VALID = "It is still valid at Bitbucket: revoke it on the page where you created it"


@options.verb("logout", HELP)
@click.argument("what", metavar="[SCOPE|ID]", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Remove all that match; without a scope or id, all credentials."
)
def command(*, what: str | None, everything: bool) -> None:
    """Remove credentials."""
    vault_setup.unlock_if_locked()
    found = arguments.select_credentials(what)
    if everything and not found:
        output.say("There is nothing to remove.")
    for one in found if everything else [arguments.select_one(found, "here" if what is None else "for this scope")]:
        _remove(one)


def _remove(one: CredentialView) -> None:
    reply = dict(ask("remove", [("id", one["id"]), ("revoke", "1")]))
    output.say(f"Removed: {arguments.title(one)}")
    if one["kind"] in token_kinds.RENEWABLE:
        output.say(_REVOCATION.get(reply.get("revoked", ""), _REVOCATION[revocation.UNKNOWN]))
    elif one["kind"] != token_kinds.APP_PASSWORD:
        pages = _pages(one)
        output.say(f"{_STILL_VALID}: {' or '.join(pages)}" if pages else f"{_STILL_VALID}.")


def _pages(one: CredentialView) -> tuple[str, ...]:
    """Where a token that a person created is revoked; empty where that is not known."""
    *host, path = (*one["url"].split("/", 3), "")[:4]
    try:
        return guidance.token_pages(one["kind"], arguments.find_provider("/".join(host)), path)
    except SettingsError:
        return ()
