"""`doctor`: checks everything between git and Bitbucket, and fixes what is safe to fix.

Its output can be pasted into a bug report: no secret, and the home directory as ~.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import __version__, text_wrapping
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.diagnostics import (
    addresses,
    configuration,
    credentials,
    daemon,
    finding,
    network,
    privacy,
    programs,
    round_trip,
    shared_vault,
)
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding
from git_credential_bitbucket.errors import Error, SettingsError, system_reason
from git_credential_bitbucket.ui import prompts
from git_credential_bitbucket.ui.output import MAX_COLUMNS, console, line, say, shown, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

_LEVEL_WIDTH, _CHECK_WIDTH, _ROOMY = 5, 24, 80
"""Widths in columns: of the level, of the check, and of a terminal with room for the text beside them."""
_STYLES = {OK: "green", NOTE: "yellow", WRONG: "bold red"}


@options.verb(
    "doctor",
    """
    URL is an address on the Bitbucket host to check; by default this repository's remote if it is on one, else
    https://bitbucket.org. Bitbucket is asked whether each credential is valid, if it can be reached. The output holds
    no secret and can be pasted into a bug report.

    With --live, URL is a repository (or WORKSPACE/REPOSITORY), and what this program assumes of Bitbucket is tested.
    The transcript, for a bug report, names no account and no repository. You are asked before a login is renewed, or a
    token created and revoked; without a terminal, that needs --yes.

    Exit code 1 if there is a problem, or with --live a difference; with --fix, if a problem remains.
    """,
)
@click.argument("url", metavar="[URL]", required=False)
@click.option("--fix", is_flag=True, help="Fix what can be fixed without losing anything, and check again.")
@click.option("--live", "is_live", is_flag=True, help="Test how Bitbucket behaves, for a bug report.")
@click.option("-y", "--yes", is_flag=True, help="With --live: do not ask before changing anything.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, url: str | None, fix: bool, is_live: bool, yes: bool, as_json: bool) -> int:
    """Check, fix, check again."""
    if is_live:
        if fix:
            raise click.UsageError("--live and --fix cannot be combined")
        return _live(url, yes=yes, as_json=as_json)
    if yes:
        raise click.UsageError("--yes needs --live")
    found = list(look(url))
    fixed = _fix(found) if fix else []
    if fixed:
        found = list(look(url))
    if as_json:
        click.echo(json.dumps(document(found, fixed), indent=2))
    else:
        _print(found, fixed)
    return 1 if any(one.level == WRONG for one in found) else 0


def look(text: str | None) -> Iterator[Finding]:
    """All checks, in the order in which a request of git's passes them; what is wrong is told once."""
    told = set()
    for one in _look(text):
        if one.level != WRONG or one.text not in told:
            yield one
        told.add(one.text)


def _look(text: str | None) -> Iterator[Finding]:
    env = os.environ
    yield from programs.look(env)
    try:
        context = finding.context_for(env, text)
    except SettingsError as exc:
        yield Finding(configuration.CHECK, WRONG, exc.cause, exc.hint)
        return
    yield from _with_errors("configuration", configuration.look(context))
    yield from _with_errors("addresses", addresses.look(context))
    unsafe = list(_with_errors("socket", privacy.look(env)))
    yield from unsafe
    yield from _with_errors("shared vault", shared_vault.look(env))
    at_work = list(_with_errors("daemon", daemon.look(env)))
    yield from at_work
    # A daemon that does not answer is not asked again: each request would wait for its time limit.
    is_asked = not any(one.level == WRONG for one in (*unsafe, *at_work) if one.check in ("socket", daemon.CHECK))
    if is_asked:
        yield from _with_errors("vault", credentials.look(context, time.time()))
    way = list(_with_errors("network", network.look(context)))
    yield from way
    if is_asked:
        if not any(one.level == WRONG for one in way):
            yield from _with_errors("credentials", credentials.check(context))
        yield round_trip.look(context)


