"""Revokes at Bitbucket the OAuth logins that were removed here, as far as Bitbucket lets it.

A refresh token that arrives after its login was removed waits in the vault's `revocations` until Bitbucket answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.credential import Record

    WithEndpoint = Callable[[Credential], Credential]
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.vault.vault import Vault

QUEUED_S = 7 * 86400
"""How long a revocation is tried again that gets no answer."""
RETRY_S = 10 * 60
REVOKED, REJECTED, UNKNOWN, QUEUED, NOTHING = "yes", "no", "unknown", "queued", "nothing"
"""What became of it: Bitbucket took it, rejected it, gave no answer that tells, is asked again, or nothing to do."""


def revoke(credential: Credential, with_endpoint: WithEndpoint) -> str:
    """Revoke what an OAuth login holds; one of the words above. A job: may take as long as Bitbucket does.

    `with_endpoint` gives it its host's endpoint as that is configured now. It is undocumented, and is given the refresh
    token: with that, the access tokens of the same grant go (RFC 7009, section 2.1). A token that a person made is only
    theirs to revoke, on Bitbucket's page.
    """
    token, client_id = credential.refresh_token or credential.secret, credential.client_id
    if credential.kind not in token_kinds.RENEWABLE or credential.endpoint is None or not (token and client_id):
        return NOTHING
    # lazy: requests costs 100 ms, and only a logout revokes
    from git_credential_bitbucket.bitbucket import oauth
    from git_credential_bitbucket.bitbucket.providers import Endpoint

    try:
        endpoint = Endpoint.from_record(with_endpoint(credential).endpoint or {})
        taken = oauth.revoke(endpoint, client_id, credential.client_secret, token)
    except Error:  # an endpoint that may not be used: it is removed here all the same
        return UNKNOWN
    return {True: REVOKED, False: REJECTED, None: UNKNOWN}[taken]


def queue(
    content: Record, credential: Credential, refresh_token: Secret | None, now: float, retry_at: float | None = None
) -> None:
    """Have a refresh token revoked whose login is no longer stored, from `retry_at` on."""
    if refresh_token is not None:
        record = credential._replace(refresh_token=refresh_token).to_record()
        one = {"credential": record, "at": now, "retry_at": now if retry_at is None else retry_at}
        content.setdefault("revocations", []).append(one)


def settle(vault: Vault, credential: Credential, *, is_over: bool) -> bool:
    """Whether a login's revocation is queued; it is taken out where it `is_over`. A job."""
    if credential.refresh_token is None or vault.key is None:
        return False
    token = credential.refresh_token.reveal()
    with vault.transaction() as tx:
        queued = [one for one in tx.content.get("revocations", ()) if one["credential"].get("refresh_token") == token]
        if queued and is_over:
            tx.content["revocations"] = [one for one in tx.content["revocations"] if one not in queued]
        return bool(queued)


def is_due(content: Record, now: float) -> bool:
    """Whether a revocation is to be tried now."""
    return any(not 0 < one["retry_at"] - now <= RETRY_S for one in content.get("revocations", ()))


def retry_due(vault: Vault, now: float, with_endpoint: WithEndpoint, on_revoked: Callable[[Credential], None]) -> None:
    """Try the revocations that are due. A job: may take as long as Bitbucket does. Raises the vault's trouble.

    `with_endpoint` is as for `revoke`; `on_revoked` is told of each login that Bitbucket revoked.
    """
    with vault.transaction() as tx:
        due = [one for one in tx.content.get("revocations", ()) if not 0 < one["retry_at"] - now <= RETRY_S]
        for one in due:  # first, so that no other process tries it meanwhile
            one["retry_at"] = now + RETRY_S
    done = []
    for one in due:
        credential = Credential.from_record(one["credential"])
        if (told := revoke(credential, with_endpoint)) == REVOKED:
            on_revoked(credential)
        if told != UNKNOWN or now - one["at"] > QUEUED_S:
            done.append(one["credential"]["refresh_token"])
    if done:
        with vault.transaction() as tx:
            left = [one for one in tx.content["revocations"] if one["credential"]["refresh_token"] not in done]
            tx.content["revocations"] = left
