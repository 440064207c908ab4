"""The vault: JSON content, read by snapshot and changed by transaction, sealed under a key that can be forgotten.

Owns when to lock, what counts as damage, and what is done about it; knows nothing of what the content means.
"""

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket.errors import (
    KeyDoesNotFit,
    KeyringUnavailable,
    VaultBusy,
    VaultDamaged,
    VaultLocked,
    VaultNewer,
    VaultUnwritable,
)
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault import keys
from git_credential_bitbucket.vault.content import EMPTY, Loaded, Snapshot, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from git_credential_bitbucket.vault.memory import MemoryPlace
    from git_credential_bitbucket.vault.place import FilePlace, Stamp

_GENERATION_BYTES = 8
"""In memory nothing is sealed: the generation's number, then the content."""


class Vault:
    """Content at a place, under a key. A class because it holds the key, while it has one, and the last snapshot."""

    def __init__(self, place: "FilePlace | MemoryPlace", key: keys.Key | None = None) -> None:
        """`key` is compared with the vault when it is first used."""
        self.place = place
        self._key = key
        self._cached: tuple[Stamp | None, Snapshot] | None = None
        self._mutex = threading.Lock()  # around key and cache, for moments; what is waited for is the place's lock

    @property
    def state(self) -> str:
        """`memory`, `open` (there is a key, perhaps no file yet), `locked`, or `absent`; one stat at most."""
        if not self.place.durable:
            return "memory"
        if self._key is not None:
            return "open"
        return "absent" if self.place.stamp() is None else "locked"

    @property
    def key(self) -> keys.Key | None:
        """The key, for a successor of this process; None while locked."""
        return self._key

    def header(self) -> sealed.Header | None:
        """What can be told without a key, if need be from the previous generation; None where there is no vault.

        Raises `VaultNewer`, `VaultDamaged`, `VaultUnreadable`, `PlaceRefused`.
        """
        if not self.place.durable:
            return None
        held = self.place.read()
        damage = None
        if held is not None:
            try:
                return sealed.header_of(held[1])
            except VaultDamaged as exc:
                damage = exc
        kept = self.place.previous()
        if kept is None:
            if damage is None:
                return None
            raise self._beyond_repair(damage) from damage
        try:
            return sealed.header_of(kept)
        except VaultDamaged as exc:
            raise self._beyond_repair(damage or exc) from exc

    def snapshot(self) -> Snapshot:
        """The content as it is now; one stat, and the same object, when nothing has changed.

        Raises `VaultLocked` (also as `KeyDoesNotFit`), `VaultDamaged`, `VaultNewer`, `VaultUnreadable`, `PlaceRefused`.
        """
        with self._mutex:
            key, cached = self._key, self._cached
        if cached is not None and cached[0] == self.place.stamp():
            return cached[1]
        loaded = self._load(key)
        if loaded.damaged:
            loaded = self._mend_or_make_do(key, loaded)
        snapshot = Snapshot(json.loads(loaded.plain), loaded.generation, loaded.recovered, loaded.damaged)
        with self._mutex:
            if self._key is key:  # locked meanwhile: nothing may stay behind
                self._cached = (loaded.stamp, snapshot)
        return snapshot

    @contextmanager
    def transaction(self) -> "Iterator[Transaction]":
        """Under the lock: the content read afresh, to be changed; if it was, written at the end (not on an exception).

        Raises what `snapshot` raises, `VaultBusy` after a minute's wait, and `VaultUnwritable`.
        """
        self._needed_key()  # before the lock: a locked vault is not even given a lock file
        with self.place.lock():
            key = self._needed_key()
            loaded = self._load_whole(key)
            transaction = Transaction(
                loaded,
                write=lambda plain, generation, recovered: self._write(key, plain, generation, recovered=recovered),
                reserve=lambda size: self.place.reserve(size + sealed.OVERHEAD_BYTES),
            )
            if transaction.recovered and self.place.damaged() is None:
                transaction.recovered = False  # a person has removed the damaged file, and that ends it
            yield transaction
            transaction.commit()
            if transaction.generation != loaded.generation and not transaction.recovered:
                with self._mutex:  # need not be read again: 20 ms with 10,000 credentials; locked meanwhile: not kept
                    self._cached = (self.place.stamp(), transaction.snapshot()) if self._key is key else None

    def unlock(self, key: keys.Key) -> None:
        """Take `key` from here on, if it is the vault's (or there is no vault yet). Raises `KeyDoesNotFit`."""
        header = self.header()
        if header is not None and header.key_id != key.id:
            raise KeyDoesNotFit(
                "the vault was sealed with another key",
                hint=f"this one is from {key.source}, the vault's {header.source}",
            )
        with self._mutex:
            self._key, self._cached = key, None

    def lock(self) -> None:
        """Forget key and content; a transaction under way ends with the key it began with. No effect in memory."""
        with self._mutex:
            self._key = self._cached = None

    def acquire(self, env: "Mapping[str, str]", *, unlock: bool = False, create: bool = False) -> None:
        """Find the key that `env` and the keyring have for this vault, and unlock with it; see `keys.obtain`.

        `unlock` allows the keyring's dialogue. With `create`, where there is no vault and no key either, the keyring
        is given a new key, and the vault is written with it before anybody else may look. Memory needs none.
        """
        if not self.place.durable:
            return
        header = self.header()
        if header is None and create and keys.from_environment(env) is None:
            self._found(env, unlock=unlock)
        else:
            self.unlock(keys.obtain(env, header, unlock=unlock))

    def rekey(self, new_key: keys.Key) -> None:
        """Seal the vault with `new_key` instead, both generations of it, so that the old key opens nothing any more.

        Two whole writes of the same content: after the first, the vault is under the new key and its previous
        generation under the old one; the second replaces that. Killed between them, the vault is whole and the old
        key still opens the previous generation, until the next write; so whoever called may discard the old key only
        after this has returned. What the disk keeps of a removed file is the disk's affair.
        """
        with self.place.lock():
            key = self._needed_key()
            loaded = self._load_whole(key)
            for later in (1, 2):
                self._write(new_key, loaded.plain, loaded.generation + later, recovered=loaded.recovered)
                with self._mutex:
                    self._key, self._cached = new_key, None

    def _found(self, env: "Mapping[str, str]", *, unlock: bool) -> None:
        """Begin a vault with a new key in the keyring; two that do it at once end with one key."""
        from git_credential_bitbucket.vault import keyring_key  # here, not above: see keys

        if unlock:
            keyring_key.open_up(env)  # its dialogue may take a minute, and under the lock others would wait for it
        with self.place.lock():
            header = self.header()
            if header is not None:
                self.unlock(keys.obtain(env, header))
                return
            key = keyring_key.make(env)
            try:
                self._write(key, EMPTY, 1, recovered=False)
            except VaultUnwritable:
                try:
                    keyring_key.remove(env, key.id)
                except KeyringUnavailable:
                    pass  # it opens nothing, and the first error is the one to tell
                raise
            self.unlock(key)

    def _needed_key(self) -> keys.Key | None:
        with self._mutex:
            key = self._key
        if key is None and self.place.durable:
            raise _locked()
        return key

    def _load(self, key: keys.Key | None) -> Loaded:
        try:
            return self._loaded(key)
        except KeyDoesNotFit:
            with self._mutex:
                if self._key is key:  # another process has rekeyed: locked, so that the new key is looked for
                    self._key = self._cached = None
            raise

    def _loaded(self, key: keys.Key | None) -> Loaded:
        held = self.place.read()
        if held is None and self.place.previous() is None:
            return Loaded(EMPTY, 0, recovered=False, stamp=None)
        if self.place.durable and key is None:
            raise _locked()
        stamp, blob = held if held is not None else (None, b"")
        try:
            return self._unpacked(key, blob, stamp)
        except VaultDamaged as damage:
            return self._previous_instead(key, blob, stamp, damage)

    def _previous_instead(
        self, key: keys.Key | None, blob: bytes, stamp: "Stamp | None", damage: VaultDamaged
    ) -> Loaded:
        kept = self.place.previous()
        if kept is None:
            raise self._beyond_repair(damage) from damage
        try:
            loaded = self._unpacked(key, kept, stamp)
        except VaultDamaged as exc:
            raise self._beyond_repair(damage) from exc
        except KeyDoesNotFit as exc:
            try:
                sealed.header_of(blob)
            except VaultDamaged:
                raise exc from None  # nothing readable speaks for this key: locked, and the right one may mend it
            raise self._beyond_repair(damage) from exc
        return Loaded(loaded.plain, loaded.generation, recovered=True, stamp=stamp, damaged=True)

    def _load_whole(self, key: keys.Key | None) -> Loaded:
        """Under the lock: what is there, once a killed write is brought to its end and damage is mended."""
        loaded = self._load(key)
        if self._is_later(key, self.place.unfinished(), loaded.generation):
            if loaded.damaged and loaded.stamp is not None:
                self.place.set_aside()
            self.place.finish(keep_previous=not loaded.damaged)
            loaded = self._load(key)
        return self._mend(key, loaded) if loaded.damaged else loaded

    def _is_later(self, key: keys.Key | None, blob: bytes | None, generation: int) -> bool:
        """Whether a killed write left a whole generation: perhaps the only copy of a refresh token that still works.

        Half of one would not open, and a write that fails before its content is on the disk removes it.
        """
        if key is None or blob is None:
            return False
        try:
            header, _ = sealed.unseal(key, blob)
        except (VaultDamaged, VaultNewer, KeyDoesNotFit):
            return False
        return header.generation > generation

    def _mend(self, key: keys.Key | None, loaded: Loaded) -> Loaded:
        """Under the lock: keep the damaged file under another name, make the previous generation the current one."""
        self.place.set_aside()
        # + 2: the damaged one had + 1, and somebody may remember it
        self._write(key, loaded.plain, loaded.generation + 2, recovered=True, keep_previous=False)
        return self._load(key)

    def _mend_or_make_do(self, key: keys.Key | None, loaded: Loaded) -> Loaded:
        try:
            with self.place.lock(wait=False):
                again = self._load(key)
                return self._mend(key, again) if again.damaged else again
        except (VaultUnwritable, VaultBusy):  # read-only, full, or another is at it: what was read still answers
            return loaded

    def _unpacked(self, key: keys.Key | None, blob: bytes, stamp: "Stamp | None") -> Loaded:
        if key is None or not self.place.durable:
            number, plain = blob[:_GENERATION_BYTES], blob[_GENERATION_BYTES:]
            return Loaded(plain, int.from_bytes(number), recovered=False, stamp=stamp)
        header, plain = sealed.unseal(key, blob)
        return Loaded(plain, header.generation, header.recovered, stamp)

    def _write(
        self, key: keys.Key | None, plain: bytes, generation: int, *, recovered: bool, keep_previous: bool = True
    ) -> None:
        if key is None or not self.place.durable:
            blob = generation.to_bytes(_GENERATION_BYTES) + plain
        else:
            blob = sealed.seal(key, plain, generation, recovered=recovered)
        self.place.write(blob, keep_previous=keep_previous)

    def _beyond_repair(self, damage: VaultDamaged) -> VaultDamaged:
        return VaultDamaged(
            f"the vault {self.place.shown} is damaged ({damage.cause}), and no earlier generation of it can be read",
            hint="nothing was moved; restore it from a backup, or move it away with its .previous and log in again",
        )


def _locked() -> VaultLocked:
    return VaultLocked("the vault is locked", hint="type: git-credential-bitbucket unlock")
