"""Logins with an API token or access token: asked for, checked, and returned as a record."""

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
from git_credential_bitbucket.login import guidance, paste_validation, token_verification
from git_credential_bitbucket.login.login_request import LoginRequest, path_on_host, project_key, repository_names
from git_credential_bitbucket.ui import arguments, dates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from git_credential_bitbucket.ui.prompts import Prompter

_T = TypeVar("_T")
_DATE_PROMPT = "Expiry date, such as 2027-01-31 or 90d (Enter if unknown): "
_EMAIL_PROMPT = "Email of your Atlassian account (only for the REST API; Enter to skip): "
_USERNAME_PROMPT = "Bitbucket username, as in the URLs of the Clone button (Enter to skip): "
_OWNER_PROMPT = "Username of the token's owner (Enter for a project's or repository's token): "
_ACCOUNT_ID = re.compile(r"[0-9]{6}:[0-9a-f-]{36}|[0-9a-f]{24}")
"""Atlassian's account ids: of new accounts, and of old ones."""
_PLACE_PROMPT = "Workspace or repository of the token (WORKSPACE or WORKSPACE/REPOSITORY): "
_PROJECT_PROMPT = "Project key, if it is a project's token (Enter for the whole workspace): "
_REPOSITORIES_PROMPT = "Repositories in the project (names separated by spaces): "


def obtain_record(wanted: LoginRequest, prompter: Prompter) -> dict[str, Any]:
    """Ask for a token of the wanted kind and return it as a login's record. Raises `Error`.

    Without a terminal, standard input holds the token on its first line; an API token's email may be on the second.
    """
    old = wanted.replaces
    if wanted.source is None:
        guidance.show_instructions(prompter.terminal, wanted)
        if old is not None and old["oauth_scopes"]:
            prompter.say(f"The old token has: {printable(', '.join(old['oauth_scopes']), 1000)}.")
    what = f"New {kind_label(wanted.kind)}" if old is not None else _SECRET_PROMPTS[wanted.kind]
    value = wanted.fetched()
    if value is not None and value.username is not None and wanted.account is None and "@" in value.username:
        wanted = replace(wanted, account=value.username)
    product = wanted.provider.endpoint.product
    checked = paste_validation.check_token(
        prompter.secret(what) if value is None else value.secret.reveal(), wanted.kind, product
    )
    for warning in checked.warnings:
        wanted.warn(prompter, warning)
    if not checked.is_whole:
        _confirm_incomplete(wanted, prompter)
    account = wanted.account
    if old is None and checked.kind == token_kinds.API_TOKEN:
        account = _ask_names(wanted, prompter)
    if checked.kind == token_kinds.PERSONAL_TOKEN:
        checked, account = _owner(wanted, prompter, checked)
    prompter.check_all_read()
    found: dict[str, Any] = {
        "kind": checked.kind,
        **_scope(wanted, prompter, checked),
        **({"secret": checked.secret.reveal()} if wanted.source is None else {"secret": "", "source": wanted.source}),
        "endpoint": wanted.provider.endpoint.to_record(),
        "account": account,
        **({"bitbucket_username": account} if checked.kind == token_kinds.PERSONAL_TOKEN else {}),
        "ends_at": wanted.ends_at if wanted.ends_at is not None or wanted.source else _ask_expiry(prompter),
    }
    return found | token_verification.verify(wanted, prompter, checked, found) if wanted.verify else found


