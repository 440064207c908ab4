"""`switch`: sets the default account of a scope with several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.agent.naming import MAX_NAMED
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error, UnknownCredential
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.agent.status_views import CredentialView

HELP = """
ACCOUNT is an email, a Bitbucket username, an account id or a credential's id. Without it you are asked; with two
accounts, the other one is taken. Of an account's credentials the newest is taken. The choice stays until the next
`switch`. It is for URLs without a username; a username in the URL selects its own account.

To choose by directory, set git's own credential.https://bitbucket.org.username in a file that git includes there
(includeIf in git-config(1)); `configure --account NAME` writes that setting.
"""


@options.verb("switch", HELP)
@click.argument("account", metavar="[ACCOUNT]", required=False)
@click.option("--for", "named", metavar="SCOPE", default=hosts.CLOUD_URL, help="WORKSPACE or WORKSPACE/REPOSITORY.")
def command(*, account: str | None, named: str) -> None:
    """Set the default account."""
    vault_setup.unlock_if_locked()
    scope = arguments.parse_scope_url(named)
    offered = arguments.default_candidates(scope)
    if not offered:
        raise UnknownCredential(f"no credential is stored for {scope}", hint="see: git-credential-bitbucket status")
    one = _choose(offered, account)
    ask("default", [("id", one["id"])])
    output.say(f"Default for {one['scope']}: {arguments.describe(one)}")


def _choose(offered: Sequence[CredentialView], account: str | None) -> CredentialView:
    scope = output.shown(offered[0]["scope"])
    if account is not None:
        found = [one for one in offered if account.lower() in {one["id"], *arguments.account_names(one)}]
        if not found:
            raise UnknownCredential(
                f"no credential for {scope} belongs to this account", hint=_elsewhere(offered, account)
            )
        return max(found, key=lambda one: (one["state"] == "ready", one["created_at"] or 0))
    others = [one for one in offered if not one["answers"]]
    if len(offered) == 2 and len(others) == 1:  # noqa: PLR2004 - of two, the other
        return others[0]
    if len(offered) == 1:
        raise Error(f"only one credential is stored for {scope}", hint=_elsewhere(offered, None))
    return arguments.select_one(offered, "for this scope")


def _elsewhere(offered: Sequence[CredentialView], account: str | None) -> str:
    """Where the credentials of `account` (None: any) are that are not `offered`, as a hint; else the accounts here."""
    ids = {one["id"] for one in offered}
    others = {
        output.shown(one["scope"])
        for one in arguments.select_credentials(None)
        if one["id"] not in ids and one["state"] != "disabled"
        if account is None or account.lower() in {one["id"], *arguments.account_names(one)}
    }
    if others:
        named = ", ".join(sorted(others)[:MAX_NAMED])
        return f"git uses others without a switch, for {named}; to add one here, run: git-credential-bitbucket login"
    known = ", ".join(sorted({output.shown(one["account"] or one["id"]) for one in offered}))
    return "to add another, run: git-credential-bitbucket login" if account is None else f"stored accounts: {known}"
