"""git's get, store and erase. One thread calls the agent; what may block is a job, its answer `Deferred`."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import expiry, matching, rejection, renewal_schedule, retention, revocation
from git_credential_bitbucket.agent.answer_cache import Hit
from git_credential_bitbucket.agent.credential_store import CredentialStore
from git_credential_bitbucket.agent.deferred_answer import Deferred
from git_credential_bitbucket.agent.grants import Grants
from git_credential_bitbucket.agent.open_misses import OpenMisses
from git_credential_bitbucket.agent.renewal import Renewals, is_renewed_ahead, may_attempt
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.agent.open_misses import GitProcess
    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.errors import Problem
    from git_credential_bitbucket.git_protocol import Request
    from git_credential_bitbucket.vault.vault import Vault

ACKNOWLEDGED = b"ok=1\n"
"""The answer to `store` and `erase`: git throws it away, a front end learns from it that the request arrived. Not for a
host that we do not know: the caller's configuration may.

After a `store`, a line may follow it: `warn=ID`, that credential ends soon, and the verb `warn` has the words; or what
became of a secret just stored: `kept=memory`, there is no key to encrypt it with; `kept=beside`, another of the same
scope stays in use; `kept=bound`, it answers only the username and path that it came with."""
FLUSH_EVERY_S = 60.0
KEY_RETRY_S = 10.0
"""How long a key that could not be had is not asked for again: a probe of the keyring costs a process."""


def format_answer(credential: Credential, request: Request, authtype: str | None = None) -> bytes:
    """A credential as git reads it; with `state[]` and `continue` where git offers them and a new token can be had.

    With `authtype`, ready for that header, where git can. It then fails to push more than 1 MiB in chunks.
    """
    pairs = [("username", credential.username), ("password", credential.secret.reveal())]
    if authtype is not None and "authtype" in request.capabilities:
        pairs = [("capability[]", "authtype"), ("authtype", authtype), ("credential", credential.secret.reveal())]
    ends = [end for end in (credential.expires_at, credential.forget_at) if end is not None]
    if ends:
        pairs.append(("password_expiry_utc", str(int(min(ends)))))
    if credential.is_obtainable and "state" in request.capabilities:
        pairs[:0] = [("capability[]", "state")]
        pairs.append(("state[]", matching.state_of(credential)))
        if not any(state.startswith(matching.STATE_PREFIX) for state in request.states):
            pairs.append(("continue", "1"))  # one second try: git comes back with the state when the server says 401
    return git_protocol.emit(pairs)


class Lookup(NamedTuple):
    """A question for a credential: git's request, what may answer it, in which words, and what a miss is noted by."""

    request: Request
    choose: Callable[[Index], matching.Match]
    reply: Callable[[Credential, Request], bytes] = format_answer
    on_miss: Callable[[], None] = lambda: None
    on_hit: Callable[[Hit], None] = lambda _: None


