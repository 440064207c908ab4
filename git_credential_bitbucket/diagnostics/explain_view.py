"""`explain` for people: git's request, the helpers, the candidates, and the answer."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING, Literal, TypedDict

from git_credential_bitbucket.agent.naming import kind_label, login_command
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.diagnostics import status_report, status_table
from git_credential_bitbucket.login import guidance
from git_credential_bitbucket.ui import arguments, output

if TYPE_CHECKING:
    from rich.console import Console

    from git_credential_bitbucket.agent.diagnosis import Outcome
    from git_credential_bitbucket.agent.status_views import Candidate, Dropped, Winner
    from git_credential_bitbucket.bitbucket import token_kinds
    from git_credential_bitbucket.bitbucket.rest import VerdictView
    from git_credential_bitbucket.diagnostics.status_report import VaultView


class Helper(TypedDict):
    """A helper that git asks, and where that is configured."""

    helper: str
    file: str
    scope: str
    ours: bool


class DaemonView(TypedDict):
    """Whether a daemon answers."""

    state: Literal["off", "trouble", "not running", "running"]
    detail: str


class EnvironmentView(TypedDict, total=False):
    """What the environment holds; only `trouble` where that cannot be used."""

    variable: str
    kind: token_kinds.Kind
    username: str
    secret: str | None
    trouble: str


Answer = TypedDict(
    "Answer",
    {
        "from": str,
        "what": str,
        "username": str,
        "secret": str | None,
        "outcome": "Outcome | Literal['minted']",
        "because": str,
        "expires_at": float | None,
    },
)
"""What git gets: `from` is a credential's id, or `environment`."""


class NoAnswer(TypedDict, total=False):
    """Why git gets nothing, what helps, and what happens then."""

    cause: str
    hint: str
    then: str


class NotAsked(TypedDict):
    """The document for a URL that git asks no helper about."""

    url: str | None
    source: str
    asked: dict[str, str] | None
    answer: Answer | None
    none: NoAnswer | None


class Document(NotAsked, total=False):
    """All that `explain` says; the rest is there where git asks."""

    path_withheld: bool
    beforehand: list[str]
    helpers: list[Helper]
    daemon: DaemonView
    environment: EnvironmentView | None
    vault: VaultView | None
    candidates: list[Candidate | Winner]
    dropped: list[Dropped]
    elsewhere: list[str]
    verdict: VerdictView | None


_ORIGINS = {"local": "this repository's own", "worktree": "this work tree's own", "command": "for one command"}
_OUTCOMES = {"answers": "", "renewed": "renewed first", "minted": "minted when git asks"}


def print_document(document: Document) -> None:
    """All of it, on standard output."""
    console = output.console()
    _line(console, f"{document['url'] or 'not an http or https URL'} ({document['source']})", "bold")
    if document["asked"] is not None:
        _question(console, document)
        _helpers(console, document)
        _fill_in(console, document)
    _answer(console, document)


def _question(console: Console, document: Document) -> None:
    _title(console, "git asks for")
    _line(console, "  " + " ".join(f"{key}={value}" for key, value in (document["asked"] or {}).items()))
    if document["path_withheld"]:
        _line(console, "  without the repository: credential.useHttpPath is not set")
    for what in document["beforehand"]:
        _line(console, f"  but before it asks a helper, git sends {what}", "yellow")


def _helpers(console: Console, document: Document) -> None:
    _title(console, "helpers that git asks, in order, until one answers")
    for at, helper in enumerate(document["helpers"], 1):
        who = "this program; " if helper["ours"] else ""
        scope = _ORIGINS.get(helper["scope"], helper["scope"])
        where = f"{helper['file']}, {scope}" if helper["scope"] != "command" else scope
        _line(console, f"  {at}. {helper['helper']} ({who}{where})", "" if helper["ours"] else "yellow")
    if not document["helpers"]:
        _line(console, "  none", "yellow")


