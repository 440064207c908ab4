"""`expires`: shows and enters the expiry dates of tokens, which Bitbucket's API does not tell."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView

HELP = f"""
Bitbucket shows a token's expiry date only on the page where it is created, so you enter it here, or when you log in.
After git commands you are then warned 30, 7 and 1 days before it expires, at most once a day and never in CI: set
GIT_CREDENTIAL_BITBUCKET_WARN to 1 to be warned there too, or to 0 for no warnings.

\b
  git-credential-bitbucket expires                       list tokens, the next to expire first
  git-credential-bitbucket expires acme/app 2027-01-31   enter a date
  git-credential-bitbucket expires acme/app 90d          or the time left
  git-credential-bitbucket expires acme/app {options.UNKNOWN}      clear the date

For cron and CI: git-credential-bitbucket status --fail-within 7d
"""
_JSON = ("id", "kind", "url", "account")
"""Fields of each credential in `--json`, beside `ends_at`."""


@options.verb("expires", HELP)
@click.argument("what", metavar="[SCOPE|ID]", required=False)
@click.argument("date", metavar="[DATE]", required=False, callback=options.expiry_or_unknown)
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON document; times are epoch seconds.")
def command(*, what: str | None, date: float | str | None, as_json: bool) -> None:
    """List tokens, or enter a date."""
    if as_json and date is not None:
        raise click.UsageError("--json lists tokens and takes no DATE")
    ends_at = date if isinstance(date, float) else None
    vault_setup.unlock_if_locked()
    found = [one for one in arguments.select_credentials(what) if is_static(one)]
    if what is not None and not found:
        hint = "see: git-credential-bitbucket status --long"
        raise Error("the credential for this scope renews itself, so it needs no expiry date", hint=hint)
    if date is None:
        found.sort(key=lambda one: status_report.expiry_of(one) or math.inf)
        if as_json:
            rows = [
                {**{f: v for f, v in one.items() if f in _JSON}, "ends_at": status_report.expiry_of(one)}
                for one in found
            ]
            click.echo(json.dumps(rows, indent=2))
        else:
            _list(found)
        return
    one = arguments.select_one(found, "for this scope")
    ask("amend", [("id", one["id"]), ("ends_at", "" if ends_at is None else repr(ends_at))])
    which = f"the {arguments.title(one)}"
    output.say(
        f"Expiry date cleared for {which}"
        if ends_at is None
        else f"Expiry date entered for {which}: {dates.day(ends_at)}"
    )


def is_static(one: CredentialView) -> bool:
    """Whether the user has to replace it when it expires: it is not disabled, and does not renew itself."""
    return one["renewed_at"] is None and one["kind"] not in token_kinds.RENEWABLE and one["state"] != "disabled"


def _list(found: list[CredentialView]) -> None:
    if not found:
        output.say("No stored token expires without renewing itself.")
        return
    now = time.time()
    for one in found:
        at = status_report.expiry_of(one)
        day, left = (dates.day(at), dates.time_left(at - now)) if at is not None else ("unknown", "")
        output.say(f"{day:<10}  {left:<12}  {one['id']}  {arguments.title(one)}")
    if any(status_report.expiry_of(one) is None for one in found):
        output.say("To enter a date, run: git-credential-bitbucket expires ID DATE")
