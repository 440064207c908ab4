"""What every storage of a vault offers: records read, compared and set, leases, and how long what it holds lasts.

A storage takes plain records and seals them itself, with the key that each call brings. What a record means is not
its affair: the vault's content is its credentials, a record each, and `REST`, a record with everything else.
"""

import marshal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from git_credential_bitbucket.errors import Error
    from git_credential_bitbucket.vault.format import Header
    from git_credential_bitbucket.vault.key import Key

    Changes = Mapping[str, tuple[int, "Record | None"]]

Record = dict[str, Any]
Stamp = tuple[int, int, int, int]
Durability = Literal["process", "disk"]

REST = ""
"""The key of the record that holds what is no credential."""
_CONTAINERS = frozenset({dict, list})
LOCK_TIMEOUT_S = 60.0
"""How long the vault's lock or a lease is waited for."""


class Stored(NamedTuple):
    """All records at one moment, shared by all who read them: to change one, commit another in its place.

    `encoded` is the JSON of all credentials, separated by commas; None where no storage has needed it.
    `recovered` is true while they come from an earlier generation, because the last one was damaged: their refresh
    tokens may have been spent. `needs_repair`: the damaged file still has the vault's name.
    """

    records: dict[str, Record]
    generation: int = 0
    write_id: str = ""
    recovered: bool = False
    needs_repair: bool = False
    stamp: Stamp | None = None
    encoded: bytes | None = None
    generations: dict[str, int] | None = None
    """Each record's own, where the storage counts them; else all have the `generation` of the whole."""
    altered: tuple[str, ...] = ()
    """The keys of records on a server that no host wrote so: `records` has what this host knew of them, or nothing."""

    def __repr__(self) -> str:
        return f"Stored(generation={self.generation})"

    def generation_of(self, key: str) -> int:
        """What a commit that changes the record must expect; 0 where there is none."""
        if key not in self.records:
            return 0
        return self.generation if self.generations is None else self.generations[key]


class Intent(NamedTuple):
    """A request that was about to be sent: for which generation of a token, by whom, and how many seconds ago."""

    generation: int
    by: str
    ago_s: float


class Lease(Protocol):
    """The right to renew one credential, held by one process at a time, with room for the answer to its request."""

    elsewhere: "Intent | None" = None
    """What another host left when it had the lease, and may still be at; None where there is none."""

    def intend(self, blob: bytes) -> None:
        """`write` that a request will be sent, wherever others look before they send one.

        Raises `VaultUnwritable`, and then none may be sent.
        """
        self.write(blob)

    def read(self) -> bytes:
        """What this or an earlier client wrote; empty where nothing is left."""
        ...

    def write(self, blob: bytes) -> None:
        """Write `blob` over what is there, durably. Raises `VaultUnwritable`."""
        ...

    def clear(self) -> None:
        """Forget what was written."""
        ...


class Storage(Protocol):
    """Where a vault's records are. Its methods raise the vault's errors, whatever lies below.

    What stands here in full is right for one that no other host has.
    """

    is_shared: bool = False
    """Whether other hosts have it too, and wait for a renewal that is left over on this one."""
    note_every_s: float = 0.0
    """How far a record's time of last use may lag behind, in seconds, for a write to be worth it."""

    @property
    def shown(self) -> str:
        """Where that is, as messages name it."""
        ...

    def durability(self) -> Durability:
        """How long it lasts: as this `process`, unsealed; or as a `disk`, sealed with a key."""
        return "disk"

    def watch(self) -> Stamp | None:
        """A value that is another one after every change, had as cheaply as possible; None where nothing is stored."""
        ...

    @property
    def is_at_hand(self) -> bool:
        """Whether reading asks nobody who may not answer."""
        ...

    def header(self) -> "Header | None":
        """What is known without a key; None where nothing is stored. Raises `NewerVault`, `VaultDamaged`."""
        ...

    def read(self, key: "Key | None", known: Stored | None = None) -> Stored:
        """All records as they are now; under the lock, `known` itself where that is what is stored.

        Raises `VaultLocked`, `WrongKey`, `VaultDamaged`, `NewerVault`.
        """
        ...

    def read_back(self, key: "Key") -> dict[str, Record]:
        """The records as a client reads them that knows none yet. Raises as `read`."""
        return self.read(key).records

    def commit(self, key: "Key | None", changes: "Changes", write_id: str) -> Stored | None:
        """Set each record, or remove it (None), durably and all at once, if each has the generation expected of it.

        Returns what is stored then, each record that changed with the next generation; None where one has another
        generation and nothing was changed. A commit that failed may be repeated with its `write_id`: it is not
        applied twice. The records are the storage's from now on. Raises `VaultUnwritable`.
        """
        ...

    def reseal(self, key: "Key | None", new_key: "Key") -> None:
        """Seal everything with another key, under `lock`. Raises `VaultUnwritable`."""
        ...

    def lock(self, *, wait: bool = True) -> "AbstractContextManager[None]":
        """Be the one writer inside. Raises `VaultBusy`."""
        ...

    def lease(self, key: str, *, wait: bool = True) -> "AbstractContextManager[Lease]":
        """Hold the lease of one credential inside. Raises `VaultBusy`.

        Without `wait` it is for merging what is left in it: no request may be sent. `VaultChanged` where another host
        changed the record while its lease was waited for.
        """
        ...

    def leases(self) -> list[str]:
        """The credentials whose lease is held, or has something left in it."""
        ...

    def follow(self, bring_in: "Callable[[], None]") -> None:
        """Have `bring_in`, which reads under the lock, called in a thread whenever other hosts may have changed it."""
        del bring_in

    def fault(self) -> "Error | None":
        """Why nothing can be changed, as of the last try, while what is stored can be read; None without a fault."""
        return None

    def damaged(self) -> str | None:
        """The path of the newest damaged file that was renamed; None where there is none."""
        return None


def applied(stored: Stored, changes: "Changes", write_id: str) -> Stored | None:
    """`stored` after `changes`, in the same generation; None where one of them expects another generation."""
    if any(stored.generation_of(key) != expected for key, (expected, _) in changes.items()):
        return None
    records = dict(stored.records)
    for key, (_, record) in changes.items():
        if record is None:
            records.pop(key, None)
        else:
            records[key] = record
    return stored._replace(records=records, encoded=None, write_id=write_id)


def records_of(content: Record) -> dict[str, Record]:
    """A vault's content as records by key, `REST` last; two credentials with one id are two records."""
    credentials = content.get("credentials", ())
    records = {record.get("id", REST): record for record in credentials}
    if len(records) != len(credentials) or REST in records:
        records = {}
        for record in credentials:
            key = record.get("id", REST)
            while key in records or key == REST:
                key += "'"
            records[key] = record
    if rest := {name: value for name, value in content.items() if name != "credentials"}:
        records[REST] = rest
    return records


def content_of(records: "Mapping[str, Record]") -> Record:
    """The opposite of `records_of`."""
    content = dict(records.get(REST, {}))
    credentials = [record for key, record in records.items() if key != REST]
    return {"credentials": credentials, **content} if credentials else content


def copied(record: Record) -> Record:
    """A deep copy of what JSON can hold, ten times as fast as `copy.deepcopy`; of most records, thirty times."""
    if _CONTAINERS.isdisjoint(map(type, record.values())):
        return record.copy()
    duplicate: Record = marshal.loads(marshal.dumps(record))  # noqa: S302 - its own output
    return duplicate
