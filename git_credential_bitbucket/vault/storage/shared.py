"""A vault that several hosts share: sealed records on a server, and on each host a copy of them in a sealed file.

What is read without the lock is the copy, so that a `get` needs no server, nor does a host where it cannot be reached.
Under the lock the copy is brought up to date first. The server is not trusted: each record is bound to vault, name and
generation, and one that is older than the copy's, or gone without a sealed tombstone, is put there again.

A refresh token is spent once in the whole fleet because its record on the server holds the intent of the host that is
about to: whoever else has the lease later finds it. The lease itself only saves requests: it may end while held.
"""

import json
import os
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import (
    VaultBusy,
    VaultChanged,
    VaultDamaged,
    VaultLocked,
    VaultUnreachable,
    VaultUnwritable,
)
from git_credential_bitbucket.paths import shown, typed
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.storage.contract import LOCK_TIMEOUT_S, Intent, Lease, Storage, Stored, applied
from git_credential_bitbucket.vault.storage.file import FileStorage, no_step
from git_credential_bitbucket.vault.storage.host_copy import HostCopy
from git_credential_bitbucket.vault.storage.redis_server import CHANCE, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.vault.key import Key
    from git_credential_bitbucket.vault.storage.contract import Changes, Record, Stamp
    from git_credential_bitbucket.vault.storage.redis_server import Blob, Head, RedisServer

LEASE_S = 30.0
"""How long a lease lasts: as most requests to Bitbucket at their slowest. Who has it after that finds the intent."""
NOTE_EVERY_S = 3600.0
_OVER = b"is over\n"
"""In a slot, in the place of an answer's magic: no answer will come, or it is in the vault."""
_INTENT_ID_BYTES = 16
_INTENT_BYTES = sealed.INTENT_BYTES + _INTENT_ID_BYTES
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_RECONNECT_S, _LONGEST_RECONNECT_S = 2.0, 6.0
_STAMP_WITHOUT_COPY = (0, 0, 0, 0)


