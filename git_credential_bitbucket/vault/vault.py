"""The vault: JSON content, read by snapshot and changed by transaction, sealed under a key that can be forgotten.

Decides when to lock and what is cached, and gets Bitbucket's answer to a renewal into the content, also after a kill.
It does not interpret the content: `merge` says how an answer changes it.
"""

import json
import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from git_credential_bitbucket.errors import (
    Error,
    KeyringUnavailable,
    VaultBusy,
    VaultLocked,
    VaultMoved,
    VaultUnwritable,
    WrongKey,
)
from git_credential_bitbucket.paths import shown, typed
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.storage.contract import REST, content_of, copied, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from git_credential_bitbucket.vault.key import Key
    from git_credential_bitbucket.vault.storage.contract import Lease, Record, Storage, Stored

    Merge = Callable[[Record, str, int, Record], None]
    """Changes the content by an answer: content, the credential's id, the generation that was asked for, the answer."""

_STATUS = "run: git-credential-bitbucket status"
MAX_NAMED = 5
MOVED_TO = "moved_to"
"""Where the content says to which vault all of it was moved."""
MOVED_ON = "moved_on"
"""Where it says on which host, if hosts shared the vault and the other one is a file."""
ANSWER_ROOM_BYTES = 96 * 1024
"""The disk space that is reserved before a request to Bitbucket: the largest answer that is stored, and its record."""


class Snapshot(NamedTuple):
    """The content at one moment. Others read the same object: do not change it.

    `recovered`, `needs_repair` and `altered` are as in `contract.Stored`; `notice` describes them to the user.
    """

    content: dict[str, Any]
    generation: int
    recovered: bool = False
    needs_repair: bool = False
    altered: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Snapshot(generation={self.generation})"


class Notice(NamedTuple):
    """A message about a damaged vault. `path` is the damaged file's, as shown: `V.damaged-<time>`, or the vault itself.

    It is shown as long as the file exists.
    """

    path: str
    cause: str
    hint: str


class Transaction:
    """The content as it is under the lock, free to be changed; `stored` is what the storage holds by now."""

    def __init__(self, storage: "Storage", key: "Key | None", stored: "Stored") -> None:
        self._storage = storage
        self._key = key
        self._write_id = os.urandom(8).hex()
        self.stored = stored
        self.content: dict[str, Any] = content_of({name: copied(record) for name, record in stored.records.items()})
        self.recovered = stored.recovered

    def commit(self) -> None:
        """Store what changed, durably, now; the lock stays held. Raises `VaultUnwritable`, and may be tried again."""
        records, base = records_of(self.content), self.stored.records
        changed = [name for name, record in records.items() if base.get(name) != record]
        changes: dict[str, tuple[int, Record | None]] = {
            name: (self.stored.generation_of(name), copied(records[name])) for name in changed
        }
        changes |= {name: (self.stored.generation_of(name), None) for name in base.keys() - records}
        if not changes:
            return
        if records.keys() - base.keys():  # another host may be moving the vault away: there a new one would be lost
            changes.setdefault(REST, (self.stored.generation_of(REST), base.get(REST)))
        stored = self._storage.commit(self._key, changes, self._write_id)
        if stored is None:
            raise VaultBusy("the vault was changed by another process meanwhile")
        self.stored, self._write_id = stored, os.urandom(8).hex()


