"""The one function that renews an access token, and the rule that one renewal runs at a time for each credential.

Refresh tokens rotate, and one that is used twice is revoked (Atlassian CHANGE-3052, without a grace). So a
renewal holds its credential's lease, and the vault's lock only for moments:

1. the lease; what an earlier client left over is merged;
2. a short transaction: read again, and note the intent where the answer will be written, which takes its disk space;
3. the request;
4. the answer as it came, sealed, into the lease's file, durably;
5. a short transaction: it is judged and changes the record, if that is still the one that was asked for;
6. the lease's file is emptied.

Killed anywhere, the next client of the lease goes on from there. A token is lost only if the machine dies between
Bitbucket's rotation and the arrival of its answer.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.agent import rejection, renewal_schedule, revocation
from git_credential_bitbucket.agent.credential import UNTROUBLED, Credential, check_not_moving, update
from git_credential_bitbucket.agent.credential_store import record_in
from git_credential_bitbucket.agent.naming import login_command
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import (
    DaemonUnavailable,
    Error,
    LoginExpired,
    UnknownCredential,
    VaultBusy,
    VaultChanged,
    VaultUnwritable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.agent.credential_store import CredentialStore
    from git_credential_bitbucket.bitbucket.token_response import Grant, GrantType, RawAnswer, TokenResponse
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.vault.vault import Renewing, Vault

LOGIN_EXPIRED_AFTER = 3
"""After how many rejections a refresh token is not sent again. From the first on we say "log in": that helps, and to
wait does not; but after a re-use Bitbucket rejects valid tokens too, for a while, so nothing is given up before that.
"""
REJECTED_PAUSES_S = (60.0, 600.0)
"""The least time before the next try, by how often it was rejected: a lock-out ends in less, an engineer said."""
ABANDONED_AFTER_S = 900.0
"""When a person may have a token sent again that another host was about to send: no request lasts so long."""
_LOST = "; the next one was lost in an interrupted renewal or a damaged vault"


class Renewals:
    """At most one renewal for each credential: those under way, and answers that are in no file yet."""

    def __init__(
        self,
        credential_store: CredentialStore,
        submit: Callable[[Callable[[], Credential]], Future[Credential]],
        clock: Callable[[], float],
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`step` is told each point that a crash test may stop at."""
        self._credential_store = credential_store
        credential_store.vault.merge = credential_store.memory.merge = merge_answer
        self._submit = submit
        self._clock = clock
        self._step = step
        self.with_endpoint: Callable[[Credential], Credential] = lambda credential: credential
        """Gives a credential its host's endpoint as it is configured at the moment of a request."""
        self.environment: Mapping[str, str] = os.environ
        """Where sources are looked for, and what their commands get."""
        self._running: dict[str, Future[Credential]] = {}
        self._requesting: dict[str, float] = {}
        """Since when Bitbucket is being asked for each, by the clock that is never set."""
        self.stopping = False
        """Set when this process is about to exit: from then on no request begins, for its answer might be lost."""
        self.troubles: dict[str, Error] = {}
        """Why renewals could not even be written down as failed: the vault's own trouble, by credential."""
        self.unwritten: dict[str, Record] = {}
        """Answers that the disk refused, by credential: `generation` and `answer`. They keep this process alive."""

    def start(
        self,
        credential: Credential,
        *,
        rejected: str | None = None,
        secret: Secret | None = None,
        by_hand: bool = False,
    ) -> Future[Credential]:
        """Have the token of this generation replaced, or join the renewal that is on its way already.

        `rejected` is the repository that rejected it in the middle of a command, if one did; of one that is fetched
        from a source, `secret` is the value that was. `by_hand`: a person asks, and no pause after a failure is kept.
        """
        credential_id = credential.id
        running = self._running.get(credential_id)
        if running is None or running.done():
            if credential.is_fetched:
                running = self._submit(lambda: self._fetch(credential, rejected, secret))
            else:
                running = self._submit(
                    lambda: self._renew_and_record_trouble(credential, rejected=rejected, by_hand=by_hand)
                )
            self._running[credential_id] = running
            running.add_done_callback(lambda ended: self._forget(credential_id, ended))
        return running

    def _forget(self, credential_id: str, ended: Future[Credential]) -> None:
        """Let go of a renewal that has ended: its result is a token, and the frames of an error hold more of them."""
        if self._running.get(credential_id) is ended:
            del self._running[credential_id]
        if isinstance(error := ended.exception(), Error):
            error.__traceback__ = error.__context__ = error.__cause__ = None

    def _renew_and_record_trouble(self, credential: Credential, *, rejected: str | None, by_hand: bool) -> Credential:
        try:
            renewed = self.renew(credential.id, credential.generation, rejected=rejected, by_hand=by_hand)
        except UnknownCredential:  # logged out meanwhile: what came for it is not wanted any more
            store = self._credential_store
            revocation.retry_due(store.vault, self._clock(), self.with_endpoint, store.on_revoked)
            raise
        except Error as exc:
            self.troubles[credential.id] = exc
            raise
        self.troubles.pop(credential.id, None)
        return renewed

    def _fetch(self, credential: Credential, rejected: str | None, secret: Secret | None) -> Credential:
        from git_credential_bitbucket.agent import source_value  # lazy: few credentials are fetched

        store, now = self._credential_store, self._clock()
        return source_value.fetch(store, credential, self.environment, now, rejected=rejected, secret=secret)

    @property
    def is_any_under_way(self) -> bool:
        """Whether any renewal runs now."""
        return any(map(self.is_under_way, list(self._running)))

    @property
    def is_requesting(self) -> bool:
        """Whether Bitbucket is being asked, or its answer being written: then this process must not end."""
        return bool(self._requesting)

    @property
    def requesting_s(self) -> float:
        """For how many seconds Bitbucket has been asked; 0 where it is not."""
        return max((time.monotonic() - since for since in list(self._requesting.values())), default=0.0)

    def is_under_way(self, credential_id: str) -> bool:
        """Whether a renewal of this credential runs here: it asks Bitbucket, or waits for another process that does."""
        running = self._running.get(credential_id)
        return running is not None and not running.done()

    def is_requesting_for(self, credential_id: str) -> bool:
        """Whether Bitbucket is being asked for a new token of this credential."""
        return credential_id in self._requesting

    def write_answers(self) -> None:
        """Try again to write what Bitbucket answered into the vault; sends no request. A job.

        What is in no file yet stays in `unwritten` if it cannot be written, and why not in `troubles`.
        """
        vault = self._credential_store.vault
        for credential_id in list(self.unwritten):
            try:
                with vault.lease(credential_id) as lease:
                    if (held := self.unwritten.get(credential_id)) is not None:  # a renewal may have written it first
                        self._write(lease, credential_id, **held)
                self.troubles.pop(credential_id, None)
            except Error as exc:
                self.troubles[credential_id] = exc
        if vault.has_left_over:
            with vault.transaction():
                pass  # which merges it

    def renew(
        self, credential_id: str, generation: int, *, rejected: str | None = None, by_hand: bool = False
    ) -> Credential:
        """Replace the access token of `generation`, unless that has happened already; a job.

        Returns the credential as it stands then. Failures are written into it (`trouble`, `retry_at`) rather than
        raised, so that every process and later `get` knows; the vault's trouble and `stopping` are raised.
        """
        vault = self._credential_store.vault_of(credential_id)
        try:
            with vault.lease(credential_id) as lease:
                self._step("renewal-leased")
                if (held := self.unwritten.get(credential_id)) is not None:
                    self._write(lease, credential_id, **held)
                return self._renew(vault, lease, credential_id, generation, rejected=rejected, by_hand=by_hand)
        except VaultChanged:  # another host has renewed it meanwhile
            with vault.transaction() as tx:
                return Credential.from_record(record_in(tx, credential_id))
        finally:
            self._requesting.pop(credential_id, None)

    def _renew(
        self, vault: Vault, lease: Renewing, credential_id: str, generation: int, *, rejected: str | None, by_hand: bool
    ) -> Credential:
        with vault.transaction() as tx:
            record = record_in(tx, credential_id)
            credential = Credential.from_record(record)
            check_not_moving(credential)
            now = self._clock()
            is_early = by_hand and credential.is_renewable and not may_attempt(credential, now)
            if credential.generation != generation or not (is_early or may_attempt(credential, now)):
                return credential
            if rejected is not None:
                credential = update(record, **rejection.on_rejection(credential, now, rejected))
                if rejection.is_blocked(credential, now, rejected):
                    return credential
            _check_not_elsewhere(lease, credential, by_hand=by_hand)
            last_try = tx.recovered or lease.interrupted == generation
            lease.intend(generation)  # under the lock: see `Vault.rekey`
        self._step("renewal-reserved")
        self._requesting[credential_id] = time.monotonic()  # first: who sets `stopping` looks at this next
        if self.stopping:
            if not last_try:
                lease.forget()
            raise DaemonUnavailable("the daemon is stopping", hint="run the command again")
        try:
            raw = self._send(self.with_endpoint(credential))
        except Error as exc:
            if not last_try:
                lease.forget()
            with vault.transaction() as tx:
                record = record_in(tx, credential_id)
                if record["generation"] != generation:
                    return Credential.from_record(record)
                return update(
                    record, **_on_failure(credential, exc, self._clock(), last_try=last_try, is_early=is_early)
                )
        answer = {"raw": raw.to_record(), "asked": credential.to_record(), "at": self._clock(), "last_try": last_try}
        answer["is_early"] = is_early
        self._step("renewal-granted")
        self._write(lease, credential_id, generation, answer)
        return Credential.from_record(record_in(vault.snapshot(), credential_id))

    def _send(self, credential: Credential) -> RawAnswer:
        """As `send_request`; the consumer's secret is fetched first where it has a source."""
        if credential.source is None:
            return send_request(credential)
        from dataclasses import replace  # lazy: few consumers have a source

        secret = secret_sources.fetch(credential.source, self.environment, credential.place).secret
        raw = send_request(credential._replace(client_secret=secret))
        if raw.status == 200:  # noqa: PLR2004 - OK
            return raw
        # Who judges the answer does not know that secret, which an error may repeat.
        return replace(raw, body=raw.body.replace(secret.reveal().encode("utf-8", "surrogateescape"), b""))

    def _write(self, lease: Renewing, credential_id: str, generation: int, answer: Record) -> None:
        """Have an answer on the disk, then in the vault. Raises `VaultUnwritable`, and the vault's other trouble."""
        self.unwritten[credential_id] = {"generation": generation, "answer": answer}
        try:
            lease.keep(generation, answer)
        except VaultUnwritable:
            pass  # the vault may take it all the same
        else:
            self.unwritten.pop(credential_id, None)
            self._step("renewal-kept")
        lease.merge(generation, answer)
        self.unwritten.pop(credential_id, None)
        self._step("renewal-written")
        lease.forget()
        self._step("renewal-forgotten")