class SharedStorage(Storage):
    """A `contract.Storage` on a server, with a copy in a file."""

    note_every_s = NOTE_EVERY_S
    is_shared = True

    def __init__(
        self,
        server: "RedisServer",
        path: str,
        *,
        step: "Callable[[str], None]" = no_step,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        """`path` is the copy's; `step` is told each point that a crash test may stop at."""
        self.copy = FileStorage(path, lock_timeout_s=lock_timeout_s)
        self._server = server
        self._step = step
        self._lock_timeout_s = lock_timeout_s
        self._held: HostCopy | None = None  # under the lock: what the server had
        self._version: tuple[bytes, bytes] | None = None  # the server's, as of the copy
        self._known: Stored | None = None
        self._is_current = False
        self._is_followed = False
        self._fences: dict[str, int] = {}

    @property
    def shown(self) -> str:
        """The server's address as messages name it."""
        return self._server.shown

    def watch(self) -> "Stamp | None":
        """The copy's stamp: one stat. The server is asked only while there is no copy, and not where it is followed."""
        stamp = self.copy.watch()
        if stamp is None and not self._is_current and (self._is_followed or self.header() is not None):
            return _STAMP_WITHOUT_COPY
        return stamp

    @property
    def is_at_hand(self) -> bool:
        """Whether nobody is asked; a follower's loop must not wait for the server."""
        return not self._is_followed or self._is_current or self.copy.watch() is not None

    def header(self) -> sealed.Header | None:
        """The server's; the copy's where it cannot be reached."""
        try:
            head = self._server.head()
        except VaultUnreachable:
            if (copied := self.copy.header()) is None:
                raise
            return copied
        if head is None and self.copy.watch() is None:
            self._is_current = True  # there is nothing to read
        return self.copy.header() if head is None else sealed.header_of(head.header)

    def read(self, key: "Key | None", known: Stored | None = None) -> Stored:
        """As `contract.Storage.read`: the copy, with a look at the server under the lock, and first unless followed."""
        del known
        if self.copy.has_lock:
            self._held = self._pull(key)
            return self._held.stored
        has_copy = self.copy.watch() is not None
        if not self._is_current and not (has_copy and self._is_followed):
            try:
                with self.lock(wait=not has_copy):
                    return self._pull(key).stored
            except (VaultUnreachable, VaultBusy, VaultUnwritable):  # unwritable: the copy, in a home that is read-only
                if not has_copy:
                    raise
        return self._copied(key).stored

    def read_back(self, key: "Key") -> "dict[str, Record]":
        """As `contract.Storage.read_back`, from the server alone."""
        head = self._server.head()
        vault = "" if head is None else sealed.unseal(key, head.header)[1].decode()
        opened = {name: _opened(key, vault, name, blob) for name, blob in self._server.blobs(self._server.index())}
        return {name: record for name, record in opened.items() if record}

    def commit(self, key: "Key | None", changes: "Changes", write_id: str) -> Stored | None:
        """As `contract.Storage.commit`; takes the lock unless this thread holds it."""
        with nullcontext() if self.copy.has_lock else self.lock():
            held, self._held = self._held or self._pull(key), None
            if key is None:
                raise VaultLocked("the vault is locked")
            records = {name: record for name, (_, record) in changes.items()}
            same = {name for name, record in records.items() if held.records.get(name) == record}
            written = {name for name in records if held.versions.get(name, (0, ""))[1] == write_id}
            if written and written | same == records.keys():
                return held.stored
            if applied(held.stored, changes, write_id) is None:
                return None
            before = {name: held.versions.get(name, (0, ""))[0] for name in records}
            after = {name: generation + (name not in same) for name, generation in before.items()}
            outcome = self._put(key, held, records, before, after, write_id)
            if outcome == "stale":
                self._pull(key)
                return None
            self._step("shared-committed")
            self._held = held
            return self._keep(key, held).stored

    def reseal(self, key: "Key | None", new_key: "Key") -> None:
        """Seal everything with `new_key`, on the server and here; other hosts find the new key id and look for it.

        Raises `VaultBusy` while any host renews a token: its answer would be sealed with the old key.
        """
        if key is None:
            raise VaultLocked("the vault is locked")
        held = self._pull(key)
        before = {name: generation for name, (generation, _) in held.versions.items()}
        records = {name: held.records.get(name) for name in before}
        after = {name: generation + 1 for name, generation in before.items()}
        held.needs_header = True
        outcome = self._put(new_key, held, records, before, after, os.urandom(8).hex())
        if outcome == "busy":
            hint = "run the command again in a minute; which one: git-credential-bitbucket status"
            raise VaultBusy("a token of this vault is being renewed, or its renewal was cut off", hint=hint)
        if outcome == "stale":
            raise VaultBusy("another host changed the vault meanwhile")
        self.copy.reseal(key, new_key)
        self._known = None
        self._held = self._keep(new_key, held)

    @contextmanager
    def lock(self, *, wait: bool = True) -> "Iterator[None]":
        """Be the one writer of this host inside. Raises as the file's."""
        with self.copy.lock(wait=wait):
            try:
                yield
            finally:
                self._held = None

    @contextmanager
    def lease(self, key: str, *, wait: bool = True) -> "Iterator[Lease]":
        """The file's lease on this host, then the server's among hosts; an answer is written to this host's disk."""
        with self.copy.lease(key, wait=wait) as slot:
            lease = _SharedLease(self, self._server, slot, key)
            if not wait:
                yield lease
                return
            self._fences[key] = self._acquire(lease)
            try:
                lease.find_intent()
                lease.withdraw_what_is_over()
                yield lease
            finally:
                self._fences.pop(key, None)
                try:
                    self._server.release(key, lease.token)
                except VaultUnreachable:  # it ends by itself
                    pass

    def _acquire(self, lease: "_SharedLease") -> int:
        deadline = time.monotonic() + self._lock_timeout_s
        pause = _FIRST_PAUSE_S
        before = None
        while isinstance(found := self._server.acquire(lease.name, lease.token, LEASE_S), str):
            if before is None:
                before = self._server.version(lease.name)
            elif self._server.version(lease.name) != before:
                raise VaultChanged("another host renewed it meanwhile")
            if time.monotonic() >= deadline:
                raise VaultBusy(f"another host holds a credential's lease: {_holder(found)}", hint="wait for it")
            time.sleep(pause * CHANCE.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        return found

    def leases(self) -> list[str]:
        """Those of this host."""
        return self.copy.leases()

    def follow(self, bring_in: "Callable[[], None]") -> None:
        """As `contract.Storage.follow`, from the server's announcements."""

        def run() -> None:
            pause = _RECONNECT_S
            while True:
                try:
                    for _ in self._server.changes():
                        bring_in()
                        if self._server.fault is not None:
                            break  # nor is what it announces heard any more, which that connection may not show
                        pause = _RECONNECT_S
                except VaultUnreachable:
                    pass
                time.sleep(pause * CHANCE.uniform(0.5, 1.5))
                pause = min(pause * 1.5, _LONGEST_RECONNECT_S)

        self._is_followed = True
        threading.Thread(target=run, name="shared vault", daemon=True).start()

    def fault(self) -> "VaultUnreachable | None":
        """What the server was last seen to fail with."""
        return self._server.fault

    def _copied(self, key: "Key | None") -> HostCopy:
        try:
            self._known = self.copy.read(key, self._known)
        except VaultDamaged:
            if not self.copy.has_lock:
                raise
            self._known = Stored({})  # the server has it
        return HostCopy(self._known)

    def _pull(self, key: "Key | None") -> HostCopy:
        """The copy, as new as the server; under the lock. What the server lost is put there again."""
        head = self._server.head()
        if key is None:
            if head is None and self.copy.watch() is None:
                return HostCopy(Stored({}))
            raise VaultLocked("the vault is locked")
        copy = self._own_copy(key, head)
        if head is not None and head.version == self._version:
            return copy
        index = {} if head is None else self._server.index()
        behind = [n for n, version in index.items() if version != copy.versions.get(n)]
        taken = restored = False
        altered = []
        for name, blob in self._server.blobs(behind):
            plain = _opened(key, copy.vault, name, blob)
            if plain is False:
                altered.append(name)
                index |= {name: copy.versions[name]} if name in copy.versions else {}  # nobody writes over it
                continue
            index[name] = (blob.generation, blob.write_id)  # perhaps newer by now
            if copy.is_behind(name, blob.generation, plain):
                taken = True
                copy.versions[name] = index[name]
                copy.records.pop(name, None)
                if plain is not None:
                    copy.records[name] = plain
        restored = self._restore(key, copy, index)
        if taken or restored or tuple(altered) != copy.altered:
            copy.altered = tuple(altered)
            copy = self._keep(key, copy)
        self._version = None if head is None or restored else head.version
        self._is_current = True
        return copy

    def _own_copy(self, key: "Key", head: "Head | None") -> HostCopy:
        """The copy, if it is of the vault that the server has; an empty one where there is none."""
        vault = None if head is None else sealed.unseal(key, head.header)[1].decode()  # first: it may be forged
        if vault is not None:
            own = self.copy.header()
            if own is not None and own.key_id != key.id:  # another host has sealed the vault with another key
                self._forget_copy()
        copy = self._copied(key)
        if head is None or vault is None:
            copy.needs_header = True
            return copy
        if vault != head.vault or copy.vault not in ("", vault):
            raise VaultDamaged(
                f"the server {self.shown} has a different vault from the one that this host knows",
                hint=f"if that is intended, remove this host's copy: rm -r {typed(os.path.dirname(self.copy.path))}",
            )
        copy.vault = vault
        return copy

    def _forget_copy(self) -> None:
        for name in (self.copy.path, f"{self.copy.path}.previous", f"{self.copy.path}.new"):
            files.unlink_if_there(name)
        self._known = self._version = None

    def _restore(self, key: "Key", copy: HostCopy, index: dict[str, tuple[int, str]]) -> bool:
        """Put what the server has in an older generation, or not at all, there again: it lost its last writes.

        Returns whether there was any.
        """
        lost = {n: v[0] for n, v in copy.versions.items() if index.get(n, (0, ""))[0] < v[0] or index[n] != v}
        if not lost:
            return False
        before = {name: index.get(name, (0, ""))[0] for name in lost}
        after = {name: max(generation, before[name] + 1) for name, generation in lost.items()}
        records = {name: copy.records.get(name) for name in lost}
        if self._put(key, copy, records, before, after, os.urandom(8).hex()) != "ok":
            raise VaultBusy("another host changed the vault meanwhile")
        return True

    def _put(
        self,
        key: "Key",
        copy: HostCopy,
        records: "dict[str, Record | None]",
        before: dict[str, int],
        after: dict[str, int],
        write_id: str,
    ) -> str:
        """Commit records to the server and, where that went well, to `copy`; see `RedisServer.commit`.

        One whose generation stays is only compared.
        """
        self._version = None  # as of before this write: a failover may bring that back
        vault = copy.vault or os.urandom(8).hex()
        header = sealed.seal(key, vault.encode(), 1) if copy.needs_header else b""
        writes = []
        for name, record in records.items():
            blob = sealed.seal_record(key, vault, name, after[name], json.dumps(record).encode())
            writes.append(Write(name, before[name], after[name], blob, self._fences.get(name, 0)))
        outcome = self._server.commit(vault, header, write_id, writes)
        if outcome == "other":  # founded by another host a moment ago
            return "stale"
        if outcome in ("ok", "already"):
            copy.vault, copy.needs_header = vault, False
            for name, record in records.items():
                if after[name] == before[name]:
                    continue
                copy.versions[name] = (after[name], write_id)
                copy.records.pop(name, None) if record is None else copy.records.update({name: record})
        return outcome

    def _keep(self, key: "Key", copy: HostCopy) -> HostCopy:
        """Write the copy to this host's disk."""
        records = copy.to_records()
        base = self.copy.read(key, self._known)
        changes: dict[str, tuple[int, Record | None]] = {
            name: (base.generation_of(name), record)
            for name, record in records.items()
            if base.records.get(name) != record
        }
        changes |= {name: (base.generation_of(name), None) for name in base.records.keys() - records}
        written = self.copy.commit(key, changes, os.urandom(8).hex())
        if written is None:
            raise VaultBusy("another process wrote this host's copy meanwhile")
        self._known = written
        copy.file = written
        return copy

    def generation_of(self, name: str) -> int:
        """What the server had of a record when the lock was taken; 0 outside the lock."""
        return 0 if self._held is None else self._held.versions.get(name, (0, ""))[0]


class _SharedLease(Lease):
    """As `contract.Lease` says: the intent is on the server too, the answer on this host's disk.

    Both have the intent's id, at the end of the slot, where no usual answer reaches: so it is known whose it is.
    """

    def __init__(self, storage: SharedStorage, server: "RedisServer", slot: "Lease", name: str) -> None:
        self.name = name
        self._storage = storage
        self._server = server
        self._slot = slot
        self._who = (
            f"{os.uname().nodename} (process {os.getpid()}) at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"
        )
        self.token = f"{os.urandom(16).hex()} {self._who}"

    def find_intent(self) -> None:
        """Look for an intent that another host left; raises what the server does."""
        found = self._server.intent(self.name)
        if found is None or found[0] == self._intent:
            return
        intent, by, ago_s = found
        left = sealed.open_answer(None, self.name, intent)
        self.elsewhere = Intent(0 if left is None else left[0], shown(by)[:200], ago_s)

    @property
    def _intent(self) -> bytes:
        return self._slot.read()[-_INTENT_BYTES:]

    def withdraw_what_is_over(self) -> None:
        """Before the next intent: the server may have an earlier one, which would be nobody's then."""
        if self._slot.read().startswith(_OVER):
            self.clear()
            if self._slot.read():
                raise VaultUnreachable("the last renewal's note could not be removed from the shared vault's server")

    def intend(self, blob: bytes) -> None:
        earlier, named = self._intent, blob[: sealed.INTENT_BYTES]
        is_again = earlier.startswith(named)  # it was cut off, perhaps after its request: the server has that intent
        self._slot.intend(blob + (earlier if is_again else named + os.urandom(_INTENT_ID_BYTES)))
        generation = self._storage.generation_of(self.name)
        if not self._server.intend(self.name, self.token, generation, self._intent, self._who):
            if not is_again:
                self._slot.clear()
            raise VaultBusy("another host changed the credential meanwhile")

    def read(self) -> bytes:
        return self._slot.read()

    def write(self, blob: bytes) -> None:
        self._slot.write(blob)

    def clear(self) -> None:
        """Without an answer others wait for this host until the intent is withdrawn for good: `Vault.transaction`."""
        held = self._slot.read()
        left = sealed.open_answer(None, self.name, held)
        is_answered = left is not None and left[1] is not None
        if held and not is_answered and not held.startswith(_OVER):
            self._slot.write(_OVER)
        try:
            if held:
                self._server.withdraw(self.name, held[-_INTENT_BYTES:], is_durable=not is_answered)
        except VaultUnreachable:
            return
        self._slot.clear()


def _opened(key: "Key", vault: str, name: str, blob: "Blob") -> "Record | Literal[False] | None":
    """A record, None for a tombstone, or False where it was altered, or exchanged for another."""
    try:
        opened: Record | None = json.loads(sealed.open_record(key, vault, name, blob.generation, blob.sealed))
    except VaultDamaged:
        return False
    return opened


def _holder(token: str) -> str:
    """The host, process and time in a lease's token, for a message."""
    return shown(token.partition(" ")[2] or "unknown")[:200]
