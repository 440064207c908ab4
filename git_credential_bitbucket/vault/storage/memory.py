"""A storage in this process's memory: no files, no key, no encryption."""

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from git_credential_bitbucket.vault.lock import Turn
from git_credential_bitbucket.vault.storage.contract import LOCK_TIMEOUT_S, Lease, Storage, Stored, applied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.vault.key import Key
    from git_credential_bitbucket.vault.storage.contract import Changes, Durability, Stamp


class MemoryStorage(Storage):
    """A `contract.Storage` in memory."""

    shown = "memory"
    is_at_hand = True

    def __init__(self, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._turn = Turn()
        self._stored = Stored({})
        self._leases: dict[str, _MemoryLease] = {}
        self._guard = threading.Lock()

    def durability(self) -> "Durability":
        """It ends with the process."""
        return "process"

    def watch(self) -> "Stamp | None":
        """The count of commits."""
        return self._stored.stamp

    def header(self) -> None:
        """None: nothing is sealed."""

    def read(self, key: "Key | None", known: Stored | None = None) -> Stored:
        """The records; no key is needed."""
        del key, known
        return self._stored

    def commit(self, key: "Key | None", changes: "Changes", write_id: str) -> Stored | None:
        """As `contract.Storage.commit`."""
        del key
        with nullcontext() if self._turn.is_mine else self.lock():
            if self._stored.write_id == write_id:
                return self._stored
            if (stored := applied(self._stored, changes, write_id)) is None:
                return None
            generation = stored.generation + 1
            self._stored = stored._replace(generation=generation, stamp=(generation, 0, 0, 0))
            return self._stored

    def reseal(self, key: "Key | None", new_key: "Key") -> None:
        """Nothing is sealed here."""

    @contextmanager
    def lock(self, *, wait: bool = True) -> "Iterator[None]":
        """Among threads."""
        with self._turn.taken(self._lock_timeout_s if wait else 0.0):
            yield

    @contextmanager
    def lease(self, key: str, *, wait: bool = True) -> "Iterator[_MemoryLease]":
        """Among threads."""
        with self._guard:
            lease = self._leases.setdefault(key, _MemoryLease())
        with lease.turn.taken(self._lock_timeout_s if wait else 0.0):
            yield lease

    def leases(self) -> list[str]:
        """Those with something left in them."""
        return [key for key, lease in list(self._leases.items()) if lease.blob]


class _MemoryLease(Lease):
    def __init__(self) -> None:
        self.turn = Turn()
        self.blob = b""

    def read(self) -> bytes:
        return self.blob

    def write(self, blob: bytes) -> None:
        self.blob = blob

    def clear(self) -> None:
        self.blob = b""