def merge_answer(content: Record, credential_id: str, generation: int, answer: Record) -> None:
    """Change the vault's content by what Bitbucket answered to a renewal, of this process or an earlier one.

    A new refresh token is kept whatever else the answer says. Nothing changes where the record is not any more the one
    that was asked for; for one that was logged out, the new refresh token is queued for revocation.
    """
    from git_credential_bitbucket.bitbucket.token_response import RawAnswer  # lazy: as in `interpret`

    asked = Credential.from_record(answer["asked"])
    response = interpret(asked, RawAnswer.from_record(answer["raw"]))
    record = next((one for one in content.get("credentials", ()) if one["id"] == credential_id), None)
    if record is None:
        revocation.queue(content, asked, response.refresh_token, answer["at"])
        return
    credential = Credential.from_record(record)
    if credential.generation != generation or asked.refresh_token not in (None, credential.refresh_token):
        return
    try:
        changes = _on_grant(credential, response.granted(), answer["at"])
    except Error as exc:
        early = bool(answer.get("is_early"))  # an answer that 0.1.0 left has none
        changes = _on_failure(credential, exc, answer["at"], last_try=answer["last_try"], is_early=early)
        if response.refresh_token is not None:  # the one before is spent: what was said of it is not said of this one
            changes |= {"refresh_token": response.refresh_token, "refusals": 0}
            changes |= {"refresh_rejected": False, "login_expired": False}
    update(record, **changes)


