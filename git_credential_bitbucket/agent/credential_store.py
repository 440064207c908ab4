"""What is at hand: the vault's credentials and those in memory only, as one index; when each was used and warned of."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import git_protocol, secret_sources
from git_credential_bitbucket.agent.credential import FETCHED_FIELDS, Credential, digest, update
from git_credential_bitbucket.agent.matching import Index
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import Error, UnknownCredential, VaultLocked
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.vault.vault import Snapshot, Transaction, Vault


MAX_ANNOUNCED = 1024
"""Of so many credentials it is remembered what was said of their being kept; that is said within minutes, or never."""


class CredentialStore:
    """The vault's credentials and those in memory, with uses and warnings that are not written down yet.

    `index` and `use` are called from the agent's thread; `open`, `transaction` and `flush` from jobs as well.
    """

    def __init__(self, vault: Vault, memory: Vault, acquire: Callable[[bool], None]) -> None:
        """`acquire(create)` gives the vault its key non-interactively: `Vault.acquire`; it may block."""
        self.vault = vault
        self.memory = memory
        self._acquire = acquire
        self._seen: tuple[object, ...] = (None, None, None)
        self._index = Index(())
        self._in_memory: set[str] = set()
        self._values: dict[str, Record] = {}
        """What was fetched from the sources of credentials, by credential, as records have it: never written down."""
        self._values_are: object = None
        self._configured: dict[str, Record] = {}
        """What git's configuration refers to a source for (`credential.<url>.tokenFrom`), by host: in no vault."""
        self._unwritten: dict[str, tuple[str, dict[str, object], Callable[[], None]]] = {}
        """What a rejection changes in credentials while the vault does not take it: their secret's digest, the changes,
        and what writes them."""
        self._used: dict[str, float] = {}
        self._warned: dict[str, float] = {}
        self.silenced: dict[str, float] = {}
        """When a warning was suppressed, by credential; `expiry`'s, and never written down."""
        self._announced: dict[str, int] = {}
        self.on_revoked: Callable[[Credential], None] = lambda _: None
        """Told, by a job, of each login that Bitbucket revoked some time after its logout."""
        self.locked_by_person = False
        self.locked_how = "by hand"
        self.trouble: Error | None = None
        """Why the vault's credentials are not at hand; None while they are."""
        self.lacks_key = False
        self._refused: Error | None = None

    @property
    def last_index(self) -> Index:
        """What `index` has returned last."""
        return self._index

    def index(self) -> Index:
        """Everything at hand now. Where the vault cannot be read, `trouble` says why and memory's content is left."""
        content: dict[str, Any] = {}
        self.trouble, self.lacks_key = None, False
        try:
            content = self._content()
        except VaultLocked as exc:
            why = _locked(self.locked_how) if self.locked_by_person else self._refused
            self.trouble, self.lacks_key = why or exc, True
        except Error as exc:
            self.trouble = exc
        remembered = self.memory.snapshot().content
        old = self._seen
        if content is not old[0] or remembered is not old[1] or self._values_are is not old[2]:
            records = (*_records(remembered), *_records(content), *self._configured.values())
            self._index = Index(map(self._with_value, records), self._index)
            self._seen = (content, remembered, self._values_are)
            self._in_memory = {record["id"] for record in _records(remembered)}
            for credential_id in list(self._values):
                if self._index.get(credential_id) is None:  # logged out, or locked while it was fetched
                    self._values.pop(credential_id, None)
        return self._index

    def _content(self) -> dict[str, Any]:
        if self.vault.storage.is_at_hand:
            return self.vault.snapshot().content
        raise VaultLocked("the vault's server has not answered yet")

    def _with_value(self, record: Record) -> Record:
        unwritten = self._unwritten.get(record["id"])
        if unwritten is not None and unwritten[0] == digest(Secret(record["secret"])):
            update(record := dict(record), **unwritten[1])
        value = self._values.get(record["id"]) if "source" in record else None
        return record if value is None else {**record, **value}

    def current(self, record: Record) -> Credential:
        """The credential of a vault's record, with what was fetched for it."""
        return Credential.from_record(self._with_value(record))

    def configure(self, scope: str, reference: str | None, endpoint: Record | None = None) -> None:
        """Have the token at hand that a host's configuration refers to, or none. Raises `SettingsError`."""
        known = self._configured.get(scope)
        if reference is None and known is None:
            return
        expanded = secret_sources.parse(reference) if reference is not None else ""
        if known is not None and (known["source"], known.get("endpoint")) == (expanded, endpoint):
            return
        self._configured.pop(scope, None)
        self._values_are = object()
        if reference is not None:
            credential_id = digest(Secret(f"{scope}\n{expanded}"))
            new = Credential(credential_id, token_kinds.ACCESS_TOKEN, scope, Secret(""), endpoint=endpoint)
            self._configured[scope] = new._replace(source=expanded, origin="configured").to_record()

    def record(self, credential_id: str) -> Record:
        """The record of a credential, wherever it is. Raises `UnknownCredential`."""
        configured = self._configured_record(credential_id)
        return configured or record_in(self.vault_of(credential_id).snapshot(), credential_id)

    def is_configured(self, credential_id: str) -> bool:
        """Whether git's configuration refers to this one, so that it is in no vault."""
        return self._configured_record(credential_id) is not None

    def _configured_record(self, credential_id: str) -> Record | None:
        return next((record for record in self._configured.values() if record["id"] == credential_id), None)

    def write_rejection(self, credential: Credential, changes: dict[str, object], write: Callable[[], None]) -> None:
        """Have a rejection written by `write`; while that fails, its `changes` count here (`write_rejections`).

        A job. Raises what `write` raises.
        """
        try:
            write()
        except Error:
            self._unwritten[credential.id] = digest(credential.secret), changes, write
            self._values_are = object()
            raise
        self.forget_rejection(credential.id)

    def write_rejections(self) -> None:
        """Try again to write what rejections changed. A job."""
        for credential_id, (_, _, write) in list(self._unwritten.items()):
            with suppress(UnknownCredential):  # removed meanwhile
                write()
            self.forget_rejection(credential_id)

    @property
    def has_unwritten_rejections(self) -> bool:
        """Whether there is anything for `write_rejections`."""
        return bool(self._unwritten)

    def forget_rejection(self, credential_id: str) -> None:
        """It is written, or a person has restored the credential."""
        if self._unwritten.pop(credential_id, None) is not None:
            self._values_are = object()

    def put_value(self, credential: Credential) -> None:
        """Have what was fetched for a credential at hand, in memory."""
        value = {name: getattr(credential, name) for name in FETCHED_FIELDS}
        value |= {"secret": credential.secret.reveal(), "kind": credential.kind}
        if credential.kind == token_kinds.PERSONAL_TOKEN:
            value["bitbucket_username"] = credential.bitbucket_username  # its source may have told it
        is_same = value == self._values.get(credential.id, {}) | {"minted_at": value["minted_at"]}
        if is_same and secret_sources.is_cheap(credential.source or ""):
            return  # a file that is read each time has the same still: nothing to index again
        self._values[credential.id] = value
        self._values_are = object()

    def forget_values(self, *ids: str) -> None:
        """Let go of what was fetched, for these credentials or for all."""
        for credential_id in ids or list(self._values):
            self._values.pop(credential_id, None)
        self._values_are = object()

    def with_secret(self, text: str, asked: str | None = None) -> Credential | None:
        """The credential that has or had this secret.

        With `asked`, a scope, only of its host: the narrowest around it, else any on that host.
        """
        secret, index = Secret(text), self.index()
        host = scopes.host_of(asked or "")
        near = index.covering(asked) if asked else []
        found = (c for c in (*near, *index) if f"{c.place}/".startswith(host and f"{host}/"))
        return next((c for c in found if c.has_secret(secret) or c.had_secret(secret)), None)

    def named_in(self, body: bytes) -> Credential | None:
        """The credential whose secret git's request names."""
        try:
            request = git_protocol.parse(body)
        except Error:
            return None
        scope = scopes.scope_of(request.protocol, request.host, request.path)
        return self.with_secret(request.secret, scope) if request.secret else None

    def open(self, *, create: bool = False) -> None:
        """Give the vault its key if it lacks one; `create` makes one for a vault yet to be. A job: may block."""
        if self.locked_by_person:
            raise _locked(self.locked_how)
        try:
            if self.vault.state == "locked" or (create and self.vault.state == "absent"):
                self._acquire(create)
            if not self.vault.storage.is_at_hand:
                self.vault.snapshot()
        except Error as exc:
            self._refused = exc
            raise
        self._refused = None

    def vault_of(self, credential_id: str) -> Vault:
        """Where a credential is kept. Raises `UnknownCredential`."""
        for vault in (self.memory, self.vault):
            if any(r["id"] == credential_id for r in vault.snapshot().content.get("credentials", ())):
                return vault
        if self.is_configured(credential_id):
            hint = "change credential.<url>.tokenFrom there instead"
            raise UnknownCredential("this token is not stored: git's configuration refers to it", hint=hint)
        raise UnknownCredential("there is no such credential")

    def change(self, credential_id: str, changes: Callable[[Credential], dict[str, object]]) -> Credential:
        """Change one credential durably: `changes` sees it as it stands under the lock. A job: waits for the lock."""
        if (configured := self._configured_record(credential_id)) is not None:
            record = dict(configured)  # an index may have the other one, and what it has is never changed
            changed = update(record, **changes(Credential.from_record(record)))
            self._configured[record["place"]] = record
            self._values_are = object()
            return changed
        with self.vault_of(credential_id).transaction() as tx:
            record = record_in(tx, credential_id)
            return update(record, **changes(Credential.from_record(record)))

    def transaction(self, *, memory: bool) -> AbstractContextManager[Transaction]:
        """A transaction on the vault, or on what is in memory only."""
        return (self.memory if memory else self.vault).transaction()

    def mark_used(self, credential: Credential, now: float) -> None:
        """Note that a credential was used; written down lazily, for a `store` follows every git command."""
        self._used[credential.id] = now

    def last_used(self, credential: Credential) -> float | None:
        """When a credential was last used, as far as is known here."""
        return max(self._used.get(credential.id, 0.0), credential.last_used_at or 0.0) or None

    def note_warning(self, credential: Credential, now: float) -> None:
        """Note that a person was warned of a credential's expiry; written down as uses are."""
        self._warned[credential.id] = now

    def note_count(self, credential_id: str) -> int:
        """How often it was said what became of a secret that git stored; 0 as well for one of long ago."""
        return self._announced.get(credential_id, 0)

    def set_note_count(self, credential_id: str, times: int) -> None:
        """Note how often that was said by now."""
        self._announced[credential_id] = times
        while len(self._announced) > MAX_ANNOUNCED:
            del self._announced[next(iter(self._announced))]

    def forget_warning(self, credential_id: str) -> None:
        """Forget who was told, for the end has changed."""
        self._warned.pop(credential_id, None)
        self.silenced.pop(credential_id, None)

    def last_warned(self, credential: Credential) -> float | None:
        """When a person was last warned of a credential's expiry, as far as is known here."""
        return max(filter(None, (self._warned.get(credential.id), credential.warned_at)), default=None)

    def pending_notes(self) -> dict[str, dict[str, float]]:
        """Uses and warnings that are not written down yet, for a successor's `add_notes`."""
        return {"used": self._used, "warned": self._warned}

    def add_notes(self, noted: dict[str, dict[str, float]]) -> None:
        """Go on with what a predecessor had noted."""
        self._used.update(noted["used"])
        self._warned.update(noted["warned"])

    def flush(self) -> None:
        """Write down when credentials were used and warned of. A job; what cannot be written is tried the next time."""
        used, warned = dict(self._used), dict(self._warned)
        if not (used or warned) or self.vault.state != "open":
            return
        late = set()
        with self.vault.transaction() as tx:
            for record in tx.content.get("credentials", ()):
                for field, noted in (("last_used_at", used), ("warned_at", warned)):
                    lag = noted.get(record["id"], 0) - (record.get(field) or 0)
                    if lag > self.vault.storage.note_every_s:
                        record[field] = noted[record["id"]]
                    elif lag > 0:
                        late.add((record["id"], field))
        # What is not in the vault, but in memory, has no other place to be noted than here.
        remembered = {record["id"] for record in self._remembered}
        for field, kept, noted in (("last_used_at", self._used, used), ("warned_at", self._warned, warned)):
            for credential_id, at in noted.items():
                is_done = credential_id not in remembered and (credential_id, field) not in late
                if is_done and kept.get(credential_id) == at:
                    del kept[credential_id]

    @property
    def in_memory_only(self) -> list[Credential]:
        """What would be lost with this process; not what the vault has as well."""
        remembered = [Credential.from_record(record) for record in self._remembered]
        if not remembered:
            return []
        ids = {record["id"] for record in self._remembered}
        kept = [credential for credential in self.index() if credential.id not in ids]
        return [one for one in remembered if not any(other.has_secret(one.secret) for other in kept)]

    def is_in_memory(self, credential_id: str) -> bool:
        """Whether a credential of the index is kept in memory, not in the vault."""
        return credential_id in self._in_memory

    @property
    def _remembered(self) -> list[Record]:
        return _records(self.memory.snapshot().content)


def _records(content: Record) -> list[Record]:
    found: list[Record] = content.get("credentials", [])
    return found


def record_in(tx: Transaction | Snapshot, credential_id: str) -> Record:
    """A credential's record within a transaction, to be changed, or in a snapshot. Raises `UnknownCredential`."""
    for record in tx.content.get("credentials", ()):
        if record["id"] == credential_id:
            found: Record = record
            return found
    raise UnknownCredential("there is no such credential")


def _locked(how: str) -> VaultLocked:
    return VaultLocked(f"the vault was locked {how}")