def _with_errors(check: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of one check; an error that ends it becomes a finding too."""
    try:
        yield from found
    except Error as exc:
        yield Finding(check, WRONG, exc.cause, exc.hint)
    except OSError as exc:
        yield Finding(check, WRONG, f"{exc.filename or 'something'} cannot be used: {system_reason(exc)}")


def _live(text: str | None, *, yes: bool, as_json: bool) -> int:
    from git_credential_bitbucket.diagnostics import live_report  # lazy: rarely used

    context = finding.context_for(os.environ, text)
    terminal = None if yes else prompts.interactive_terminal()
    agrees = (lambda _: yes) if terminal is None else terminal.confirm
    observed = []
    if not as_json:
        where = "bitbucket.org" if hosts.is_cloud(context.url.protocol, context.url.host) else "another host"
        say(f"git-credential-bitbucket {__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}, {where}")
    for one in live_report.look(context, agrees):
        observation = {name: None if value is None else _safe(value) for name, value in asdict(one).items()}
        observed.append(observation)
        if not as_json:
            say()
            why = "" if observation["why"] is None else f": {observation['why']}"
            for name in ("assumption", "request", "answer", "verdict"):
                say(f"{name:<12}{observation[name]}{why if name == 'verdict' else ''}")
    if as_json:
        click.echo(json.dumps({"version": __version__, "observations": observed}, indent=2))
    return 1 if any(observation["verdict"] == live_report.DIFFERS for observation in observed) else 0


def document(found: list[Finding], fixed: list[str]) -> dict[str, object]:
    """The JSON document."""
    return {
        "version": __version__,
        "well": not any(one.level == WRONG for one in found),
        "fixed": [_safe(text) for text in fixed],
        "findings": [
            {
                "check": one.check,
                "level": one.level,
                "finding": _safe(one.text),
                "hint": _safe(one.hint) if one.hint else None,
                "fixable": one.fix is not None,
            }
            for one in found
        ],
    }


def _fix(found: list[Finding]) -> list[str]:
    """Run the fixes; returns those that worked, in words. Others are reported as warnings."""
    fixes = {one.fix.summary: one.fix for one in found if one.fix is not None}
    done = []
    for fix in fixes.values():
        try:
            fix.run()
        except Error as exc:
            warn(_safe(exc.cause), _safe(exc.hint) if exc.hint else None)
        except OSError as exc:
            warn(_safe(f"{exc.filename or 'it'} could not be fixed: {system_reason(exc)}"))
        else:
            done.append(fix.summary)
    return done


def _print(found: list[Finding], fixed: list[str]) -> None:
    out = console()
    for text in fixed:
        _row(out, ("fixed", "bold green"), "", text)
    for one in found:
        _row(out, (one.level, _STYLES[one.level]), one.check, one.text)
        if one.hint and one.level != OK:
            _row(out, ("", ""), "", f"hint: {one.hint}")
    wrong = sum(one.level == WRONG for one in found)
    conclusion = "no problems found"
    if wrong:
        fixable = any(one.fix is not None for one in found if one.level == WRONG)
        conclusion = f"{wrong} {'problem' if wrong == 1 else 'problems'} found"
        conclusion += "; to fix what can be fixed safely, run: git-credential-bitbucket doctor --fix" if fixable else ""
    out.print()
    line(out, conclusion)


def _row(out: Console, level: tuple[str, str], check: str, text: str) -> None:
    """Print a finding in three columns, the last one wrapped except on a narrow terminal."""
    from rich.text import Text  # lazy: rich costs 40 ms

    is_roomy = out.width >= _ROOMY
    head = f"{level[0]:<{_LEVEL_WIDTH}}  {check:<{_CHECK_WIDTH if is_roomy else len(check)}}  "
    indent = len(head) if is_roomy else _LEVEL_WIDTH + 2
    row = Text(text_wrapping.wrapped(head + shown(_safe(text)), out.width if out.width < MAX_COLUMNS else 0, indent))
    row.stylize(level[1], 0, len(level[0]))
    out.print(row, soft_wrap=True)


def _safe(text: str) -> str:
    return finding.safe(text, os.environ)