class Renewing:
    """A credential's lease while it is held, with the key that seals an answer.

    `interrupted` is the generation for which an earlier client sent a request without getting an answer, or None;
    `elsewhere` is as in `contract.Lease`.
    """

    def __init__(self, vault: "Vault", lease: "Lease", credential_id: str, key: "Key | None") -> None:
        self._vault = vault
        self._lease = lease
        self._id = credential_id
        self._key = key
        self.interrupted = self._merge_left_over()
        self.elsewhere = lease.elsewhere

    def intend(self, generation: int) -> None:
        """Record that a new token is about to be requested, and reserve disk space. Raises `VaultUnwritable`.

        A refresh token can be spent only once, so a full disk must show before that.
        """
        try:
            self._lease.intend(sealed.intent(generation, ANSWER_ROOM_BYTES))
        except VaultUnwritable:
            if self.interrupted is None:  # else an earlier request may have been sent
                self._lease.clear()  # others may need the space
            raise

    def keep(self, generation: int, answer: "Record") -> None:
        """Store the answer durably, sealed. Raises `VaultUnwritable`."""
        self._lease.write(sealed.seal_answer(self._key, self._id, generation, json.dumps(answer).encode()))

    def merge(self, generation: int, answer: "Record") -> None:
        """Apply the answer to the vault. Raises what `Vault.transaction` raises."""
        merge = self._vault.merge
        if merge is None:
            raise VaultBusy("the answer to a renewal must be stored in the vault first", hint=_STATUS)
        with self._vault.transaction() as tx:
            merge(tx.content, self._id, generation, answer)

    def forget(self) -> None:
        """Clear the lease: the answer is in the vault, or none will come."""
        self._lease.clear()

    def _merge_left_over(self) -> int | None:
        left = sealed.open_answer(self._key, self._id, self._lease.read())
        if left is None:
            return None
        generation, answer = left
        if answer is None:
            return generation
        self.merge(generation, json.loads(answer))
        self.forget()
        return None


