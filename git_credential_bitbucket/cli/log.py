"""`log`: shows the access log or the event log, filtered, and a review of credentials based on them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import access_log
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from git_credential_bitbucket.diagnostics.review import Review

SHOWN = 50
_COLUMNS = ("time", "operation", "outcome", "scope", "credential", "pid", "program")
_EVENT_COLUMNS = ("time", "event", "scope", "account", "credential", "why", "program")
_HOW_TO_TURN_ON = "to turn it on, run: git config --global credentialBitbucket.log on"
_HINT = "replace old tokens: git-credential-bitbucket rotate; remove unused ones: git-credential-bitbucket logout"

HELP = f"""
The daemon writes it if credentialBitbucket.log in git's configuration, or {access_log.SETTING} where the
daemon starts, is "on" or names a file. It never holds a secret. Tokens that git gets from environment variables
(BITBUCKET_API_TOKEN and so on) are answered without the daemon and are not in it.

--events shows the event log, which is always written and kept for two years: login, rotate, switch, disable, restore,
logout, revoke, lock, unlock, rekey, and a vault's copy and move.

--review shows each credential's age, OAuth scopes, last use, and the programs and repositories that used it. It flags
a credential that was not used for 90 days (unused), is older than 90 days (old), has a wider scope than was used in 30
days or more (wide), or was used by a program for the first time this week (new-program), and exits with 1 if anything
is flagged, so that cron can mail it. Programs and repositories come from the access log.
"""


@options.verb("log", HELP)
@click.option("--for", "scope", metavar="SCOPE", help="Only this WORKSPACE, WORKSPACE/REPOSITORY or host.")
@click.option("--operation", metavar="WORD", help="Only get, store, erase, token, refresh, unlock …")
@click.option("--credential", metavar="ID", help="Only this credential.")
@click.option("--since", metavar="SPAN", callback=options.span, help="Only the last SPAN: 30m, 12h, 7d, 2w, 3mo.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Only the newest N entries.",
)
@click.option("--events", is_flag=True, help="Show the event log instead.")
@click.option("--review", "is_review", is_flag=True, help="Review every credential; exit code 1 if one is flagged.")
@click.option(
    "--test",
    "tests",
    metavar="ID|ACCOUNT",
    multiple=True,
    help="With --review: a token for tests, which is old after 30 days. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, as in the file; with --review, one document.")
def command(
    *,
    lines: int,
    as_json: bool,
    since: float | None,
    events: bool,
    is_review: bool,
    tests: tuple[str, ...],
    **wanted: str | None,
) -> None:
    """Show the log."""
    if is_review:
        _review(frozenset(tests), as_json=as_json)
        return
    path = access_log.event_log_path(os.environ) if events else _path()
    not_before = None if since is None else time.time() - since
    found = deque((e for e in access_log.read(path) if _matches(e, not_before, **wanted)), min(lines, sys.maxsize))
    if not found and not os.path.exists(path):
        if events:
            raise Error("the event log is empty", hint="log in: git-credential-bitbucket login")
        raise Error("there is no access log: it is turned off, or there was no request yet", hint=_HOW_TO_TURN_ON)
    if as_json:
        for entry in found:
            click.echo(json.dumps(entry))
        return
    columns = _EVENT_COLUMNS if events else _COLUMNS
    output.table((tuple(_cell(entry, name) for name in columns) for entry in found), tuple(map(str.upper, columns)))


def _path() -> str:
    """The path of the access log, whether it is on or not."""
    return access_log.log_path(os.environ) or access_log.log_path({**os.environ, access_log.SETTING: "on"}) or ""


def _review(tests: frozenset[str], *, as_json: bool) -> None:
    from git_credential_bitbucket.diagnostics import review, status_report  # lazy: the log alone needs no daemon

    report = status_report.report_now()
    status_report.check_readable(report, "the credentials cannot be reviewed")
    is_on = access_log.log_path(os.environ) is not None
    found = review.review(report.credentials, access_log.read(_path()), report.now, tests=tests, log_on=is_on)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print_review(found)
        if not is_on:
            output.warn("the access log is off, so programs and repositories are unknown", _HOW_TO_TURN_ON)
    flagged = [one for one in found["credentials"] if one["flags"]]
    if flagged:
        raise Error(f"{len(flagged)} of {len(found['credentials'])} credentials are flagged", hint=_HINT)


def _print_review(found: Review) -> None:
    now = found["now"]
    for one in found["credentials"]:
        output.say(f"{one['scope']}: {one['kind']} {one['id']}{arguments.of_account(one)}")
        rows = [
            ("age", "unknown" if one["age_days"] is None else f"{one['age_days']} days"),
            ("OAuth scopes", " ".join(one["oauth_scopes"]) or "unknown"),
            ("last used", dates.time_ago(now - one["last_used_at"]) if one["last_used_at"] else "never"),
            ("programs", ", ".join(one["programs"]) or "unknown"),
            ("repositories", ", ".join(one["repositories"]) or "unknown"),
        ]
        for name, text in rows:
            output.say(f"  {name}: {text}")
        for flag in one["flags"]:
            output.say(f"  {flag['flag']}: {flag['why']}", "yellow")
    if found["log_since"] is not None:
        output.say(f"The access log reaches back to {dates.day(found['log_since'])}.")


def _matches(
    entry: access_log.Entry, not_before: float | None, scope: str | None, operation: str | None, credential: str | None
) -> bool:
    if not_before is not None and (access_log.time_of(entry) or 0.0) < not_before:
        return False
    if operation is not None and operation not in (entry.get("operation"), entry.get("event")):
        return False
    if credential is not None and entry.get("credential") != credential:
        return False
    return scope is None or _is_in(str(entry.get("scope") or ""), scope)


def _is_in(scope: str, wanted: str) -> bool:
    """Whether `scope` is `wanted` or within it, given with or without its host."""
    wanted = wanted.strip("/").lower().removesuffix(".git")
    shown = scope.partition("://")[2]
    names = shown.partition("/")[2]
    return any(scopes.is_within(one, wanted) for one in (scope, shown, names))


def _cell(entry: access_log.Entry, name: str) -> str:
    value: Any = entry.get(name)
    if name == "program" and isinstance(value, list):
        programs = " < ".join(map(str, value[:4]))
        return f"{programs} (grant {entry['grant']})".lstrip() if "grant" in entry else programs
    if name == "operation" and "replaces" in entry:
        return f"{value} for {entry['replaces']}"
    if name == "why" and "to" in entry:
        count = f"{entry['credentials']} credential{'' if entry['credentials'] == 1 else 's'}"
        return f"{count} from {entry['from']} to {entry['to']}"
    if name == "scope":
        return str(value or "").partition("://")[2]
    return "" if value is None else str(value)
