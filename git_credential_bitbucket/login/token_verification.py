"""Verification of a token before it is stored: with git's own request, and by the REST API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.client import messages
from git_credential_bitbucket.errors import LoginFailed
from git_credential_bitbucket.login import guidance
from git_credential_bitbucket.ui import output

if TYPE_CHECKING:
    from git_credential_bitbucket.bitbucket.rest import Verdict
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.login.paste_validation import CheckedToken
    from git_credential_bitbucket.ui.prompts import Prompter

REJECTED_HINT = "nothing was stored; copy it again, or create another; to store it anyway, add --no-verify"

option = click.option(
    "--verify/--no-verify",
    default=None,
    help="Ask Bitbucket whether a token is valid before it is stored (the default); with --verify, fail if it does not"
    " answer.",
)


def verify(wanted: LoginRequest, prompter: Prompter, checked: CheckedToken, record: dict[str, Any]) -> dict[str, Any]:
    """What Bitbucket reports about a token, to be stored in its record: OAuth scopes and names.

    Without a verdict, `wanted.unverified` has the reason. Raises `LoginFailed` if the token is rejected.
    """
    if wanted.provider.protocol != "https":
        wanted.unverified.append("the host is plain http")
        return {}
    with messages.WaitNotice(
        "Bitbucket has not answered yet", "to skip this check, press Ctrl-C, then log in with --no-verify"
    ):
        verdict = _verdict(wanted, prompter, checked, record)
    if verdict.valid is False:
        raise LoginFailed(f"Bitbucket rejected the token: {verdict.reason}", hint=REJECTED_HINT)
    if verdict.valid is None:
        wanted.unverified.append(verdict.reason or "")
        return {}
    prompter.say("Bitbucket accepted the token.", style="green")
    if missing := guidance.missing_scope(checked.kind, verdict.scopes):
        wanted.warn(prompter, missing)
    found = {"bitbucket_username": verdict.username, "account_id": verdict.account_id}
    if record["account"] is None:
        found["account"] = verdict.username
    return {"scopes": list(verdict.scopes)} | {field: name for field, name in found.items() if name}


def _verdict(wanted: LoginRequest, prompter: Prompter, checked: CheckedToken, record: dict[str, Any]) -> Verdict:
    """The verdict on git's own request if a repository is known, else on REST's; the names by REST.

    Raises `LoginFailed` if the token is for a repository that it does not reach.
    """
    from git_credential_bitbucket.bitbucket import rest  # lazy: requests costs 100 ms
    from git_credential_bitbucket.bitbucket.verification_request import prepare_verification  # lazy: as above

    endpoint, kind, secret = wanted.provider.endpoint, checked.kind, checked.secret
    scope: str = record["place"]
    listed: list[str] = record.get("repositories") or []
    is_for_repository, repository, by_git = scopes.is_repository(scope), wanted.near_url, None
    if is_for_repository or listed:
        repository = scope if is_for_repository else f"{scope.rpartition('/')[0]}/{listed[0]}"
    if repository is not None:
        by_git = rest.find_verdict(prepare_verification(endpoint, kind, None, secret, repository))
        if by_git.is_denied and is_for_repository:
            hint = "nothing was stored; check --for and the token's permissions; to store it anyway, add --no-verify"
            raise LoginFailed(f"it does not work for this repository: {by_git.reason}", hint=hint)
        if not (by_git.valid or by_git.is_denied):
            return by_git
        if by_git.is_denied:
            wanted.warn(prompter, f"{repository}: {by_git.reason}")
    by_rest = rest.find_verdict(prepare_verification(endpoint, kind, record["account"], secret))
    if by_git is None or by_git.is_denied:
        return by_rest
    is_rejected = by_rest.valid is False
    doubt = f"git can use it, but the REST API rejects it: {by_rest.reason}" if is_rejected else by_git.reason
    if doubt:
        wanted.warn(prompter, doubt)
    return replace(by_rest, valid=True)


def report_unverified(wanted: LoginRequest, *, is_required: bool) -> None:
    """Report why a token was stored unverified, if it was. Raises `LoginFailed` if verification is required."""
    for reason in wanted.unverified:
        cause, hint = f"stored, unverified: {reason}", "to check it later, run: git-credential-bitbucket status --check"
        if reason == token_kinds.NEEDS_EMAIL:
            hint = f"to have it checked, {token_kinds.LOGIN_WITH_EMAIL}"
        if is_required:
            raise LoginFailed(cause, hint=hint)
        output.warn(cause, hint)