class Vault:
    """Content in a storage, with the key while it is unlocked, and the last snapshot."""

    def __init__(self, storage: "Storage", key: "Key | None" = None) -> None:
        """`key` is compared with the vault when it is first used."""
        self.storage = storage
        self.merge: Merge | None = None
        """Applies an answer to a renewal to the content; where it is None, answers stay in their leases."""
        self.is_transferred = False
        """Whether it is one end of a transfer, which alone may use a vault that was moved."""
        self._key = key
        self._cached: tuple[Stored, Snapshot] | None = None
        self._leased: set[str] = set()
        self._mutex = threading.Lock()  # guards key and cache; never held while waiting

    @property
    def state(self) -> str:
        """`memory`, `open` (there is a key, perhaps no file yet), `locked`, or `absent`; at most one stat."""
        if not self._is_sealed:
            return "memory"
        if self._key is not None:
            return "open"
        return "absent" if self.storage.watch() is None else "locked"

    @property
    def key(self) -> "Key | None":
        """The key, for a successor of this process; None while locked."""
        return self._key

    def header(self) -> sealed.Header | None:
        """The header, which needs no key; None where there is no vault.

        Raises `NewerVault`, `VaultDamaged`, `VaultUnreadable`, `InsecurePath`.
        """
        return self.storage.header()

    def snapshot(self) -> Snapshot:
        """The content as it is now; one stat, and the same object, when nothing has changed.

        Raises `VaultLocked` (or its `WrongKey`), `VaultDamaged`, `VaultMoved`, `NewerVault`, `VaultUnreadable`,
        `InsecurePath`.
        """
        with self._mutex:
            key, cached = self._key, self._cached
        if cached is not None and cached[0].stamp == self.storage.watch():
            return cached[1]
        self._merge_without_waiting()
        stored = self._read(key)
        snapshot = _snapshot(stored)
        with self._mutex:
            if self._key is key:  # not if locked meanwhile
                self._cached = (stored, snapshot)
        return snapshot

    @property
    def has_left_over(self) -> bool:
        """Whether an answer may be left over, from here or from a killed process. False while locked."""
        return self._key is not None and bool(self._others_leases())

    def awaited(self) -> list[str]:
        """The credentials of which other hosts wait for a renewal that was cut off here; not those under way."""
        return self._others_leases() if self.storage.is_shared else []

    @contextmanager
    def transaction(self, *, wait: bool = True) -> "Iterator[Transaction]":
        """Under the lock: the content read afresh, to be changed; if it was, stored at the end (not on an exception).

        Answers that were left over are in it by then. Raises what `snapshot` raises, `VaultBusy` after a minute's
        wait (at once without `wait`), and `VaultUnwritable`.
        """
        self._needed_key()  # before the lock: a locked vault gets no lock file
        with self.storage.lock(wait=wait):
            with self._mutex:
                cached = self._cached
            key = self._needed_key()
            stored = self._read(key, None if cached is None else cached[0])
            transaction = Transaction(self.storage, key, stored)
            self._merge_left_over(key, transaction)
            yield transaction
            transaction.commit()
            if transaction.stored is not stored and not transaction.recovered:
                with self._mutex:  # saves reading it again, 20 ms with 10,000 credentials; not if locked meanwhile
                    is_open = self._key is key
                    self._cached = (transaction.stored, _snapshot(transaction.stored)) if is_open else None

    def follow(self) -> None:
        """Have what other hosts change brought in from now on, by a thread."""

        def bring_in() -> None:
            with suppress(Error), self.transaction():  # locked or out of reach: who reads or changes it is told
                pass

        self.storage.follow(bring_in)

    @contextmanager
    def lease(self, credential_id: str) -> "Iterator[Renewing]":
        """Hold the right to renew one credential; what an earlier client left over is in the vault by then.

        The vault's lock is not held meanwhile. Raises what `transaction` raises.
        """
        self._needed_key()  # as in `transaction`
        with self.storage.lease(credential_id) as lease:
            self._leased.add(credential_id)
            try:
                yield Renewing(self, lease, credential_id, self._needed_key())
            finally:
                self._leased.discard(credential_id)

    def unlock(self, key: "Key") -> None:
        """Take `key` from here on, if it is the vault's (or there is no vault yet). Raises `WrongKey`."""
        header = self.header()
        if header is not None and header.key_id != key.id:
            hint = f"this one is from {key.source}, the vault's {header.source}"
            raise WrongKey("the vault is encrypted with another key", hint=hint)
        with self._mutex:
            self._key, self._cached = key, None

    def lock(self) -> None:
        """Forget key and content; a transaction under way ends with the key it began with. No effect in memory."""
        with self._mutex:
            self._key = self._cached = None

    def acquire(self, env: "Mapping[str, str]", *, create: bool = False) -> None:
        """Unlock with the key that `env` and the keyring have for this vault; see `key_sources.obtain`.

        With `create`, where there is no vault and no key either, the keyring is given a new key, and the vault is
        written with it before anybody else may look. Memory needs none.
        """
        if not self._is_sealed:
            return
        header = self.header()
        if header is None and create and key_sources.from_environment(env) is None:
            self._found(env)
        else:
            self.unlock(key_sources.obtain(env, header))

    def rekey(self, new_key: "Key") -> None:
        """Seal the vault with `new_key` instead, so that the old key opens nothing any more; see `Storage.reseal`.

        Every lease is held meanwhile and what was left over is merged first, for an answer under the old key would be
        lost. Waits for renewals under way. Raises `VaultBusy` after a minute.
        """
        with ExitStack() as leases:
            held: set[str] = set()
            while True:
                for name in sorted(set(self.storage.leases()) - held):
                    leases.enter_context(self.lease(name))
                    held.add(name)
                with self.transaction():
                    if set(self.storage.leases()) <= held:  # who begins from now on finds the new key first
                        self.storage.reseal(self._needed_key(), new_key)
                        with self._mutex:
                            self._key, self._cached = new_key, None
                        return

    def _found(self, env: "Mapping[str, str]") -> None:
        """Begin a vault with a new key in the keyring; two that do it at once end with one key."""
        from git_credential_bitbucket.vault import keyring_key  # lazy: it starts processes

        with self.storage.lock():
            header = self.header()
            if header is not None:
                self.unlock(key_sources.obtain(env, header))
                return
            key = keyring_key.make(env)
            try:
                self.storage.commit(key, {REST: (0, {})}, os.urandom(8).hex())
            except VaultUnwritable:
                with suppress(KeyringUnavailable):  # it opens nothing, and the first error is the one to tell
                    keyring_key.remove(env, key.id)
                raise
            self.unlock(key)

    @property
    def _is_sealed(self) -> bool:
        return self.storage.durability() != "process"

    def _others_leases(self) -> list[str]:
        """The leases in which something may be left over: all but those that are held here."""
        return [name for name in self.storage.leases() if name not in self._leased]

    def _needed_key(self) -> "Key | None":
        with self._mutex:
            key = self._key
        if key is None and self._is_sealed:
            raise VaultLocked("the vault is locked")
        return key

    def _read(self, key: "Key | None", known: "Stored | None" = None) -> "Stored":
        try:
            stored = self.storage.read(key, known)
        except WrongKey:
            with self._mutex:
                if self._key is key:  # another process has rekeyed: lock, so that the new key is looked up
                    self._key = self._cached = None
            raise
        if not self.is_transferred and MOVED_TO in (rest := stored.records.get(REST, {})):
            with self._mutex:
                self._cached = None
            raise moved(rest)
        return stored

    def _merge_left_over(self, key: "Key | None", transaction: Transaction) -> None:
        """Merge whole answers that killed processes left, and clear away what belongs to no credential any more."""
        if (merge := self.merge) is None:
            return
        for name in self._others_leases():
            try:
                with self.storage.lease(name, wait=False) as lease:
                    left = sealed.open_answer(key, name, lease.read())
                    if left is not None and left[1] is not None:
                        merge(transaction.content, name, left[0], json.loads(left[1]))
                        transaction.commit()
                        lease.clear()
                    elif left is None or all(r["id"] != name for r in transaction.content.get("credentials", ())):
                        lease.clear()
            except VaultBusy:  # a renewal is under way
                continue

    def _merge_without_waiting(self) -> None:
        if self.merge is None or not self._others_leases():
            return
        # The reading that follows raises what is wrong; the answer is merged next time.
        with suppress(Error), self.transaction(wait=False):
            pass


