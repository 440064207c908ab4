"""The one function that renews an access token, and the rule that one renewal runs at a time for each credential.

Refresh tokens rotate, and one that is used twice is dead (Atlassian CHANGE-3052; there is no grace to count on). So:
under the vault's lock, from a fresh read, with the disk space for the answer made sure of before the request, and the
answer durable before anybody sees the new token. What is lost if the machine dies between Bitbucket's rotation and
the arrival of its answer cannot be saved by anybody.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import freshness, judgement
from git_credential_bitbucket.agent.credential import Credential, update
from git_credential_bitbucket.agent.holdings import record_in
from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.errors import DaemonUnavailable, Error, LoginExpired, UnknownCredential

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.agent.holdings import Holdings
    from git_credential_bitbucket.bitbucket.token_response import Grant, GrantType, RawAnswer, TokenResponse
    from git_credential_bitbucket.vault.content import Transaction

LOGIN_EXPIRED_AFTER = 3
"""After how many rejections a refresh token is not sent again. From the first on we say "log in": that helps, and to
wait does not; but after a re-use Bitbucket rejects valid tokens too, for a while, so nothing is given up before that.
"""
REJECTED_PAUSES_S = (60.0, 600.0)
"""The least time before the next try, by how often it was rejected: a lock-out ends in less, an engineer said."""

_MENDED = frozenset(
    {
        *("failures", "refusals", "retry_at", "trouble", "trouble_cure"),
        *("refresh_rejected", "login_expired", "suspect_until"),
    }
)
"""What of a record a grant takes back: at its default a field is not written at all."""


class Renewals:
    """At most one renewal a credential. A class for its state: those under way, and grants not yet written."""

    def __init__(
        self,
        holdings: Holdings,
        submit: Callable[[Callable[[], Credential]], Future[Credential]],
        clock: Callable[[], float],
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`step` is told each point that a crash test may stop at."""
        self._holdings = holdings
        self._submit = submit
        self._clock = clock
        self._step = step
        self._running: dict[str, Future[Credential]] = {}
        self._asking: set[str] = set()
        self._guard = threading.Lock()
        self.leaving = False
        """Set when this process is about to end: from then on no request begins, for its answer might find nobody."""
        self.troubles: dict[str, Error] = {}
        """Why renewals could not even be written down as failed: the vault's own trouble, by credential."""
        self.unwritten: dict[str, Record] = {}
        """Records with a grant that Bitbucket gave and the vault could not take yet: they keep this process alive."""

    def start(self, credential: Credential, *, rejected: str | None = None) -> Future[Credential]:
        """Have the token of this generation replaced, or join the renewal that is on its way already.

        `rejected` is the repository that rejected it in the middle of a command, if one did.
        """
        running = self._running.get(credential.id)
        if running is None or running.done():
            running = self._submit(lambda: self._noting_trouble(credential, rejected=rejected))
            self._running[credential.id] = running
        return running

    def _noting_trouble(self, credential: Credential, *, rejected: str | None) -> Credential:
        try:
            renewed = self.renew(credential.id, credential.generation, rejected=rejected)
        except UnknownCredential:  # logged out meanwhile
            self._written(credential.id)
            raise
        except Error as exc:
            self.troubles[credential.id] = exc
            raise
        self.troubles.pop(credential.id, None)
        return renewed

    @property
    def under_way(self) -> bool:
        """Whether any renewal runs now."""
        return any(not future.done() for future in self._running.values())

    @property
    def asking(self) -> bool:
        """Whether Bitbucket is being asked, or its answer being written: then this process must not end."""
        return bool(self._asking)

    def is_asking(self, credential_id: str) -> bool:
        """Whether Bitbucket is being asked for a new token of this credential."""
        return credential_id in self._asking

    def write_grants(self) -> None:
        """Try again to write down what Bitbucket gave and the vault did not take; asks nobody. A job.

        What cannot be written stays in `unwritten`, and why not in `troubles`.
        """
        for credential_id in list(self.unwritten):
            try:
                self.renew(credential_id, None)
                self.troubles.pop(credential_id, None)
            except UnknownCredential:  # logged out meanwhile
                self._written(credential_id)
            except Error as exc:
                self.troubles[credential_id] = exc

    def renew(self, credential_id: str, generation: int | None, *, rejected: str | None = None) -> Credential:
        """Replace the access token of `generation`, unless that has happened already; a job. None: ask nobody.

        Returns the credential as it stands then. Failures are written into it (`trouble`, `retry_at`) rather than
        raised, so that every process and every later `get` knows; what is raised is the vault's own trouble, and that
        this process is `leaving`.
        """
        try:
            return self._renew(credential_id, generation, rejected=rejected)
        finally:
            self._asking.discard(credential_id)

    def _renew(self, credential_id: str, generation: int | None, *, rejected: str | None) -> Credential:
        vault = self._holdings.vault_of(credential_id)
        with vault.transaction() as tx:
            record = record_in(tx, credential_id)
            credential = Credential.from_record(record)
            now = self._clock()
            with self._guard:
                held = self.unwritten.get(credential_id)
            if held is not None and _is_written(held, record):
                held = None
            if held is None:
                if credential.generation != generation or not may_attempt(credential, now):
                    self._written(credential_id)
                    return credential
                if rejected is not None:
                    credential = update(record, **judgement.rejected(credential, now, rejected))
                    if judgement.withheld(credential, now, rejected):
                        return credential
                tx.reserve()
                self._step("renewal-reserved")
                self._asking.add(credential_id)  # first: who sets `leaving` looks at this next
                if self.leaving:
                    raise DaemonUnavailable("the daemon is leaving", hint="run the command again")
                held = self._ask(credential, tx)
                if held is None:
                    return Credential.from_record(record)
            for name in _MENDED - held.keys():
                record.pop(name, None)
            record.update(held)
            tx.commit()
            self._step("renewal-written")
            self._written(credential_id)
            return Credential.from_record(record)

    def _written(self, credential_id: str) -> None:
        """The grant that waited for the disk is there, or no longer wanted."""
        with self._guard:
            self.unwritten.pop(credential_id, None)

    def _ask(self, credential: Credential, tx: Transaction) -> Record | None:
        """Ask Bitbucket; the new record if a new token came, or None with the failure noted in the old one."""
        record = record_in(tx, credential.id)
        renewed, response = dict(record), None
        try:
            response = judge(credential, send(credential))
            changes = _granted(credential, response.granted(), self._clock())
        except Error as exc:
            changes = _failed(credential, exc, self._clock(), last_try=tx.recovered)
            if response is None or response.refresh_token is None:
                update(record, **changes)
                return None
            # The one before is spent: what was said of it is not said of this one.
            changes |= {"refresh_token": response.refresh_token, "refusals": 0}
            changes |= {"refresh_rejected": False, "login_expired": False}
        self._step("renewal-granted")
        update(renewed, **changes)
        with self._guard:
            self.unwritten[credential.id] = renewed
        return renewed


