"""Logins with a token that Bitbucket shows once: an API token or an access token, asked for, checked, made a record.

Imports pasted, guidance, times and verification.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from git_credential_bitbucket.agent.naming import kind_label
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import Error, LoginFailed
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.gitsetup import git_request
from git_credential_bitbucket.login import guidance, paste_validation, verification
from git_credential_bitbucket.login.login_request import path_on, project_key, repository_names
from git_credential_bitbucket.ui import arguments, dates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.ui.prompts import Answers

_T = TypeVar("_T")
_DATE_PROMPT = "Expiry date, such as 2027-01-31 or 90d (Enter if unknown): "
_EMAIL_PROMPT = "Email of your Atlassian account (only for the REST API; Enter to skip): "
_USERNAME_PROMPT = "Bitbucket username, as in the URLs of the Clone button (Enter to skip): "
_ACCOUNT_ID = re.compile(r"[0-9]{6}:[0-9a-f-]{36}|[0-9a-f]{24}")
"""Atlassian's account ids: of new accounts, and of old ones."""
_PLACE_PROMPT = "Workspace or repository of the token (WORKSPACE or WORKSPACE/REPOSITORY): "
_PROJECT_PROMPT = "Project key, if it is a project's token (Enter for the whole workspace): "
_REPOSITORIES_PROMPT = "Repositories in the project (names separated by spaces): "


def record(wanted: LoginRequest, answers: Answers) -> dict[str, Any]:
    """Ask for a token of the wanted kind and return it as a login's record. Raises `Error`.

    Without a terminal, standard input holds the token on its first line; an API token's email may be on the second.
    """
    old = wanted.replaces
    if old is not None and old["source"] is not None:
        hint = "put the new one there, and it is fetched from there by itself"
        raise LoginFailed(f"the secret is not stored here, but fetched from {old['source']}", hint=hint)
    if answers.terminal is not None and wanted.source is None:
        guidance.tell(answers.terminal, wanted.kind, wanted.provider, wanted.path or "")
        if old is not None and old["oauth_scopes"]:
            answers.say(f"The old token has: {printable(', '.join(old['oauth_scopes']), 1000)}.")
    what = f"New {kind_label(wanted.kind)}" if old is not None else _WHAT[wanted.kind]
    value = wanted.fetched()
    if value is not None and value.username is not None and wanted.account is None and "@" in value.username:
        wanted = replace(wanted, account=value.username)
    checked = paste_validation.token(answers.secret(what) if value is None else value.secret.reveal(), wanted.kind)
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
        **_scope(wanted, answers, checked),
        **({"secret": checked.secret.reveal()} if wanted.source is None else {"secret": "", "source": wanted.source}),
        "endpoint": wanted.provider.endpoint.to_record(),
        "account": account,
        "ends_at": wanted.ends_at if wanted.ends_at is not None or wanted.source else _asked_end(answers),
    }
    return found | verification.learnt(wanted, answers, checked, found) if wanted.verify else found


def _must_be_meant(wanted: LoginRequest, answers: Answers) -> None:
    """Have a person confirm a token whose checksum does not match. Raises `LoginFailed` where nobody does."""
    if wanted.force:
        return
    cause = "checksum mismatch: the token looks incomplete"
    if answers.terminal is None:
        raise LoginFailed(cause, hint="copy the whole token; to store it anyway, add --force")
    if not answers.terminal.confirm(f"{cause[0].upper()}{cause[1:]}. Store it anyway?"):
        raise LoginFailed(f"{cause}, and was not stored", hint="log in again, and copy the whole token")


def _asked_names(wanted: LoginRequest, answers: Answers) -> str | None:
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
        wanted.warn(answers, "the REST API needs the account's email for an API token; git does not")
    return account


def _has_others(wanted: LoginRequest, answers: Answers) -> bool:
    """Whether the username is worth a question: another account's login is kept for the host."""
    if answers.terminal is None:
        return False
    host = f"{wanted.provider.protocol}://{wanted.provider.host}"
    personal = (one for one in arguments.stored() if one["kind"] in (token_kinds.API_TOKEN, token_kinds.OAUTH))
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


