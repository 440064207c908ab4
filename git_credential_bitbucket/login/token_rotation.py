"""Rotation of a Data Center token by REST: create, verify, switch, revoke, in this order.

Stopped after any step, the old token or the new one works. The name of the new one is shown before it is created, and
names this machine, the credential and the token that is replaced: by it, the next rotation finishes an interrupted one.
"""

from __future__ import annotations

import math
import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import paths
from git_credential_bitbucket.bitbucket import hosts, http_tokens, scopes, token_kinds
from git_credential_bitbucket.client import rest_authorization
from git_credential_bitbucket.client.shared_client import ask, find
from git_credential_bitbucket.errors import BitbucketUnreachable, Error, LoginFailed, RejectedByBitbucket
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.ui import arguments, output
from git_credential_bitbucket.vault.lock import flocked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.bitbucket.http_tokens import HttpToken, Owner
    from git_credential_bitbucket.login.login_request import LoginRequest
    from git_credential_bitbucket.ui.prompts import Prompter

_DAY_S = 86400


@contextmanager
def exclusive(credential_id: str) -> Iterator[None]:
    """While this is held, no other process of this user rotates the credential: its token would look left behind.

    Raises `VaultBusy` where one does.
    """
    folder = paths.cache_dir(os.environ)
    paths.make_private_dir(folder)
    with flocked(os.path.join(folder, f"rotate-{credential_id}"), 0.0, "the lock for this rotation"):
        yield


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation after its second step: the new token works, and the old one is in use until `record` is stored."""

    record: dict[str, Any] = field(repr=False)
    owner: Owner
    old: HttpToken
    new: HttpToken

    def revoke_old(self) -> None:
        """The last step. Raises `Error`, with what is left to do."""
        try:
            self.owner.revoke_token(self.old)
        except Error as exc:
            cause = f"the new token is in use, but the old one “{self.old.name}” was not revoked: {exc.cause}"
            raise LoginFailed(cause, hint="revoke it in Bitbucket's settings, under “HTTP access tokens”") from exc

    def discard_new(self) -> str:
        """Revoke the new token, which is not stored; what became of it, in words."""
        try:
            self.owner.revoke_token(self.new)
        except Error as exc:
            return f"the new token “{self.new.name}” could not be revoked ({exc.cause}): do so in Bitbucket's settings"
        return f"the new token “{self.new.name}” was revoked again"


def create_token(wanted: LoginRequest, replaced: CredentialView, prompter: Prompter) -> Rotation:
    """Create a token like the one that is `replaced`, and verify it. Raises `Error`; then the old one works still.

    A personal token's owner is asked for the password, which is used for these requests only. For a project's or
    repository's an OAuth login that is stored is tried first.
    """
    owner, tokens = _find_owner(wanted, replaced, prompter)
    prompter.check_all_read()
    told = find("token", [("id", replaced["id"])], arguments.requested_scope(replaced).request())
    old = http_tokens.find_token(tokens, Secret(told["password"])) if told.get("password") else None
    if old is None:
        cause = "the server does not list this token, so its permissions are unknown"
        hint = "create one in Bitbucket's settings, then run: git-credential-bitbucket login --access-token" + (
            hosts.host_option(wanted.provider.protocol, wanted.provider.host)
        )
        raise LoginFailed(cause, hint=hint)
    prefix = f"git-credential-bitbucket {socket.gethostname()} {replaced['id']} replaces "
    _tidy_up(owner, tokens, old, prefix, replaced["id"])
    name = f"{prefix}{old.id} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
    days = old.expiry_days if wanted.ends_at is None else max(1, math.ceil((wanted.ends_at - time.time()) / _DAY_S))
    output.say(f"Creating the token “{name}” with the permissions {', '.join(old.permissions)}.")
    try:
        new, secret = owner.create_token(name, old.permissions, days)
    except BitbucketUnreachable as exc:
        hint = "the old token stays in use; the next rotation revokes the new one, if it was created"
        raise LoginFailed(f"the server did not confirm the token “{name}”: {exc.cause}", hint=hint) from exc
    record = {
        "kind": replaced["kind"],
        "place": replaced["url"],
        "secret": secret.reveal(),
        "endpoint": wanted.provider.endpoint.to_record(),
        "account": replaced["account"],
        "bitbucket_username": replaced["bitbucket_username"],
        "ends_at": new.expires_at or (None if days is None else time.time() + days * _DAY_S),
    }
    made = Rotation(record, owner, old, new)
    if wanted.verify:
        _verify(wanted, made, secret)
    return made


def _tidy_up(owner: Owner, tokens: list[HttpToken], current: HttpToken, prefix: str, credential_id: str) -> None:
    """Finish an interrupted rotation: revoke the token that it created and never stored, or the one that it replaced.

    The name of a token of ours tells what it replaced. Raises `Error`.
    """
    is_ours = current.name.startswith(prefix)
    before = current.name.removeprefix(prefix).partition(" ")[0] if is_ours else None
    for left in tokens:
        if left.id != current.id and (left.name.startswith(prefix) or left.id == before):
            owner.revoke_token(left)
            output.say(f"Revoked “{left.name}”, left by an interrupted rotation.")
    for one in arguments.stored_credentials() if is_ours else ():
        if one["state"] == "disabled" and one["replaced_by"] == credential_id:
            ask("remove", [("id", one["id"])])


def _verify(wanted: LoginRequest, made: Rotation, secret: Secret) -> None:
    """Ask the server whether the new token works; one that does not is revoked. Raises `LoginFailed`."""
    from git_credential_bitbucket.bitbucket import rest, verification_request  # lazy: as `http_tokens`

    scope = made.record["place"]
    repository = scope if scopes.is_repository(scope) else None
    question = verification_request.prepare_verification(
        wanted.provider.endpoint, made.record["kind"], None, secret, repository
    )
    verdict = rest.find_verdict(question)
    if not verdict.valid:
        hint = f"the old token stays in use; {made.discard_new()}"
        raise LoginFailed(f"the new token was not accepted: {verdict.reason}", hint=hint)


def _find_owner(wanted: LoginRequest, replaced: CredentialView, prompter: Prompter) -> tuple[Owner, list[HttpToken]]:
    """Who may manage the tokens, and the tokens; each credential is tried once. Raises `Error`."""
    endpoint = wanted.provider.endpoint
    is_personal = replaced["kind"] == token_kinds.PERSONAL_TOKEN
    username = (replaced["bitbucket_username"] or replaced["account"]) if is_personal else None

    def try_with(authorization: Secret) -> tuple[Owner, list[HttpToken]]:
        path = http_tokens.owner_path(endpoint, replaced["url"], username, authorization)
        owner = http_tokens.Owner(endpoint, path, authorization)
        return owner, owner.list_tokens()

    for authorization in () if is_personal else _stored_logins(replaced):
        try:
            return try_with(authorization)
        except RejectedByBitbucket as exc:
            prompter.say(f"A stored OAuth login may not manage these tokens: {exc.cause}.", style="yellow")
    name = username or prompter.line("Username of an administrator")
    password = prompter.secret(f"Password of {printable(name, 100)}, used once and not stored")
    return try_with(Secret(token_kinds.basic_header(name, password)))


def _stored_logins(replaced: CredentialView) -> Iterator[Secret]:
    """The `Authorization` of each OAuth login that is stored for the host; HTTP access tokens cannot manage tokens."""
    host = scopes.host_of(replaced["url"])
    for one in arguments.stored_credentials():
        if one["kind"] == token_kinds.OAUTH and scopes.host_of(one["url"]) == host and one["state"] == "ready":
            told = find("token", [("id", one["id"])], arguments.requested_scope(replaced).request())
            if told.get("password"):
                yield Secret(rest_authorization.header(told))