def answer_of_0_1_0(record: Record) -> Record:
    """What version 0.1.0 hands over for `unwritten`, a whole record with a grant in it, as an answer is kept."""
    from git_credential_bitbucket.bitbucket.token_response import RawAnswer  # lazy: as in `interpret`

    grant = {
        "access_token": record["secret"],
        "refresh_token": record.get("refresh_token"),
        "expires_in": record["expires_at"] - record["minted_at"],
        "scope": record.get("scopes", []),
    }
    body = json.dumps(grant).encode()
    raw = RawAnswer(200, "application/json", None, body)
    asked = {name: value for name, value in record.items() if name != "refresh_token"}
    answer = {"raw": raw.to_record(), "asked": asked, "at": record["minted_at"], "last_try": False}
    return {"generation": record["generation"] - 1, "answer": answer}


def is_renewed_ahead(credential: Credential, now: float) -> bool:
    """Whether it is renewed in the background: what is not offered is not, and no `get` waits for it."""
    return credential.is_renewable and not rejection.is_blocked(credential, now)


def may_attempt(credential: Credential, now: float) -> bool:
    """Whether a renewal may be tried now; a pause longer than the longest is a clock that was set back."""
    if not credential.is_obtainable:
        return False
    pause = (credential.retry_at or 0.0) - now
    return pause <= 0 or pause > 2 * renewal_schedule.MAX_RETRY_S


