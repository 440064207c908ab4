"""`refresh`: renews access tokens now, whatever time they have left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask, renew
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.login.login_request import repository_names
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView


@options.verb(
    "refresh",
    "Without a scope or id: all of them. Tokens are renewed automatically before"
    " they expire. A renewal that has just failed is tried again at once. For a project's access token, the list of its"
    " repositories is read again.",
)
@click.argument("what", metavar="[SCOPE|ID]", required=False)
@click.option("--repositories", metavar="NAMES", help="Set the project's repositories instead, comma-separated.")
def command(*, what: str | None, repositories: str | None) -> None:
    """Renew tokens."""
    vault_setup.unlock_if_locked()
    offered = [one for one in arguments.select_credentials(what) if one["state"] != "disabled"]
    projects = [one for one in offered if one["project"] is not None]
    if repositories is not None:
        _set_repositories(arguments.select_one(projects, "for a project"), repositories)
        return
    renewable = [
        one for one in offered if one["renewed_at"] is not None or one["source"] is not None or one in projects
    ]
    if what is not None:
        renewable = [arguments.select_one(renewable, "for this scope that can be renewed")]
    if not renewable:
        hint = "create a new token at Bitbucket, or log in with OAuth: git-credential-bitbucket login --oauth"
        raise Error("no stored credential can be renewed automatically", hint=hint)
    failures = []
    for one in renewable:
        try:
            if one in projects:
                _print_repositories(one, dict(ask("repositories", [("id", one["id"])]))["repositories"])
                continue
            reply = renew(one["id"])
        except Error as exc:
            failures.append((one, exc))
            continue
        if one["renewed_at"] is None:
            output.say(f"Fetched: {arguments.title(one)}, from {one['source']}")
            continue
        left = dates.time_left(int(reply["expires_at"]) - time.time())
        output.say(f"Renewed: {arguments.title(one)}, valid for {left}")
    if failures:
        one, first = failures[0]
        rest = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise Error(f"{arguments.title(one)}{rest}: {first.cause}", hint=first.hint)


def _set_repositories(one: CredentialView, typed: str) -> None:
    """Set the repositories of a project's token. Raises `Error`."""
    provider = arguments.find_provider(scopes.host_of(one["url"]))
    names = " ".join(repository_names(provider, one["url"].split("/")[3], typed))
    ask("amend", [("id", one["id"]), ("repositories", names)])
    _print_repositories(one, names)


def _print_repositories(one: CredentialView, names: str) -> None:
    output.say(f"Repositories of {one['scope']}: {', '.join(names.split()) or 'none'}")
