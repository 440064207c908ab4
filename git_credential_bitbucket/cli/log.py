"""`log`: what the audit log says, filtered; as lines for people or as JSON lines. Imports journal, and rich by show."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import access_log
from git_credential_bitbucket.cli import date_options, secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import output

if TYPE_CHECKING:
    from git_credential_bitbucket.access_log import Entry

SHOWN = 50
_COLUMNS = ("time", "operation", "outcome", "place", "credential", "pid", "program")

HELP = f"""{summary("log")}.

The daemon writes it where {access_log.SETTING} is "on", or names a file, in the environment that starts the daemon;
restart it after a change. No secret is ever in it. What git is given from the environment's own variables
(BITBUCKET_API_TOKEN and its like) is answered without the daemon, and is not in it either.
"""


@click.command(cls=secret_arguments.SecretRefusingCommand, help=HELP)
@click.option("--for", "place", metavar="PLACE", help="Only this WORKSPACE, WORKSPACE/REPOSITORY or host.")
@click.option("--operation", metavar="WORD", help="Only get, store, erase, token, refresh, unlock …")
@click.option("--credential", metavar="ID", help="Only this credential.")
@click.option("--since", metavar="SPAN", callback=date_options.span, help="Only the last SPAN: 30m, 12h, 7d, 2w, 3mo.")
@click.option("-n", "--lines", type=click.IntRange(1), default=SHOWN, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, as they are in the file.")
def command(*, lines: int, as_json: bool, since: float | None, **wanted: str | None) -> None:
    """Show the log."""
    path = access_log.place(os.environ) or access_log.place({**os.environ, access_log.SETTING: "on"}) or ""
    not_before = None if since is None else time.time() - since
    found = deque((e for e in access_log.read(path) if _fits(e, not_before, **wanted)), lines)
    if not found and not os.path.exists(path):
        raise Error(
            f"there is no log: {access_log.SETTING} is not set, or nothing was asked for yet",
            hint=f"set {access_log.SETTING}=on in your profile, then run: git-credential-bitbucket daemon stop",
        )
    if as_json:
        for entry in found:
            click.echo(json.dumps(entry))
        return
    output.table((tuple(_cell(entry, name) for name in _COLUMNS) for entry in found), tuple(map(str.upper, _COLUMNS)))


def _fits(
    entry: Entry, not_before: float | None, place: str | None, operation: str | None, credential: str | None
) -> bool:
    if not_before is not None and (_moment(entry) or 0.0) < not_before:
        return False
    if operation is not None and entry.get("operation") != operation:
        return False
    if credential is not None and entry.get("credential") != credential:
        return False
    return place is None or _is_in(str(entry.get("place", "")), place)


def _is_in(place: str, wanted: str) -> bool:
    """Whether `place` is `wanted` or within it, said with its host or without."""
    wanted = wanted.strip("/").lower().removesuffix(".git")
    shown = place.partition("://")[2]
    names = shown.partition("/")[2]
    return any(f"{one}/".startswith(f"{wanted}/") for one in (place, shown, names))


def _moment(entry: Entry) -> float | None:
    try:
        return datetime.fromisoformat(str(entry.get("time"))).timestamp()
    except ValueError:
        return None


def _cell(entry: Entry, name: str) -> str:
    value: Any = entry.get(name)
    if name == "program" and isinstance(value, list):
        return " < ".join(map(str, value[:4]))
    if name == "operation" and "replaces" in entry:
        return f"{value} for {entry['replaces']}"
    if name == "place":
        return str(value or "").partition("://")[2]
    return "" if value is None else str(value)