def send_request(credential: Credential) -> RawAnswer:
    """What Bitbucket answers to a request for a new access token, to be made durable before it is judged.

    Raises `BitbucketUnreachable` without an answer, `LoginExpired` without a refresh token, `SettingsError`.
    """
    # lazy: requests-oauthlib costs 130 ms and 15 MiB, and most answers need no request
    from git_credential_bitbucket.bitbucket import oauth
    from git_credential_bitbucket.bitbucket.providers import Endpoint

    endpoint = Endpoint.from_record(credential.endpoint or {})
    client_id = credential.client_id or ""
    if credential.kind == token_kinds.CLIENT_CREDENTIALS:
        return oauth.send_client_credentials(endpoint, client_id, credential.client_secret)
    if credential.kind == token_kinds.JWT_BEARER:
        return oauth.send_jwt(endpoint, client_id, credential.subject or "", credential.client_secret)
    if credential.refresh_token is None:
        raise LoginExpired("this login has no refresh token", hint=_login_hint(credential))
    return oauth.send_refresh(endpoint, client_id, credential.client_secret, credential.refresh_token)


def interpret(credential: Credential, raw: RawAnswer) -> TokenResponse:
    """What the answer to `send_request(credential)` means. Raises nothing."""
    from git_credential_bitbucket.bitbucket import token_response  # lazy: most answers need no request

    asked: GrantType = "refresh_token"
    if credential.kind in token_kinds.MINTED:
        asked = "client_credentials" if credential.kind == token_kinds.CLIENT_CREDENTIALS else "jwt_bearer"
    sent = tuple(secret.reveal() for secret in (credential.refresh_token, credential.client_secret) if secret)
    url = str((credential.endpoint or {}).get("token_url", ""))
    return token_response.interpret(raw, asked, url, sent)


def _on_grant(credential: Credential, grant: Grant, now: float) -> dict[str, object]:
    lifetime = renewal_schedule.ASSUMED_LIFETIME_S if grant.expires_in is None else grant.expires_in
    return {
        "secret": grant.access_token,
        "refresh_token": grant.refresh_token or credential.refresh_token,
        "scopes": grant.scopes or credential.scopes,
        "minted_at": now,
        "expires_at": now + lifetime,
        "generation": credential.generation + 1,
        "superseded": credential.superseding(),
        "suspect_until": None,
        **UNTROUBLED,
    }


def _on_failure(
    credential: Credential, error: Error, now: float, *, last_try: bool, is_early: bool
) -> dict[str, object]:
    """What a failure changes; `last_try`: the refresh token may have been spent before.

    Because the vault is the previous generation, or a renewal was cut off after its intent and before its answer.
    `is_early`: a person did not wait out the pause, so a further rejection may be the same lock-out's and counts once.
    """
    failures = credential.failures + 1
    jitter = os.urandom(1)[0] / 255
    retry_after = getattr(error, "retry_after", None)
    refused = isinstance(error, LoginExpired)
    # An outage in between says nothing about the refresh token.
    refusals = max(credential.refusals + (refused and not is_early), int(refused))
    cure = error.hint if error.hint != error.HINT else None  # to wait is what is done by itself
    if refused:
        cure = _login_hint(credential)
        retry_after = max(retry_after or 0.0, REJECTED_PAUSES_S[min(refusals, len(REJECTED_PAUSES_S)) - 1])
    return {
        "failures": failures,
        "retry_at": renewal_schedule.next_attempt_at(now, failures, retry_after, jitter),
        "trouble": error.cause + (_LOST if refused and last_try else ""),
        "trouble_cure": cure,
        "refusals": refusals,
        "refresh_rejected": refused,
        "login_expired": refused and (last_try or refusals >= LOGIN_EXPIRED_AFTER),
    }


def _check_not_elsewhere(lease: Renewing, credential: Credential, *, by_hand: bool) -> None:
    """Raise `VaultBusy` where another host may have spent the refresh token, unless a person says that it is gone."""
    left = lease.elsewhere
    if left is None or left.generation != credential.generation or (by_hand and left.ago_s > ABANDONED_AFTER_S):
        return
    cause = f"a renewal that began on {left.by} has not finished, and only that host can have the new token"
    raise VaultBusy(cause, hint=f"check that its daemon runs; if it is gone for good, {_login_hint(credential)}")


def _login_hint(credential: Credential) -> str:
    place = credential.place.split("/", 3)
    return f"run: {login_command(credential.place)} --oauth" + (f" --for {place[3]}" if len(place) > 3 else "")  # noqa: PLR2004 - protocol://host/names
