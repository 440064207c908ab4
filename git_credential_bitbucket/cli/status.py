"""`status`: everything that is kept, how long it lasts, what is wrong with it and what mends it; never a secret.

Imports the list from the holder; the forms it is shown in are listing's and metrics'.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket.agent.naming import anew
from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.cli import date_options, secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error, UnknownCredential
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.views import CredentialView

    Verdict = dict[str, str]
    """`verdict` is `valid`, `rejected`, or empty where Bitbucket did not say; then `reason` tells why."""

_DAEMON_NUMBERS = ("pid", "uptime", "clients", "served")
_DAEMON_WORDS = ("version", "fault")


@dataclass(frozen=True, slots=True)
class Report:
    """What `status` knows at one moment. `now` is in epoch seconds.

    `environment` is the variable that is answered before all of this; `environment_trouble`, why that is not done now.
    """

    now: float
    vault: dict[str, str | None]
    daemon: dict[str, str | int] | None
    environment: str | None
    credentials: list[CredentialView]
    environment_trouble: str | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """What Bitbucket says of each, by id, where it was asked."""

    @property
    def offered(self) -> list[CredentialView]:
        """Those that are in use or could be."""
        return [one for one in self.credentials if one["state"] != "set-aside"]

    @property
    def set_aside(self) -> list[CredentialView]:
        """Those that are only kept to be restored."""
        return [one for one in self.credentials if one["state"] == "set-aside"]


@click.command(
    cls=secret_arguments.SecretRefusingCommand,
    help=f"{summary('status')}.\n\nExit code 1 with --fail-within where something ends or has ended, and where the"
    " vault cannot be looked into.",
)
@click.argument("what", metavar="[PLACE|ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON document; times are epoch seconds.")
@click.option("--long", "-l", "as_blocks", is_flag=True, help="Everything that is known of each.")
@click.option(
    "--fail-within",
    "within",
    metavar="SPAN",
    callback=date_options.span,
    help="Fail if something ends within SPAN (12h, 7d, 2w, 3mo), or needs a person now.",
)
@click.option("--check", "ask_bitbucket", is_flag=True, help="Ask Bitbucket whether each is still valid; fail if not.")
@click.option(
    "--prometheus",
    "metrics_file",
    metavar="FILE",
    help="Write metrics for a node exporter to FILE (- for standard output).",
)
def command(
    *,
    what: str | None,
    as_json: bool,
    as_blocks: bool,
    within: float | None,
    ask_bitbucket: bool,
    metrics_file: str | None,
) -> None:
    """List what is kept."""
    if as_json and metrics_file == "-":
        raise click.UsageError("--json and --prometheus - both want standard output")
    report = report_now(what)
    if ask_bitbucket:
        report = replace(report, verdicts=_verdicts(report))
    if metrics_file is not None:
        from git_credential_bitbucket.ui import metrics  # here, not above: each of these forms has its own imports

        output.write(metrics_file, metrics.text(report))
    if as_json:
        click.echo(json.dumps(document(report), indent=2))
    elif metrics_file is None:
        from git_credential_bitbucket.ui import status_table  # here, not above: rich costs 40 ms

        status_table.print_report(report, long=as_blocks)
    if within is not None:
        check(report, within)
    rejected = [one for one in report.offered if report.verdicts.get(one["id"], {}).get("verdict") == "rejected"]
    if rejected:
        named = ", ".join(arguments.line(one) for one in rejected)
        raise Error(f"Bitbucket rejects {named}", hint=cure(rejected[0]))


def _verdicts(report: Report) -> dict[str, Verdict]:
    """What Bitbucket says of each credential that is offered: one request each."""
    found = {}
    for one in report.offered:
        try:
            told = dict(ask("identify", [("id", one["id"])]))
        except Error as exc:  # an API token without its email, say
            told = {"verdict": "", "reason": exc.cause}
        found[one["id"]] = {"verdict": told["verdict"], "reason": told.get("reason", "")}
    return found


def report_now(what: str | None = None) -> Report:
    """Ask the holder; `what` narrows it to a place or one credential. Raises `Error`."""
    answer = ask("status")
    told = dict(answer)
    credentials = arguments.listed(answer)
    if what is not None:
        try:
            credentials = arguments.find_named(credentials, what)
        except UnknownCredential:
            if "trouble" not in told:
                raise
            credentials = []  # it may be where nobody can look now, and that is what has to be told
    name, trouble = _environment({"/".join(one["url"].split("/")[:3]) for one in credentials})
    return Report(
        now=time.time(),
        vault=_vault(told),
        daemon=_daemon(told) if "pid" in told else None,
        environment=name,
        credentials=credentials,
        environment_trouble=trouble,
    )


def document(report: Report) -> dict[str, Any]:
    """The JSON form."""
    return {
        "now": int(report.now),
        "vault": report.vault,
        "daemon": report.daemon,
        "environment": report.environment,
        "environment_trouble": report.environment_trouble,
        "credentials": report.credentials,
        "verdicts": report.verdicts,
    }


def ends(one: CredentialView) -> float | None:
    """When a person will have to do something about it: epoch seconds; None where that is not known, or never.

    A token that renews itself ends only when its log-in does, and that has no date, unless a person gave it one.
    """
    dates = (one["forget_at"], *(() if one["renewed_at"] is not None else (one["ends_at"], one["expires_at"])))
    return min((at for at in dates if at is not None), default=None)


def check(report: Report, within: float) -> None:
    """Raise `Error` if something ends within that many seconds or has ended, or nothing is known for a locked vault."""
    if report.vault["state"] == "locked" or report.vault["trouble"]:
        raise Error(
            f"nothing can be said of what ends: {report.vault['trouble'] or 'the vault is locked'}",
            hint=report.vault["cure"] or "type: git-credential-bitbucket unlock",
        )
    found = {said: cure(one) for one in report.offered if (said := _ending(one, report.now, within)) is not None}
    if found:
        raise Error("; ".join(found), hint="; ".join(dict.fromkeys(found.values())))


def cure(one: CredentialView) -> str:
    """What mends the end of a credential, before it as after it."""
    if one["cure"]:
        return str(one["cure"])
    return anew(one["id"]) if one["kind"] in token_kinds.STATIC else "log in again: git-credential-bitbucket login"


def _ending(one: CredentialView, now: float, within: float) -> str | None:
    name = f"the {one['kind']} for {one['place']} ({one['id']})"
    if one["state"] in ("login-expired", token_kinds.APP_PASSWORD):
        return f"{name} needs a new log-in"
    at = ends(one)
    if at is None or at - now > within:
        return None
    return f"{name} has ended" if at <= now else f"{name} ends in {dates.left(at - now)}"


def _daemon(told: dict[str, str]) -> dict[str, str | int]:
    numbers: dict[str, str | int] = {name: int(told[name]) for name in _DAEMON_NUMBERS if name in told}
    return {**numbers, **{name: told[name] for name in _DAEMON_WORDS if name in told}}


def _vault(told: dict[str, str]) -> dict[str, str | None]:
    try:
        source = vault_setup.vault().header()
    except Error:  # its trouble is the holder's to tell
        source = None
    return {
        "state": told["vault"],
        "path": vault_setup.shown_path(),
        "key": vault_setup.shown_key_source(source),
        "trouble": told.get("trouble"),
        "cure": told.get("cure") or None,
        "damaged": told.get("damaged"),
        "damage": told.get("damage"),
        "damage_cure": told.get("damage_cure"),
    }


def _environment(bases: set[str]) -> tuple[str | None, str | None]:
    """The variable whose token is answered before anything that is kept, and why it is not, at a host of `bases`."""
    from git_credential_bitbucket.client import environment  # here, not above: as listing

    name = None
    try:
        found = environment.every(os.environ)
        name = environment.named(found) or None
        for base in (hosts.CLOUD_URL, *sorted(bases - {hosts.CLOUD_URL})):
            for one in found:
                environment.check(one, base, os.environ)
    except Error as exc:
        return name, exc.cause
    return name, None