def _owner(
    wanted: LoginRequest, prompter: Prompter, checked: paste_validation.CheckedToken
) -> tuple[paste_validation.CheckedToken, str | None]:
    """A Data Center's token with its kind, and the username of the person whose it is, which git must send.

    The server says whose it is; without it, `--account` or the user does. Raises `Error`.
    """
    from git_credential_bitbucket.bitbucket import rest  # lazy: requests costs 100 ms
    from git_credential_bitbucket.bitbucket.verification_request import prepare_verification  # lazy: as above

    username, is_known = wanted.account, wanted.account is not None
    if wanted.verify and wanted.provider.protocol == "https":
        question = prepare_verification(wanted.provider.endpoint, checked.kind, None, checked.secret)
        verdict = rest.find_verdict(question)
        if verdict.valid is False:
            raise LoginFailed(f"Bitbucket rejected the token: {verdict.reason}", hint=token_verification.REJECTED_HINT)
        username, is_known = (verdict.username, True) if verdict.valid else (username, is_known)
    if not is_known and wanted.kind == token_kinds.ACCESS_TOKEN and wanted.path is not None:
        is_known = True  # a project's or repository's
    if not is_known:
        if prompter.terminal is None:
            cause = "the server did not say whose the token is, and git must send its owner's username"
            hint = "name the owner: --account USERNAME; or what the token belongs to: --for KEY or KEY/REPOSITORY"
            raise LoginFailed(cause, hint=hint)
        username = paste_validation.check_account(prompter.optional(_OWNER_PROMPT))
    if username is None:
        return replace(checked, kind=token_kinds.ACCESS_TOKEN), None
    return checked, username


def _confirm_incomplete(wanted: LoginRequest, prompter: Prompter) -> None:
    """Ask to confirm a token whose checksum does not match. Raises `LoginFailed` if it is not confirmed."""
    if wanted.force:
        return
    cause = "checksum mismatch: the token looks incomplete"
    if prompter.terminal is None:
        raise LoginFailed(cause, hint="copy the whole token; to store it anyway, add --force")
    if not prompter.terminal.confirm(f"{cause[0].upper()}{cause[1:]}. Store it anyway?"):
        raise LoginFailed(f"{cause}, and was not stored", hint="log in again, and copy the whole token")


def _ask_names(wanted: LoginRequest, prompter: Prompter) -> str | None:
    """The account of an API token, its email if known; further names are added to `wanted.names`."""
    account = wanted.account
    if account is None or prompter.terminal is None:
        typed = paste_validation.check_account(prompter.optional(_EMAIL_PROMPT))
        if typed and account is not None and "@" in typed and "@" in account and typed.lower() != account.lower():
            raise LoginFailed("--account and standard input give two emails", hint="give one of them")
        found = sort_names([name for name in (account, typed) if name])
        account = found.pop("account", None)
        wanted.names.update(found)
    if "bitbucket_username" not in wanted.names and _has_other_accounts(wanted, prompter):
        typed = paste_validation.check_account(prompter.optional(_USERNAME_PROMPT))
        wanted.names.update({"bitbucket_username": typed} if typed else {})
    if account is not None and "@" not in account:
        wanted.warn(prompter, "the REST API needs the account's email for an API token; git does not")
    return account


def _has_other_accounts(wanted: LoginRequest, prompter: Prompter) -> bool:
    """Whether the username is needed, because another account's credential is stored for the host."""
    if prompter.terminal is None:
        return False
    host, kinds = f"{wanted.provider.protocol}://{wanted.provider.host}", (token_kinds.API_TOKEN, token_kinds.OAUTH)
    here = [one for one in arguments.stored_credentials() if scopes.is_within(one["url"], host)]
    return any(one["kind"] in kinds and one["account"] != wanted.account for one in here)


def sort_names(given: Sequence[str]) -> dict[str, str]:
    """The names of one account by field: `account` (the email, else the first), username, account id."""
    found: dict[str, str] = {}
    for text in given:
        if _ACCOUNT_ID.fullmatch(text):
            found["account_id"] = text
        elif name := paste_validation.check_account(text):
            found["account" if "@" in name else "bitbucket_username"] = name
    if found and "account" not in found:
        found["account"] = found.get("bitbucket_username") or found["account_id"]
    return found


def _scope(wanted: LoginRequest, prompter: Prompter, checked: paste_validation.CheckedToken) -> dict[str, Any]:
    """The scope fields of a token's record; an access token is never for the whole host. Raises `Error`."""
    if wanted.replaces is not None:
        return {"place": wanted.replaces["url"]}
    if checked.kind != token_kinds.ACCESS_TOKEN:
        if wanted.project is not None:
            raise LoginFailed("only an access token can belong to a project", hint="leave out --project")
        return {"place": wanted.scope}
    path, project = wanted.path, wanted.project
    if path is None:
        path, project = _scope_from_bitbucket(wanted, prompter, checked) or _ask_scope(wanted, prompter)
    scope = scopes.scope_of(wanted.provider.protocol, wanted.provider.host, path)
    if project is None:
        return {"place": scope}
    found = wanted.repositories or _repositories(wanted, prompter, checked, path, project)
    return {"place": scopes.project_scope(scope, project), "project": project, "repositories": list(found)}


