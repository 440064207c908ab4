"""`status`: shows the stored credentials, without secrets."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client import live_check
from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import output


@options.verb(
    "status",
    """
    No daemon is started: if none is running, the vault is read if that needs no passphrase and no dialogue.

    Exit code 1 with --fail-within if a credential expires within that time or has expired, is suspended, disabled or
    rejected (the environment's tokens included), has no known expiry, or cannot be read.
    """,
)
@click.argument("what", metavar="[SCOPE|ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; times are epoch seconds.")
@click.option("--long", "-l", "as_blocks", is_flag=True, help="Show everything that is known about each.")
@click.option(
    "--fail-within",
    "within",
    metavar="SPAN",
    callback=options.span,
    help="Fail if something expires within SPAN (12h, 7d, 2w, 3mo), or needs attention now.",
)
@click.option("--unknown-ok", is_flag=True, help="With --fail-within: accept a token whose expiry is unknown.")
@click.option("--require", is_flag=True, help="Fail if no credential is stored.")
@click.option("--check", is_flag=True, help="Ask Bitbucket whether each is still valid; fail if not.")
@click.option(
    "--prometheus",
    "metrics_file",
    metavar="FILE",
    help="Write metrics for a node exporter to FILE (- for standard output).",
)
def command(
    *, what: str | None, as_json: bool, as_blocks: bool, within: float | None, metrics_file: str | None, **asked: bool
) -> None:
    """Show the credentials."""
    if as_json and metrics_file == "-":
        raise click.UsageError("--json and --prometheus - cannot both write to standard output")
    if asked["unknown_ok"] and within is None:
        raise click.UsageError("--unknown-ok needs --fail-within")
    report = status_report.report_now(what)
    if asked["check"]:
        report = replace(report, verdicts=live_check.check([one["id"] for one in report.offered], report.tokens))
    if metrics_file is not None:
        from git_credential_bitbucket.diagnostics import (
            metrics,  # lazy: only --prometheus needs it
        )

        output.write(metrics_file, metrics.text(report))
    if as_json:
        sys.stdout.buffer.writelines(status_report.document(report))  # click.echo would look for colours in megabytes
        sys.stdout.flush()
    elif metrics_file is None:
        from git_credential_bitbucket.diagnostics import status_table  # lazy: rich costs 40 ms

        status_table.print_report(report, long=as_blocks)
    if asked["require"] and not report.offered:
        status_report.check_readable(report, status_report.UNREADABLE)
        raise Error("no credential is stored", hint="run: git-credential-bitbucket login")
    if within is not None:
        status_report.check(report, within, unknown_ok=asked["unknown_ok"])
    if asked["check"]:
        status_report.raise_problems(status_report.rejected(report))
        status_report.check_readable(report, status_report.UNREADABLE)