class Agent:
    """Answers one user's requests from the stored credentials, and renews those."""

    def __init__(  # noqa: PLR0913 - the surroundings of a process, which tests replace one by one
        self,
        vault: Vault,
        memory: Vault,
        find_provider: Callable[[str, str], Provider | None],
        acquire: Callable[[bool], None],
        submit: Callable[[Callable[[], Any]], Future[Any]],
        clock: Callable[[], float] = time.time,
        step: Callable[[str], None] = lambda _: None,
        *,
        submit_renewal: Callable[[Callable[[], Any]], Future[Any]] | None = None,
    ) -> None:
        """`submit` runs a job elsewhere and returns its future; `acquire(create)` gives the vault its key unasked.

        `submit_renewal` runs a renewal, which may wait for minutes, without taking a thread from other jobs; without
        it, `submit` does. `step` is told each point of a renewal that a crash test may stop at.
        """
        self.clock = clock
        self.submit = submit
        self.submit_renewal = submit_renewal or submit
        self.find_provider = find_provider
        self.credential_store = CredentialStore(vault, memory, acquire)
        self.renewals = Renewals(self.credential_store, self.submit_renewal, clock, step)
        self.consumers: Agent | None = None
        """Who answers for the consumers in callers' environments, once one has asked (`client_credentials`)."""
        self.consumers_dir: str | None = None
        """The private directory in which processes share what is minted for a consumer; None: in memory only."""
        self.misses = OpenMisses()
        self.grants = Grants(clock)
        self.usernames_reported: dict[str, float] = {}
        """When it was told whose credentials are kept instead of a username's that git asked for (`why`)."""
        self._key_failed_at: float | None = None
        self._flushed_at = clock()

    def get(
        self,
        request: Request,
        asked_path: Callable[[], str | None] = lambda: None,
        asker: Callable[[], GitProcess] = lambda: None,
        *,
        is_owners: bool = True,
        on_hit: Callable[[Hit], None] = lambda _: None,
    ) -> bytes | Deferred:
        """The answer to git's `get`: username and password, or nothing. `asked_path` as for `find_candidates`.

        Where it is not `is_owners`, no person is prompted after it, so it opens no miss. `on_hit` is told of a hit.
        """
        if (provider := self.provider_of(request)) is None:
            return b""
        lookup = Lookup(
            request,
            lambda index: matching.find_candidates(index, request, asked_path),
            partial(format_answer, authtype=provider.endpoint.authtype),
            on_miss=lambda: self.misses.open(request, self.clock(), asker()) if is_owners else None,
            on_hit=on_hit,
        )
        return self.with_unlocked_vault(lambda index: self.serve(lookup, index))

    def provider_of(self, request: Request) -> Provider | None:
        """The provider, if host and path are ours; what its configuration refers to a source for is at hand then.

        Raises `SettingsError` where that is no reference.
        """
        provider = self.find_provider(request.protocol, request.host)
        scope = scopes.scope_of(request.protocol, request.host, None)
        if provider is not None and provider.token_from is not None:
            self.credential_store.configure(scope, provider.token_from, provider.endpoint.to_record())
        else:
            self.credential_store.configure(scope, None)
        return provider if provider is not None and scopes.is_below(provider.context, request.path) else None

    def serve(self, lookup: Lookup, index: Index, waited: frozenset[str] = frozenset()) -> bytes | Deferred:
        """The first chosen of `index` that is fresh, or can be made so; `waited` are those already waited for."""
        now = self.clock()
        match = lookup.choose(index)
        is_late = False
        for credential in match.candidates:
            if rejection.is_blocked(credential, now, match.repository):
                if self._may_have_changed(credential, now) and credential.id not in waited:
                    return self._after_renewal(credential, lookup, waited, None, is_usable=False)
                continue
            is_rejected = matching.state_of(credential) in lookup.request.states
            must_renew = is_rejected or rejection.needs_renewal(credential, match.repository)
            if credential.is_obtainable and (must_renew or renewal_schedule.must_wait(credential, now)):
                if credential.id not in waited and may_attempt(credential, now):
                    rejected = match.repository if is_rejected else None
                    return self._after_renewal(credential, lookup, waited, rejected, is_usable=not must_renew)
                is_late = is_late or not credential.refresh_rejected
                if must_renew:
                    continue
            if renewal_schedule.has_valid_token(credential, now):
                self.credential_store.mark_used(credential, now)
                lookup.on_hit(Hit(index, match, credential, now))
                return lookup.reply(credential, lookup.request)
        if not is_late and self.credential_store.trouble is None:
            lookup.on_miss()
        return b""

    def _may_have_changed(self, credential: Credential, now: float) -> bool:
        """Whether the source of a suspended credential is looked at: what it has now may be another value."""
        is_suspended = credential.set_aside_at is None and not rejection.is_past_lifetime(credential, now)
        return credential.is_fetched and is_suspended and may_attempt(credential, now)

    def _after_renewal(
        self, credential: Credential, lookup: Lookup, waited: frozenset[str], rejected: str | None, *, is_usable: bool
    ) -> Deferred:
        job = self.renewals.start(credential, rejected=rejected)

        def give_up() -> bytes:
            usable = is_usable and renewal_schedule.has_valid_token(credential, self.clock())
            return lookup.reply(credential, lookup.request) if usable else b""

        return Deferred(
            job, lambda: self.serve(lookup, self.credential_store.index(), waited | {credential.id}), give_up
        )

    def with_unlocked_vault(self, go_on: Callable[[Index], bytes | Deferred]) -> bytes | Deferred:
        """Go on with the credentials at hand once the vault has its key, or no key is to be had non-interactively."""
        index = self.credential_store.index()
        if self.credential_store.lacks_key and self._may_ask_for_key(self.clock()):
            return Deferred(self.submit(self._open), lambda: go_on(self.credential_store.index()))
        return go_on(index)

    def store(
        self,
        request: Request,
        asked_path: Callable[[], str | None] = lambda: None,
        approves: Callable[[], bool] = lambda: False,
        asker: Callable[[], GitProcess] = lambda: None,
        lifetime_s: float | None = None,
    ) -> bytes | Deferred:
        """Store a secret that git reports as working, unless it is stored already; acknowledged once durable.

        `approves` tells whether the git that asks is `git credential approve`; see `retention.Stored`.
        """
        if (provider := self.provider_of(request)) is None:
            return b""
        is_solicited = self.misses.close(request, self.clock(), asker)
        if not (request.username and request.password):
            return ACKNOWLEDGED
        if token_kinds.recognise(request.password) == token_kinds.APP_PASSWORD:
            return error_answer(token_kinds.APP_PASSWORDS_GONE)
        is_data_center = provider.endpoint.product == hosts.DATA_CENTER
        foreign = token_kinds.foreign(request.password, is_data_center=is_data_center)
        if foreign is not None and (is_data_center or request.base == hosts.CLOUD_URL):
            return error_answer(foreign)
        stored = retention.Stored(request, asked_path, is_solicited, approves, lifetime_s)
        return self.with_unlocked_vault(lambda index: self._store(index, stored))

    def _store(self, index: Index, stored: retention.Stored) -> bytes | Deferred:
        request, now = stored.request, self.clock()
        secret, scope = Secret(request.password or ""), scopes.scope_of(request.protocol, request.host, request.path)
        for credential in (*index.covering(scope), *index.below(scope)):
            if credential.had_secret(secret):
                return ACKNOWLEDGED
            if not credential.has_secret(secret) or not stored.is_of(credential):
                continue
            if retention.is_fallback(index, credential, now):
                return ACKNOWLEDGED + expiry.storage_note(self.credential_store, credential, now)
            self.credential_store.mark_used(credential, now)
            repository = matching.repository_of(request, stored.asked_path) if credential.suspensions else scope
            if rejection.on_acceptance(credential, repository):
                forgive = partial(rejection.on_acceptance, scope=repository)
                return self.run_job(partial(self.credential_store.change, credential.id, forgive))
            note = expiry.storage_note(self.credential_store, credential, now)
            return ACKNOWLEDGED + (note or expiry.warning_due(self.credential_store, credential, now))
        for credential in index.covering(scope):
            is_its_kind = credential.is_fetched and request.username in token_kinds.TOKEN_USERNAMES
            if is_its_kind and not (credential.secret and stored.is_intended):
                return ACKNOWLEDGED  # a value of its source, as far as is known: it is never stored
        keep = partial(retention.store_from_git, self.credential_store, stored, now)
        return self.run_job(keep, lambda kept: expiry.storage_note(self.credential_store, kept, self.clock()))

    def erase(self, request: Request, asked_path: Callable[[], str | None] = lambda: None) -> bytes | Deferred:
        """Apply a rejection (see `rejection`); one that names a secret which is no longer stored is ignored."""
        if self.provider_of(request) is None:
            return b""
        named = None if request.secret is None else Secret(request.secret)
        return self.with_unlocked_vault(lambda index: self._erase(index, request, named, asked_path))

    def _erase(
        self, index: Index, request: Request, named: Secret | None, asked_path: Callable[[], str | None]
    ) -> bytes | Deferred:
        meant, now = matching.find_erased(index, request, named), self.clock()
        fetched = [c for c in meant if c.is_fetched] if meant else _of_unknown_value(index, request)
        repository = matching.repository_of(request, asked_path) if meant or fetched else ""
        changing = [c for c in meant if not c.is_fetched and rejection.on_rejection(c, now, repository)]
        asked = [
            self.renewals.start(credential, rejected=repository, secret=named)
            for credential in fetched
            if rejection.on_rejection(credential, now, repository)
        ]
        if asked and not changing:
            return Deferred(asked[0], lambda: ACKNOWLEDGED)
        if not changing:
            misnamed = None if meant else token_kinds.username_problem(request.password or "", request.username)
            return ACKNOWLEDGED if misnamed is None else error_answer(misnamed)

        def judge() -> None:
            for credential in changing:
                changes = rejection.on_rejection(credential, now, repository)
                write = partial(retention.apply_rejection, self.credential_store, credential.id, named, now, repository)
                self.credential_store.write_rejection(credential, changes, write)

        return self.run_job(judge)

    def run_job(self, work: Callable[[], Any], note: Callable[[Any], bytes] = lambda _: b"") -> Deferred:
        """Run `work` elsewhere and acknowledge it, with a `note` on its result; or say in the answer why it failed."""
        future = self.submit(work)

        def resume() -> bytes:
            error = future.exception()
            return error_answer(error) if isinstance(error, Error) else ACKNOWLEDGED + note(future.result())

        return Deferred(future, resume)

    def _may_ask_for_key(self, now: float) -> bool:
        has_just_failed = self._key_failed_at is not None and 0 <= now - self._key_failed_at < KEY_RETRY_S
        return not (self.credential_store.locked_by_person or has_just_failed)

    def _open(self) -> None:
        try:
            self.credential_store.open()
        except Error:
            self._key_failed_at = self.clock()
            raise
        self._key_failed_at = None

    def tick(self) -> float:
        """Start what is due: renewals ahead of time, writing down uses. Returns the seconds until the next look."""
        now = self.clock()
        wait = FLUSH_EVERY_S if self.consumers is None else self.consumers.tick()
        index = self.credential_store.index()
        self._catch_up(now)
        awaited = self.credential_store.vault.awaited()
        for credential in index:
            if rejection.is_past_lifetime(credential, now):
                self.submit(partial(retention.remove, self.credential_store, credential.id))
            elif credential.forget_at is not None:
                wait = min(wait, credential.forget_at - now)
            if not is_renewed_ahead(credential, now):
                continue
            due = now if credential.id in awaited else self._due_at(credential)
            if due <= now and may_attempt(credential, now):
                self.renewals.start(credential)
            elif due > now:
                wait = min(wait, due - now)
        if not 0 <= now - self._flushed_at < FLUSH_EVERY_S:
            self._flushed_at = now
            self.submit(self.credential_store.flush)
        return max(min(wait, self.grants.expire()), 1.0)

    def _catch_up(self, now: float) -> None:
        """Write answers that the vault has not taken yet, and revoke tokens that came for a removed login."""
        vault = self.credential_store.vault
        if self.renewals.unwritten or vault.has_left_over:
            self.submit(self.renewals.write_answers)
        if self.credential_store.has_unwritten_rejections:
            self.submit(self.credential_store.write_rejections)
        if self.credential_store.trouble is None and revocation.is_due(vault.snapshot().content, now):
            on_revoked = self.credential_store.on_revoked
            self.submit(partial(revocation.retry_due, vault, now, self.renewals.with_endpoint, on_revoked))

    def _due_at(self, credential: Credential) -> float:
        if not renewal_schedule.was_used_since_renewal(credential, self.credential_store.last_used(credential)):
            return renewal_schedule.idle_renewal_due_at(credential)
        return renewal_schedule.renewal_due_at(credential)

    def must_keep_running(self) -> bool:
        """Whether stopping would lose something: a token in use to renew, or something that is in memory only."""
        if self.renewals.is_any_under_way or self.renewals.unwritten or self.credential_store.in_memory_only:
            return True
        if self.grants.open_grants() or (self.consumers is not None and self.consumers.must_keep_running()):
            return True
        if self.credential_store.locked_by_person:
            return True  # the next daemon would open the vault again, where its key is to be had unasked
        now = self.clock()
        return any(
            is_renewed_ahead(credential, now)
            and renewal_schedule.was_used_since_renewal(credential, self.credential_store.last_used(credential))
            for credential in self.credential_store.index()
        )

    def lock(self, how: str) -> None:
        """Forget the key (`how`: "by hand", say); only a person's unlock brings it back. An absent vault stays absent.

        At once: uses and warnings stay noted until the vault is open again, for to write them could wait for a renewal.
        """
        store = self.credential_store
        store.locked_by_person, store.locked_how = True, how  # first: no job may open it again
        store.vault.lock()
        store.forget_values()
        if self._has_no_vault():  # a login could not create it if it counted as locked
            store.locked_by_person = False
        store.index()  # lets go of the credentials that were at hand

    def _has_no_vault(self) -> bool:
        try:
            return self.credential_store.vault.state == "absent"
        except Error:
            return False

    def close(self) -> None:
        """Write down what the vault did not take, and what is kept lazily: when something was last used, no more."""
        for write in (self.renewals.write_answers, self.credential_store.flush):
            with suppress(Error):
                write()


def _of_unknown_value(index: Index, request: Request) -> list[Credential]:
    """The credentials whose value git may have had from a process before this one."""
    covering = index.covering(scopes.scope_of(request.protocol, request.host, request.path))
    is_token = request.username in token_kinds.TOKEN_USERNAMES
    return [c for c in covering if c.is_fetched and not c.secret and is_token]


def error_answer(error: Error | Problem) -> bytes:
    """An error as a control verb, `store` or `erase` answers it."""
    pairs = [("error", git_protocol.printable(error.cause, 1000))]
    if error.hint:
        pairs.append(("hint", git_protocol.printable(error.hint, 1000)))
    return git_protocol.emit(pairs)