def is_kept_fresh(credential: Credential, now: float) -> bool:
    """Whether the background renews it at all: what is not offered is not renewed, and keeps nobody waiting for it."""
    return credential.renewable and not judgement.withheld(credential, now)


def may_attempt(credential: Credential, now: float) -> bool:
    """Whether a renewal may be tried now; a pause longer than the longest is a clock that was set back."""
    if not credential.renewable:
        return False
    pause = (credential.retry_at or 0.0) - now
    return pause <= 0 or pause > 2 * freshness.ATTEMPT_CEILING_S


def send(credential: Credential) -> RawAnswer:
    """What Bitbucket answers to a request for a new access token, to be made durable before it is judged.

    Raises `BitbucketUnreachable` where no answer came, `LoginExpired` where there is nothing to ask with,
    `SettingsError`.
    """
    # lazy: requests costs 110 ms and 10 MiB, and most answers need no request
    from git_credential_bitbucket.bitbucket import oauth
    from git_credential_bitbucket.bitbucket.providers import Endpoint

    endpoint = Endpoint.from_record(credential.endpoint or {})
    client_id = credential.client_id or ""
    if credential.kind == kinds.CLIENT_CREDENTIALS:
        return oauth.send_mint(endpoint, client_id, credential.client_secret)
    if credential.kind == kinds.JWT_BEARER:
        return oauth.send_swap(endpoint, client_id, credential.subject or "", credential.client_secret)
    if credential.refresh_token is None:
        raise LoginExpired("this login has no refresh token", hint=_login_hint(credential))
    return oauth.send_refresh(endpoint, client_id, credential.client_secret, credential.refresh_token)


