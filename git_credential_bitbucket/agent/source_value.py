"""Fetches the secret of a credential from its source into memory, and judges a rejection by what the source has now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.agent import rejection, renewal_schedule
from git_credential_bitbucket.agent.credential import UNTROUBLED
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.errors import Error, SourceFailed
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.credential_store import CredentialStore

RETRY_CEILING_S = 60.0
"""The longest pause after a source has failed: a person may unseal it at any time."""
RECHECK_S = 15.0
"""How long a command is not run again once it gave what Bitbucket had just rejected."""


def fetch(
    credential_store: CredentialStore,
    asked: Credential,
    env: Mapping[str, str],
    now: float,
    *,
    rejected: str | None = None,
    secret: Secret | None = None,
) -> Credential:
    """Have what the source holds now in memory; the credential as it stands then. A job.

    `rejected` is the scope at which `secret` (or the value of this generation) was rejected: where the source has
    another, nothing is held against the credential; where it has the same or fails, the credential is suspended.
    Failures are put into the credential. Raises `UnknownCredential` and the vault's own trouble.
    """
    was = _current(credential_store, asked.id)
    if rejected is not None and was.generation != asked.generation:
        return was
    refused = (secret or was.secret) if rejected is not None else None
    fetched = _fetched(was, env, now)
    is_other = fetched.secret != refused and not fetched.trouble
    if refused and not is_other and not secret_sources.is_cheap(was.source or ""):
        fetched = fetched._replace(retry_at=max(fetched.retry_at or 0.0, now + RECHECK_S))
    credential_store.put_value(fetched)
    if rejected is not None and not is_other:
        credential_store.change(was.id, lambda one: rejection.on_rejection(_at(one, fetched), now, rejected))
    elif was.secret and fetched.generation != was.generation and (was.suspect_until or was.suspensions):
        credential_store.change(was.id, lambda _: {"rejections": (), "suspect_until": None, "suspensions": None})
    return _current(credential_store, asked.id)


def _current(credential_store: CredentialStore, credential_id: str) -> Credential:
    return credential_store.current(credential_store.record(credential_id))


def _at(stored: Credential, fetched: Credential) -> Credential:
    return stored._replace(secret=fetched.secret, generation=fetched.generation)


def _fetched(was: Credential, env: Mapping[str, str], now: float) -> Credential:
    """The credential with the value that its source has, or with the source's trouble."""
    try:
        value = secret_sources.fetch(was.source or "", env, was.place)
        secret = Secret(token_kinds.strip_wrapping(value.secret.reveal())[0])
        if token_kinds.recognise(secret.reveal()) == token_kinds.APP_PASSWORD:
            raise SourceFailed(token_kinds.APP_PASSWORDS_GONE.cause, hint=token_kinds.APP_PASSWORDS_GONE.hint)
        is_data_center = (was.endpoint or {}).get("product") == hosts.DATA_CENTER
        if is_data_center or scopes.host_of(was.place) == hosts.CLOUD_URL:
            problem = token_kinds.foreign(secret.reveal(), is_data_center=is_data_center)
            if problem is not None:
                raise SourceFailed(problem.cause, hint=problem.hint)
        if value.expires_at is not None and value.expires_at <= now:
            raise SourceFailed("its value has expired", hint="renew it there")
    except Error as exc:
        failures = was.failures + 1
        pause = min(renewal_schedule.next_attempt_at(now, failures, None, 0.0), now + RETRY_CEILING_S)
        retry_at = None if secret_sources.is_cheap(was.source or "") else pause
        return was._replace(failures=failures, retry_at=retry_at, trouble=exc.cause, trouble_cure=exc.hint)
    is_new = secret != was.secret
    owner = was.bitbucket_username or value.username  # without one, a Data Center's token is no person's
    kind = token_kinds.recognise_with(secret.reveal(), owner or token_kinds.ACCESS_TOKEN_USERNAME)
    return was._replace(
        bitbucket_username=owner if kind == token_kinds.PERSONAL_TOKEN else was.bitbucket_username,
        kind=kind if kind in token_kinds.STATIC else was.kind,
        secret=secret,
        # Of one process and the next no two generations are the same: git may hand back that of a former one.
        generation=max(was.generation + 1, int(now)) if is_new else was.generation,
        superseded=was.superseding() if is_new else was.superseded,
        minted_at=now,
        expires_at=value.expires_at,
        **UNTROUBLED,
    )