def _fill_in(console: Console, document: Document) -> None:
    if document["vault"] is None and document["environment"] is None:
        return
    _title(console, "where this program looks, in order")
    _line(console, f"  environment: {_environment(document['environment'])}")
    _line(console, f"  daemon: {document['daemon']['state']}, {document['daemon']['detail']}")
    vault = document["vault"]
    if vault is None:
        return
    trouble = f": {vault['trouble']}" if vault["trouble"] else ""
    _line(console, f"  vault: {vault['state']}{trouble}", "red" if trouble else "")
    if vault["damage"]:
        _line(console, f"     {vault['damage']}", "yellow")
        _line(console, f"     hint: {vault['damage_hint']}")
    for at, one in enumerate(document["candidates"], 1):
        _candidate(console, at, one)
    for other in document["dropped"]:
        whose = f"{kind_label(other['kind'])} for {other['scope']}, {other['id']}"
        _line(console, f"  not offered: {whose}: {other['because']}", "yellow")
    if not document["candidates"] and not trouble:
        _line(console, "  no credential covers this")
    if document["elsewhere"]:
        _line(console, f"  other scopes on this host: {', '.join(document['elsewhere'])}", "dim")


def _environment(told: EnvironmentView | None) -> str:
    if told is None:
        return "no token"
    if "trouble" in told:
        return str(told["trouble"])
    token = f"{kind_label(told['kind'])} {told['secret'] or ''}".rstrip()
    return f"{told['variable']} ({token}), used before any stored credential"


def _candidate(console: Console, at: int, one: Candidate) -> None:
    name = arguments.title(one)
    words = [f"  {at}. {name}", one["secret"] or "no token now"]
    words.append(f"expires: {status_table.expires_in(one, time.time())}")
    outcome = "passed over" if one["outcome"] == "passed over" else _OUTCOMES[one["outcome"]]
    words += [word for word in (outcome, one["id"]) if word]
    _line(console, ", ".join(words), "green" if one["wins"] else "dim")
    if one["source"]:
        _line(console, f"     source: {one['source']}")
    if one["outcome"] == "passed over" and one["why"]:
        _line(console, f"     {one['why']}")
        _line(console, f"     hint: {one['hint']}")


def _answer(console: Console, document: Document) -> None:
    answer = document["answer"]
    none: NoAnswer = document["none"] or {}
    _title(console, "so git gets")
    if answer is None:
        _line(console, f"  nothing from this program: {none['cause']}", "red")
        _line(console, f"  hint: {none['hint']}")
        if none.get("then"):
            _line(console, f"  {none['then']}")
        return
    secret = answer["secret"] or "a new token"
    _line(console, f"  username {answer['username']}, password {secret}: {answer['what']}", "green")
    _line(console, f"  because {answer['because']}")
    if _OUTCOMES[answer["outcome"]]:
        _line(console, f"  {_OUTCOMES[answer['outcome']]}")
    winner = next((one for one in document["candidates"] if one["id"] == answer["from"]), None)
    if winner is not None and (missing := guidance.missing_scope(winner["kind"], winner["oauth_scopes"])):
        _line(console, f"  {missing}", "yellow")
    if (told := document.get("verdict")) is not None:
        style = status_table.VERDICT_STYLES.get(told["verdict"], "")
        _line(console, f"  {status_table.verdict_text(told)}", style)
        if hint := _way_out(document, told, winner):
            _line(console, f"  hint: {hint}")
    elif "verdict" not in document:
        _line(console, "  if git fails with 401, 403 or 404 all the same, add --check: Bitbucket is asked why", "dim")
    first = [one["helper"] for one in document["helpers"]]
    before = first[: next(at for at, one in enumerate(document["helpers"]) if one["ours"])]
    if before:
        _line(console, f"  unless a helper that git asks first answers: {', '.join(before)}", "yellow")


def _way_out(document: Document, told: VerdictView, winner: Candidate | None) -> str:
    """What to do about what Bitbucket says of the answer; empty where nothing is wrong, or it did not say."""
    asked = document["asked"] or {}
    names = scopes.names_of(asked.get("path") or "", asked["host"])
    if told["verdict"] == "denied" and names:
        login = login_command(f"{asked['protocol']}://{asked['host']}")
        return f"log in with an account or a token that has access: {login} --for {shlex.quote(names[0])}"
    if told["verdict"] != "rejected":
        return ""
    if winner is None:
        return status_report.ENVIRONMENT_HINT
    return status_report.replacement_hint(winner, is_rejected=True)


def _title(console: Console, text: str) -> None:
    _line(console, "")
    _line(console, text, "bold")


def _line(console: Console, text: str, style: str = "") -> None:
    output.line(console, output.abbreviate_home(text, os.environ), style)
