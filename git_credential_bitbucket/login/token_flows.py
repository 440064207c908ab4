"""Log-ins with a token that Bitbucket shows once: an API token or an access token, asked for, checked, made a record.

Imports pasted, guidance, times and verification.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.agent.naming import label
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import Error, LoginFailed
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import guidance, paste_validation, verification
from git_credential_bitbucket.login.login_request import path_on
from git_credential_bitbucket.ui import arguments, dates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.login.login_request import Wanted
    from git_credential_bitbucket.ui.prompts import Answers, Terminal

_DATE_PROMPT = "When does it end? (like 2027-01-31 or 90d; empty if you do not know) "
_EMAIL_PROMPT = "Email of your Atlassian account (REST needs it, git does not; empty to leave out) "
_USERNAME_PROMPT = "Bitbucket username, as in the URLs of the Clone button (Enter to skip) "
_ACCOUNT_ID = re.compile(r"[0-9]{6}:[0-9a-f-]{36}|[0-9a-f]{24}")
"""Atlassian's account ids: of new accounts, and of old ones."""
_PLACE_PROMPT = "For which WORKSPACE or WORKSPACE/REPOSITORY is it? (empty for all) "


def record(wanted: Wanted, answers: Answers) -> dict[str, Any]:
    """Ask for a token of the wanted kind and return it as a log-in's record. Raises `Error`.

    Without a terminal, standard input holds the token on its first line; an API token's email may be on the second.
    """
    old = wanted.replaces
    if answers.terminal is not None:
        guidance.tell(answers.terminal, wanted.kind, wanted.provider, wanted.path or "")
        if old is not None and old["scopes"]:
            answers.say(f"The old one has: {printable(', '.join(old['scopes']), 1000)}.")
    what = f"New {label(wanted.kind)}" if old is not None else _WHAT[wanted.kind]
    checked = paste_validation.token(answers.secret(what), wanted.kind)
    for warning in checked.warnings:
        wanted.warn(answers, warning)
    if not checked.is_whole:
        _must_be_meant(wanted, answers)
    account = wanted.account
    if old is None and checked.kind == token_kinds.API_TOKEN:
        account = _asked_names(wanted, answers)
    answers.check_all_read()
    found: dict[str, Any] = {
        "kind": checked.kind,
        "place": wanted.place if old is not None else _place(wanted, answers, checked.kind),
        "secret": checked.secret.reveal(),
        "endpoint": wanted.provider.endpoint.to_record(),
        "account": account,
        "ends_at": wanted.ends_at if wanted.ends_at is not None else _asked_end(answers),
    }
    return found | verification.learnt(wanted, answers, checked, found) if wanted.verify else found


def _must_be_meant(wanted: Wanted, answers: Answers) -> None:
    """Have a person confirm a token whose checksum does not match. Raises `LoginFailed` where nobody does."""
    if wanted.force:
        return
    cause = "checksum mismatch: the token looks incomplete"
    if answers.terminal is None:
        raise LoginFailed(cause, hint="copy all of it; to store it all the same: --force")
    if not answers.terminal.agrees(f"{cause[0].upper()}{cause[1:]}. Store it all the same?"):
        raise LoginFailed(f"{cause}, and was not stored", hint="log in again, and copy all of it")


def _asked_names(wanted: Wanted, answers: Answers) -> str | None:
    """The account of an API token, its email if that is known; further names go to the wanted ones."""
    account = wanted.account
    if account is None or answers.terminal is None:
        typed = paste_validation.account(answers.optional(_EMAIL_PROMPT))
        if typed and account is not None and "@" in typed and "@" in account and typed.lower() != account.lower():
            raise LoginFailed("--account and standard input name two emails", hint="give one of them")
        found = names([name for name in (account, typed) if name])
        account = found.pop("account", None)
        wanted.names.update(found)
    if "bitbucket_username" not in wanted.names and _has_others(wanted, answers):
        typed = paste_validation.account(answers.optional(_USERNAME_PROMPT))
        wanted.names.update({"bitbucket_username": typed} if typed else {})
    if account is not None and "@" not in account:
        wanted.warn(answers, "REST takes an API token with the account's email only; for git this name does no harm")
    return account


def _has_others(wanted: Wanted, answers: Answers) -> bool:
    """Whether the username is worth a question: another account's login is kept for the host."""
    if answers.terminal is None:
        return False
    host = f"{wanted.provider.protocol}://{wanted.provider.host}"
    personal = (one for one in arguments.kept() if one["kind"] in (token_kinds.API_TOKEN, token_kinds.OAUTH))
    return any(one["url"].startswith(host) and one["account"] != wanted.account for one in personal)


def names(given: Sequence[str]) -> dict[str, str]:
    """The names of one account by what each is: `account` (the email, else the first), username, account id."""
    found: dict[str, str] = {}
    for text in given:
        if _ACCOUNT_ID.fullmatch(text):
            found["account_id"] = text
        elif name := paste_validation.account(text):
            found["account" if "@" in name else "bitbucket_username"] = name
    if found and "account" not in found:
        found["account"] = found.get("bitbucket_username") or found["account_id"]
    return found


def _place(wanted: Wanted, answers: Answers, kind: token_kinds.Kind) -> str:
    """An access token belongs to a part of Bitbucket, so it is asked for which; everything else serves the host."""
    path = wanted.path
    if path is None and kind == token_kinds.ACCESS_TOKEN and answers.terminal is not None:
        path = _near(wanted.near, answers.terminal) if wanted.near else _asked_path(wanted, answers)
    return scopes.place_of(wanted.provider.protocol, wanted.provider.host, path)


def _asked_path(wanted: Wanted, answers: Answers) -> str | None:
    while typed := answers.optional(_PLACE_PROMPT):
        try:
            return path_on(wanted.provider, typed)
        except Error as exc:
            answers.say(f"{exc.cause}: {exc.hint}", style="yellow")
    return None


def _near(path: str, terminal: Terminal) -> str | None:
    """The repository at hand, its workspace, or all that the token reaches."""
    workspace, _, repository = path.partition("/")
    choices: list[tuple[str, str | None]] = [
        *([(f"the repository {path}", path)] if repository else []),
        (f"the workspace {workspace}", workspace),
        ("everything on this host", None),
    ]
    lines = [printable(line) for line, _ in choices]
    return choices[terminal.choose("What is the token for", lines, default=0)][1]


def _asked_end(answers: Answers) -> float | None:
    """When a token ends, as the person at the terminal says; None where there is none, or they do not know."""
    if answers.terminal is None:
        return None
    while typed := answers.optional(_DATE_PROMPT):
        try:
            return dates.end(typed, time.time())
        except Error as exc:
            answers.say(f"{exc.cause}: {exc.hint}", style="yellow")
    return None


_WHAT = {token_kinds.API_TOKEN: "API token", token_kinds.ACCESS_TOKEN: "Access token"}