def judge(credential: Credential, raw: RawAnswer) -> TokenResponse:
    """What the answer to `send(credential)` means. Raises nothing."""
    from git_credential_bitbucket.bitbucket import token_response  # lazy: most answers need no request

    asked: GrantType = "refresh"
    if credential.kind in kinds.MINTED:
        asked = "mint" if credential.kind == kinds.CLIENT_CREDENTIALS else "swap"
    sent = tuple(secret.reveal() for secret in (credential.refresh_token, credential.client_secret) if secret)
    url = str((credential.endpoint or {}).get("token_url", ""))
    return token_response.judge(raw, asked, url, sent)


def _is_written(held: Record, record: Record) -> bool:
    """Whether the vault's `record` has what `held` brought, or something later: a generation, or a refresh token."""
    if held["generation"] != record["generation"]:
        return bool(held["generation"] < record["generation"])
    return held.get("secret") != record.get("secret") or held.get("refresh_token") == record.get("refresh_token")


def _granted(credential: Credential, grant: Grant, now: float) -> dict[str, object]:
    lifetime = freshness.ASSUMED_LIFE_S if grant.expires_in is None else grant.expires_in
    return {
        "secret": grant.access_token,
        "refresh_token": grant.refresh_token or credential.refresh_token,
        "scopes": grant.scopes or credential.scopes,
        "minted_at": now,
        "expires_at": now + lifetime,
        "generation": credential.generation + 1,
        "superseded": credential.superseding(),
        "failures": 0,
        "refusals": 0,
        "retry_at": None,
        "trouble": None,
        "trouble_cure": None,
        "refresh_rejected": False,
        "login_expired": False,
        "suspect_until": None,
    }


def _failed(credential: Credential, error: Error, now: float, *, last_try: bool) -> dict[str, object]:
    """What a failure changes; `last_try`: the vault is the previous generation, whose refresh token may be spent."""
    failures = credential.failures + 1
    jitter = os.urandom(1)[0] / 255
    retry_after = getattr(error, "retry_after", None)
    refused = isinstance(error, LoginExpired)
    refusals = credential.refusals + refused  # an outage in between says nothing about the refresh token
    cure = error.hint if error.hint != error.CURE else None  # to wait is what is done by itself
    if refused:
        cure = _login_hint(credential)
        retry_after = max(retry_after or 0.0, REJECTED_PAUSES_S[min(refusals, len(REJECTED_PAUSES_S)) - 1])
    return {
        "failures": failures,
        "retry_at": freshness.next_attempt_at(now, failures, retry_after, jitter),
        "trouble": error.cause,
        "trouble_cure": cure,
        "refusals": refusals,
        "refresh_rejected": refused,
        "login_expired": refused and (last_try or refusals >= LOGIN_EXPIRED_AFTER),
    }


def _login_hint(credential: Credential) -> str:
    place = credential.place.split("/", 3)
    return "type: git-credential-bitbucket login --oauth" + (f" --for {place[3]}" if len(place) > 3 else "")  # noqa: PLR2004 - protocol://host/names
