"""`status` for people: a table where it fits, else a block for each credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.diagnostics import status_report
from git_credential_bitbucket.ui import arguments, dates, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.bitbucket.rest import VerdictView

    _Row = tuple[str, str]
    """A line, and its style."""

SOON_S, VERY_SOON_S = 30 * dates.DAY_S, 7 * dates.DAY_S
_COLUMNS = ("scope", "kind", "account", "expires in", "last used", "state", "id")
_STYLES = {"ready": "green", "disabled": "dim", "suspended": "yellow", "unreachable": "yellow"}
VERDICT_STYLES = {"rejected": "red", "denied": "yellow"}
_VERDICTS = {
    "valid": "Bitbucket says that it is valid",
    "rejected": "Bitbucket rejects it",
    "denied": "Bitbucket gives it no access there",
    "": "Bitbucket did not say whether it is valid",
}
_INDENT = "  "
_BEFORE = "is used before any stored credential"


def print_report(report: status_report.Report, *, long: bool, console: Console | None = None) -> None:
    """The credentials, then what is wrong with them, then where they are stored; on standard output."""
    console = console or output.console()
    if report.vault["trouble"] and not report.credentials:
        output.lines(console, [("The stored credentials cannot be listed.", ""), ("", "")])
    elif not report.credentials:
        output.lines(console, [("No credential is stored. Log in: git-credential-bitbucket login", ""), ("", "")])
    else:
        header = [(name.upper(), "bold") for name in _COLUMNS]
        table, width = output.align([header, *(_cells(one, report.now) for one in report.credentials)])
        if long or width > console.width:  # a name that is broken in its middle cannot be read or copied
            output.lines(console, (row for one in report.credentials for row in _block(one, report)))
        else:
            console.print(table, end="", crop=False)
            output.lines(console, [*_problems(report), ("", "")])
    output.lines(console, _vault_and_daemon(report))


def expires_in(one: CredentialView, now: float) -> str:
    """The words of that column."""
    at = status_report.expiry_of(one)
    if at is not None:
        return dates.time_left(at - now)
    if one["renewed_at"] is not None:
        left = one["expires_at"] - now if one["expires_at"] is not None else 0
        return f"renews itself ({dates.time_left(left)} left)" if left > 0 else "renews itself"
    return status_report.fetched(one, now) or "unknown"


def _cells(one: CredentialView, now: float) -> list[tuple[str, str]]:
    at = status_report.expiry_of(one)
    # A disabled credential has the mark for a restore, and answers nothing until then.
    is_default = one["default"] and one["state"] != "disabled"
    used = dates.time_ago(now - one["last_used_at"]) if one["last_used_at"] else "never"
    return [
        (output.shown(one["scope"]), ""),
        (one["kind"], ""),
        (output.shown(one["account"] or ""), ""),
        (expires_in(one, now), _expiry_style(None if at is None else at - now)),
        (used, ""),
        (one["state"] + (", default" if is_default else ""), _STYLES.get(one["state"], "red")),
        (one["id"], "dim"),
    ]


def _block(one: CredentialView, report: status_report.Report) -> Iterator[_Row]:
    now = report.now
    names = dict(zip(_COLUMNS, _cells(one, now), strict=True))
    yield names.pop("scope")[0], "bold"
    for name, (text, style) in names.items():
        if text:
            yield f"{_INDENT}{name}: {text}", style
    at = status_report.expiry_of(one)
    details = {
        "also known as": ", ".join(sorted(arguments.account_names(one) - {(one["account"] or "").lower()})),
        "stored": "in memory only, until the daemon stops" if one.get("memory") else "",
        "expires on": dates.day(at) if at is not None else "",
        "source": " ".join(filter(None, (one["source"], status_report.fetched(one, now)))),
        "repositories": ", ".join(one["repositories"]),
        "OAuth scopes": " ".join(one["oauth_scopes"]),
        "stored since": dates.day(one["created_at"]) if one["created_at"] else "",
        "last renewal": dates.time_ago(now - one["renewed_at"]) if one["renewed_at"] else "",
        "next renewal": _next_renewal(one, now),
        "trouble": "; ".join(filter(None, (one["trouble"], one.get("trouble_hint")))),
        "why": one["why"] or "",
        "hint": one["hint"] or "",
    }
    for name, text in details.items():
        if text:
            yield f"{_INDENT}{name}: {output.shown(text)}", ""
    yield from _verdict(one["id"], report, _INDENT)
    yield "", ""


def _next_renewal(one: CredentialView, now: float) -> str:
    due = one["renewal_due_at"]
    if due is None:
        return ""
    return f"in {dates.time_left(due - now)}, if it is used" if due > now else "with its next use"


def _problems(report: status_report.Report) -> Iterator[_Row]:
    """Under the table: why each that is not ready is not, and what to do."""
    for one in report.offered:
        yield from _verdict(one["id"], report, f"{one['id']}: ")
    for one in (*report.offered, *report.disabled):
        if one["why"]:
            yield "", ""
            yield f"{one['id']}: {output.shown(one['why'])}", _STYLES.get(one["state"], "red")
            if one["hint"]:
                yield f"{_INDENT}{output.shown(one['hint'])}", ""


def _verdict(name: str, report: status_report.Report, before: str) -> Iterator[_Row]:
    """What Bitbucket says of a credential, by its id or variable, if it was asked."""
    if (told := report.verdicts.get(name)) is not None:
        yield f"{before}{output.shown(verdict_text(told))}", VERDICT_STYLES.get(told["verdict"], "")
        if told["reason"] == token_kinds.NEEDS_EMAIL:
            yield f"{_INDENT}{token_kinds.LOGIN_WITH_EMAIL}", ""


def verdict_text(told: VerdictView) -> str:
    """What Bitbucket says, in words."""
    reason = f": {told['reason']}" if told["reason"] else ""
    return _VERDICTS[told["verdict"]] + reason


def _vault_and_daemon(report: status_report.Report) -> Iterator[_Row]:
    """The vault, the daemon, and what is used before any stored credential."""
    vault = report.vault
    remembered = [one["id"] for one in report.credentials if one.get("memory")]
    if remembered and vault["state"] != "memory":
        yield f"in memory only, until the daemon stops: {', '.join(remembered)}", "yellow"
    key = f", its key from {vault['key']}" if vault["key"] else ""
    where = "in memory only" if vault["state"] == "memory" else f"{vault['path']} ({vault['state']}{key})"
    yield f"vault: {where}", ""
    for cause, hint, style in (("trouble", "hint", "red"), ("damage", "damage_hint", "yellow")):
        if vault.get(cause):
            yield f"{_INDENT}{output.shown(vault[cause] or '')}", style
            if vault.get(hint):
                yield f"{_INDENT}{output.shown(vault[hint] or '')}", ""
    if report.daemon is not None:
        yield f"daemon: {report.daemon['version']}, process {report.daemon['pid']}", ""
    before = report.environment_trouble or (report.environment and f"the credential in {report.environment} {_BEFORE}")
    if before:
        yield f"environment: {output.shown(before)}", "yellow"
    for one in report.tokens:
        yield from _verdict(one.variable, report, f"{_INDENT}{one.variable}: ")


def _expiry_style(left: float | None) -> str:
    if left is None or left > SOON_S:
        return ""
    return "red" if left <= VERY_SOON_S else "yellow"