def _scope(wanted: LoginRequest, answers: Answers, checked: paste_validation.Checked) -> dict[str, Any]:
    """What a token is for, as a record has it; an access token serves a part of Bitbucket. Raises `Error`."""
    if wanted.replaces is not None:
        return {"place": wanted.replaces["url"]}
    if checked.kind != token_kinds.ACCESS_TOKEN:
        if wanted.project is not None:
            raise LoginFailed("only an access token can belong to a project", hint="leave out --project")
        return {"place": wanted.place}
    path, project = wanted.path, wanted.project
    if path is None:
        path, project = _reached(wanted, answers, checked) or _asked_scope(wanted, answers)
    place = scopes.scope_of(wanted.provider.protocol, wanted.provider.host, path)
    if project is None:
        return {"place": place}
    names = wanted.repositories or _repositories(wanted, answers, checked, path, project)
    return {"place": scopes.project_scope(place, project), "project": project, "repositories": list(names)}


def _reached(
    wanted: LoginRequest, answers: Answers, checked: paste_validation.Checked
) -> tuple[str, str | None] | None:
    """The scope that Bitbucket tells, by the repository that is being worked on here; None where it does not."""
    near = wanted.near or _repository_here(wanted)
    if "/" not in near or not wanted.verify:
        return None
    from git_credential_bitbucket.bitbucket import rest  # lazy: requests costs 100 ms

    try:
        found = rest.within_deadline(partial(rest.find_token_scope, wanted.provider.endpoint, checked.secret, near))
    except Error:
        return None
    if found is None:
        return None
    answers.say(f"Bitbucket says that it is for {printable(' project '.join(filter(None, found)))}.")
    return found


def _repository_here(wanted: LoginRequest) -> str:
    """WORKSPACE/REPOSITORY of the remote in this directory, where that is on the wanted host; else empty."""
    remote = git_request.remote(os.environ, git_request.folder_here())
    try:
        return path_on(wanted.provider, remote) if remote is not None else ""
    except Error:
        return ""


def _asked_scope(wanted: LoginRequest, answers: Answers) -> tuple[str, str | None]:
    """The workspace and its project, or the repository, that a person at the terminal names. Raises `LoginFailed`."""
    if answers.terminal is None:
        raise LoginFailed(
            "an access token belongs to a repository, project or workspace, and Bitbucket does not say which",
            hint="name it: --for WORKSPACE/REPOSITORY, --for WORKSPACE, or --for WORKSPACE --project KEY",
        )
    workspace, _, repository = wanted.near.partition("/")
    near, at = (wanted.near, workspace), 2
    if repository:
        lines = [f"the repository {wanted.near}", f"the workspace {workspace}, or a project in it", "another one"]
        at = answers.terminal.choose("What is the token for", [printable(line) for line in lines], default=0)
    path = near[at] if at < len(near) else _insisted(answers, _PLACE_PROMPT, partial(path_on, wanted.provider))
    if "/" in path:
        return path, None
    return path, _insisted(answers, _PROJECT_PROMPT, lambda typed: project_key(typed) if typed else None)


def _repositories(
    wanted: LoginRequest, answers: Answers, checked: paste_validation.Checked, workspace: str, project: str
) -> tuple[str, ...]:
    """The names of a project's repositories: REST tells, else a person. Raises `LoginFailed` where nobody does."""
    from git_credential_bitbucket.bitbucket import rest  # lazy: as above

    endpoint, cause = wanted.provider.endpoint, "Bitbucket was not asked"
    try:
        if wanted.verify:
            return rest.repositories_of(
                endpoint, checked.kind, checked.secret, workspace, project, rest.within_deadline
            )
    except Error as exc:
        cause = exc.cause
    if answers.terminal is None:
        cause = f"the repositories of project {project} are not known: {cause}"
        raise LoginFailed(cause, hint="name them: --repositories NAME,NAME")
    answers.say(f"A URL does not show which project a repository is in, and {cause}.")
    return _insisted(answers, _REPOSITORIES_PROMPT, partial(repository_names, wanted.provider, workspace))


def _insisted(answers: Answers, prompt: str, read: Callable[[str], _T]) -> _T:
    """What `read` makes of an answer, asked for until it is none that cannot be."""
    while True:
        try:
            return read(answers.optional(prompt))
        except Error as exc:
            answers.say(f"{exc.cause}: {exc.hint}", style="yellow")


def _asked_end(answers: Answers) -> float | None:
    """When a token ends, as the person at the terminal says; None where there is none, or they do not know."""
    if answers.terminal is None:
        return None
    while typed := answers.optional(_DATE_PROMPT):
        try:
            return dates.expiry(typed, time.time())
        except Error as exc:
            answers.say(f"{exc.cause}: {exc.hint}", style="yellow")
    return None


_WHAT = {token_kinds.API_TOKEN: "API token", token_kinds.ACCESS_TOKEN: "Access token"}