def moved(content: "Record") -> VaultMoved:
    """The error that tells where the content went."""
    to, host = content[MOVED_TO], content.get(MOVED_ON)
    return VaultMoved(shown(to), typed(to), None if host in (None, os.uname().nodename) else shown(host))


def _snapshot(stored: "Stored") -> Snapshot:
    content = content_of(stored.records)
    return Snapshot(content, stored.generation, stored.recovered, stored.needs_repair, stored.altered)


def notice(vault: Vault) -> Notice | None:
    """The message about a damaged vault; None where there is no damage, or it cannot be determined yet."""
    current = vault.storage.shown
    try:
        snapshot = vault.snapshot() if vault.state == "open" else None
        if snapshot is not None and (altered := snapshot.altered):
            names = ", ".join(shown(name) for name in altered[:MAX_NAMED])
            more = f" and {len(altered) - MAX_NAMED} more" if len(altered) > MAX_NAMED else ""
            cause = f"records were altered on the server of the vault {current} and are not used: {names}{more}"
            hint = "check who can write to the server; for what is missing, run: git-credential-bitbucket login"
            return Notice(current, cause, hint)
        if snapshot is not None and snapshot.needs_repair:
            cause = (
                f"the vault {current} is damaged and cannot be moved aside yet; its previous version is used, without"
                " the changes of its last write"
            )
            return Notice(current, cause, "make it writable; the next write repairs it")
    except Error:  # it is not this notice's to tell: whoever reads the vault meets it as well
        pass
    try:
        path = vault.storage.damaged()
    except Error:
        return None
    if path is None:
        return None
    cause = f"the vault was damaged: {shown(path)} was moved aside, and the changes of its last write are missing"
    cure = "log in again for what is missing (git-credential-bitbucket login), then remove the damaged file: rm "
    return Notice(shown(path), cause, cure + typed(path))