def _scope_from_bitbucket(
    wanted: LoginRequest, prompter: Prompter, checked: paste_validation.CheckedToken
) -> tuple[str, str | None] | None:
    """The token's scope as Bitbucket reports it for the repository here; None if it does not."""
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
    prompter.say(f"Bitbucket says that it is for {printable(' project '.join(filter(None, found)))}.")
    return found


def _repository_here(wanted: LoginRequest) -> str:
    """WORKSPACE/REPOSITORY of the remote here, if it is on the wanted host; else empty."""
    remote = git_request.remote(os.environ, git_request.folder_here())
    try:
        return path_on_host(wanted.provider, remote) if remote is not None else ""
    except Error:
        return ""


def _ask_scope(wanted: LoginRequest, prompter: Prompter) -> tuple[str, str | None]:
    """The workspace and project, or the repository, that the user names. Raises `LoginFailed`."""
    if prompter.terminal is None:
        cause = "an access token belongs to a repository, project or workspace, and Bitbucket does not say which"
        hint = "name it: --for WORKSPACE/REPOSITORY, --for WORKSPACE, or --for WORKSPACE --project KEY"
        raise LoginFailed(cause, hint=hint)
    workspace, _, repository = wanted.near.partition("/")
    near, at = (wanted.near, workspace), 2
    if repository:
        lines = [f"the repository {wanted.near}", f"the workspace {workspace}, or a project in it", "another one"]
        at = prompter.terminal.choose("What is the token for", [printable(line) for line in lines], default=0)
    path = near[at] if at < len(near) else ""
    path = path or _ask_until_valid(prompter, _PLACE_PROMPT, partial(path_on_host, wanted.provider))
    if "/" in path:
        return path, None
    return path, _ask_until_valid(prompter, _PROJECT_PROMPT, lambda typed: project_key(typed) if typed else None)


def _repositories(
    wanted: LoginRequest, prompter: Prompter, checked: paste_validation.CheckedToken, workspace: str, project: str
) -> tuple[str, ...]:
    """The names of a project's repositories, by REST, else by the user. Raises `LoginFailed` if neither."""
    from git_credential_bitbucket.bitbucket import rest  # lazy: as above

    endpoint, cause = wanted.provider.endpoint, "Bitbucket was not asked"
    try:
        if wanted.verify:
            return rest.repositories_of(
                endpoint, checked.kind, checked.secret, workspace, project, rest.within_deadline
            )
    except Error as exc:
        cause = exc.cause
    if prompter.terminal is None:
        cause = f"the repositories of project {project} are unknown: {cause}"
        raise LoginFailed(cause, hint="name them: --repositories NAME,NAME")
    prompter.say(f"A URL does not show which project a repository is in, and {cause}.")
    return _ask_until_valid(prompter, _REPOSITORIES_PROMPT, partial(repository_names, wanted.provider, workspace))


def _ask_until_valid(prompter: Prompter, prompt: str, read: Callable[[str], _T]) -> _T:
    """The result of `read` for an answer, asked for until it is valid."""
    while True:
        try:
            return read(prompter.optional(prompt))
        except Error as exc:
            prompter.say(f"{exc.cause}: {exc.hint}", style="yellow")


def _ask_expiry(prompter: Prompter) -> float | None:
    """The expiry that the user enters at the terminal; None if there is none or it is unknown."""
    if prompter.terminal is None:
        return None
    return _ask_until_valid(
        prompter, _DATE_PROMPT, lambda typed: dates.parse_expiry(typed, time.time()) if typed else None
    )


_SECRET_PROMPTS = {
    token_kinds.API_TOKEN: "API token",
    token_kinds.ACCESS_TOKEN: "Access token",
    token_kinds.PERSONAL_TOKEN: "HTTP access token",
}
