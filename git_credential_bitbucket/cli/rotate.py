"""`rotate`: replaces an API token or access token in one write: guided at Cloud, by REST at a Data Center."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket.agent.naming import kind_label
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.cli import expires, options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.login import guidance, token_flows, token_rotation, token_verification, vault_setup
from git_credential_bitbucket.login.login_request import LoginRequest
from git_credential_bitbucket.ui import arguments, dates, output, prompts

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView

HELP = """
You are shown where in Bitbucket to create the new token, and which scopes it needs; then it is read, checked, and
replaces the old one. The old one is disabled for thirty days, and `restore` re-enables it. Without a scope: the token
that expires first.

If standard input is not a terminal, its first line is the new token.

A Bitbucket Data Center creates the new token itself, with the same permissions: it is created, verified, put into use,
and the old one is revoked, in this order. For a personal token you are asked for your password, which is not stored;
for a project's or repository's token, an OAuth login with an administrator's OAuth scopes is used if one is stored,
else an administrator's username and password. If standard input is not a terminal, these are its lines.
"""


@options.verb("rotate", HELP)
@click.argument("what", metavar="[SCOPE|ID]", required=False)
@click.option(
    "--expires",
    "ends_at",
    metavar="DATE",
    callback=options.expiry,
    help="Expiry date of the new token: 2027-01-31, 90d or 1y.",
)
@token_verification.option
@click.option("--force", is_flag=True, help="Store the new token although its checksum does not match.")
def command(*, what: str | None, ends_at: float | None, verify: bool | None, force: bool) -> None:
    """Replace a token."""
    vault_setup.unlock_if_locked()
    prompter = prompts.prompter()
    old = choose_token(what)
    if old["source"] is not None:
        hint = "put the new one there: it is then fetched from there"
        raise Error(f"the secret is not stored here, but fetched from {old['source']}", hint=hint)
    host = scopes.host_of(old["url"])
    provider, path = arguments.find_provider(host), old["url"].removeprefix(host).removeprefix("/")
    wanted = LoginRequest(
        kind=old["kind"],
        provider=provider,
        path=path,
        account=old["account"],
        ends_at=ends_at,
        replaces=old,
        verify=verify is not False,
        force=force,
    )
    prompter.say(f"Replacing: {printable(describe(old), 1000)}.")
    rotation = None
    if provider.endpoint.product == hosts.DATA_CENTER:
        click.get_current_context().with_resource(token_rotation.exclusive(old["id"]))  # to the command's end
        rotation = token_rotation.create_token(wanted, old, prompter)
    record = token_flows.obtain_record(wanted, prompter) if rotation is None else rotation.record
    try:
        previous = dict(ask("add", [("record", json.dumps(record)), ("replaces", old["id"])]))["previous"]
    except Error as exc:
        if rotation is None:
            raise
        raise Error(exc.cause, hint="the old token was not revoked; to revoke it, run this again") from exc
    expiry = f", expires {dates.day(record['ends_at'])}" if record["ends_at"] else ""
    output.say(f"Replaced: {kind_label(record['kind'])} for {old['scope']}{expiry}; its id is still {old['id']}.")
    if rotation is not None:
        rotation.revoke_old()
        ask("remove", [("id", previous)])
        output.say(f"Revoked the old token “{rotation.old.name}”.")
        return
    output.say(
        f"The old token is disabled for 30 days. To re-enable it, run: git-credential-bitbucket restore {previous}"
    )
    addresses = guidance.token_pages(old["kind"], provider, path)
    where = f" here: {' or '.join(addresses)}" if addresses else ""
    output.say(f"Once git works with the new token, revoke the old one at Bitbucket{where}")
    token_verification.report_unverified(wanted, is_required=verify is True)


def choose_token(what: str | None) -> CredentialView:
    """The token to replace: the named one, else the first to expire. Raises `Error`."""
    static = [one for one in arguments.select_credentials(what) if one["kind"] in token_kinds.STATIC]
    offered = [one for one in static if one["state"] != "disabled"]
    if what is not None:
        if not static:
            hint = "an OAuth login renews itself; to log in again, run: git-credential-bitbucket login"
            raise Error("only API tokens and access tokens can be rotated", hint=hint)
        return arguments.select_one(offered or static, "for this scope")
    dated = [one for one in static if expires.is_static(one) and one["ends_at"] is not None]
    if dated:
        return min(dated, key=lambda one: one["ends_at"] or 0.0)
    return arguments.select_one(offered, "that can be rotated")


def describe(old: CredentialView) -> str:
    """The old token in words: kind, scope, account and expiry."""
    ends = f", expires {dates.day(old['ends_at'])}" if old["ends_at"] else ""
    return f"the {arguments.title(old)}{ends}"
