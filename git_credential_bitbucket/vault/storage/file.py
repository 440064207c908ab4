"""A vault's storage in one sealed file, and the generation before it beside it.

Beside the vault `V`: `V.lock`, `V.previous` (the generation before), `V.new` (a write under way, or the remains of a
killed one, which whoever has the lock next finishes where they are whole, and else replaces), `V.link` (on its way to
be `V.previous`), `V.damaged-<time>` (kept for a person to look at, never read again) and `V.renewing/ID`, the lease of
one credential and the room for its answer, there while it is held or something is left in it.
`V` itself is never absent once it was there: what is under that name is always a whole generation.
"""

import os
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import (
    Error,
    InsecurePath,
    NewerVault,
    VaultBusy,
    VaultDamaged,
    VaultLocked,
    VaultUnreadable,
    VaultUnwritable,
    WrongKey,
)
from git_credential_bitbucket.paths import check_private_dir, make_private_dir, shown, typed
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault import vault_files
from git_credential_bitbucket.vault.lock import Turn, flocked
from git_credential_bitbucket.vault.storage import encoding
from git_credential_bitbucket.vault.storage.contract import LOCK_TIMEOUT_S, Lease, Storage, Stored, applied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.vault.key import Key
    from git_credential_bitbucket.vault.storage.contract import Changes, Stamp

MAX_VAULT_BYTES = 1 << 28
"""256 MiB: 10,000 credentials with the longest tokens seen take 60; what is larger was not written by us."""
MAX_ANSWER_BYTES = 1 << 22
"""An answer of the largest size that is read from Bitbucket (256 KiB), escaped in JSON at its worst."""
STEPS = ("tmp-created", "tmp-written", "tmp-synced", "previous-linked", "renamed", "dir-synced", "damaged-kept")
"""The points at which `step` is called during a write, for harnesses that kill there."""


def no_step(_name: str) -> None:
    """The `step` of everyday life: nothing happens at a named point."""


class FileStorage(Storage):
    """A `contract.Storage` in a file."""

    is_at_hand = True

    def __init__(
        self,
        path: str,
        *,
        step: "Callable[[str], None]" = no_step,
        clock: "Callable[[], float]" = time.time,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        """`step` is called with each of `STEPS`; `clock` (epoch seconds) names damaged files."""
        self.path = os.path.abspath(path)
        self.step = step
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._turn = Turn()
        self._held: Stored | None = None  # under the lock: what is stored

    @property
    def shown(self) -> str:
        """The path as messages name it."""
        return shown(self.path)

    @property
    def has_lock(self) -> bool:
        """Whether this thread is inside `lock`."""
        return self._turn.is_mine

    def watch(self) -> "Stamp | None":
        """One stat: device, inode, modification time and size."""
        with vault_files.reading(self.path):
            try:
                found = os.lstat(self.path)
            except (FileNotFoundError, NotADirectoryError):
                return None
        files.check_private(found, self.path)
        return _stamp(found)

    def header(self) -> sealed.Header | None:
        """As `contract.Storage.header`, if need be from the previous generation."""
        damage = None
        for read in (self._current, self._previous):
            try:
                if (blob := read()) is not None:
                    return sealed.header_of(blob)
            except VaultDamaged as exc:
                damage = damage or exc
        if damage is None:
            return None
        raise self._beyond_repair(damage) from damage

    def read(self, key: "Key | None", known: Stored | None = None) -> Stored:
        """As `contract.Storage.read`. Under `lock`, a killed write is finished first, and damage repaired.

        Without it, damage is repaired where the lock is free; where it cannot be, the previous generation is read.
        """
        if self.has_lock:
            self._held = known if known and self._is_current(known) else self._read_whole(key)
            return self._held
        stored = self._read(key)
        if stored.needs_repair:
            try:
                with self.lock(wait=False):
                    return self._read_whole(key)
            except (VaultUnwritable, VaultBusy):  # read-only, full, or another is at it
                pass
        return stored

    def _is_current(self, known: Stored) -> bool:
        """Whether `known` is what `_read_whole` would read, under the lock."""
        if known.stamp is None or known.recovered or known.needs_repair or os.path.lexists(self._beside("new")):
            return False
        return known.stamp == self.watch()

    def commit(self, key: "Key | None", changes: "Changes", write_id: str) -> Stored | None:
        """As `contract.Storage.commit`; takes the lock unless this thread holds it."""
        with nullcontext() if self.has_lock else self.lock():
            held, self._held = self._held or self._read_whole(key), None
            if key is None:
                raise VaultLocked("the vault is locked")
            if held.write_id == write_id:
                with vault_files.writing(self.path):
                    self._sync_names()
                return held
            stored = applied(held, changes, write_id)
            if stored is not None:
                self._held = stored = self._write(key, stored._replace(encoded=encoding.splice(held, changes)))
            return stored

    def reseal(self, key: "Key | None", new_key: "Key") -> None:
        """Seal both generations with `new_key`, so that the old key opens nothing any more.

        Two whole writes of the same content: after the first, the vault is under the new key and its previous
        generation under the old one; the second replaces that. Killed between them, the vault is whole and the old
        key still opens the previous generation, until the next write; so whoever called may discard the old key only
        after this has returned. What the disk keeps of a removed file is the disk's affair.
        """
        if key is None:
            raise VaultLocked("the vault is locked")
        held = self._write(new_key, self._read_whole(key))
        self._held = self._write(new_key, held)

    @contextmanager
    def lock(self, *, wait: bool = True) -> "Iterator[None]":
        """Be the one writer inside. Raises `VaultBusy`, `VaultUnwritable`, `InsecurePath`; nested `RuntimeError`."""
        timeout_s = self._lock_timeout_s if wait else 0.0
        deadline = time.monotonic() + timeout_s
        with self._turn.taken(timeout_s), ExitStack() as held:
            with vault_files.writing(self.path):  # not around the yield: errors inside are the caller's
                make_private_dir(os.path.dirname(self.path))
                held.enter_context(flocked(self._beside("lock"), max(0.0, deadline - time.monotonic())))
            try:
                yield
            finally:
                self._held = None

    @contextmanager
    def lease(self, key: str, *, wait: bool = True) -> "Iterator[_FileLease]":
        """Hold `V.renewing/ID`; it is removed at the end if nothing is left in it. Raises as `lock` does."""
        folder = self._beside("renewing")
        path = f"{folder}/{_file_name(key)}"
        with ExitStack() as held:
            with vault_files.writing(self.path):
                make_private_dir(os.path.dirname(self.path))
                make_private_dir(folder)
                fd = held.enter_context(flocked(path, self._lock_timeout_s if wait else 0.0, "a credential's lease"))
            try:
                yield _FileLease(self, folder, fd)
            finally:
                with vault_files.writing(self.path):
                    if not os.fstat(fd).st_size:
                        files.unlink_if_there(path)

    def leases(self) -> list[str]:
        """As `contract.Storage.leases`, by one look into `V.renewing`."""
        try:
            return [key for key in map(_key_of, os.listdir(self._beside("renewing"))) if key is not None]
        except OSError:  # none, or unreadable: taking a lease raises it
            return []

    def damaged(self) -> str | None:
        """The newest `V.damaged-<time>`."""
        directory, base = os.path.split(self.path)
        found: list[str] = []
        with vault_files.reading(self.path), suppress(FileNotFoundError, NotADirectoryError):
            found = [name for name in os.listdir(directory) if name.startswith(f"{base}.damaged-")]
        return f"{directory}/{max(found)}" if found else None

    def _read(self, key: "Key | None") -> Stored:
        held = self._read_file(self.path)
        if held is None and self._previous() is None:
            return Stored({})
        if key is None:
            raise VaultLocked("the vault is locked")
        stamp, blob = held if held is not None else (None, b"")
        try:
            return self._unsealed(key, blob, stamp)
        except VaultDamaged as damage:
            return self._previous_instead(key, blob, stamp, damage)

    def _unsealed(self, key: "Key", blob: bytes, stamp: "Stamp | None") -> Stored:
        header, plain = sealed.unseal(key, blob)
        # The flag ends when a person has removed the damaged file.
        recovered = header.recovered and self.damaged() is not None
        return encoding.decode(plain)._replace(generation=header.generation, recovered=recovered, stamp=stamp)

    def _previous_instead(self, key: "Key", blob: bytes, stamp: "Stamp | None", damage: VaultDamaged) -> Stored:
        kept = self._previous()
        if kept is None:
            raise self._beyond_repair(damage) from damage
        try:
            stored = self._unsealed(key, kept, stamp)
        except VaultDamaged as exc:
            raise self._beyond_repair(damage) from exc
        except WrongKey as exc:
            try:
                sealed.header_of(blob)
            except VaultDamaged:
                raise exc from None  # no readable header has this key's id: locked; the right key can repair it
            raise self._beyond_repair(damage) from exc
        return stored._replace(recovered=True, needs_repair=True)

    def _read_whole(self, key: "Key | None") -> Stored:
        """What is stored, under the lock, after a killed write is finished and damage is repaired."""
        stored = self._read(key)
        if key is None:
            return stored
        left = self._unfinished(key)
        if left is not None and left[0] > stored.generation:
            if stored.needs_repair and stored.stamp is not None:
                self._rename_damaged()
            self._finish(left[1], keep_previous=not stored.needs_repair)
            stored = self._read(key)
        if not stored.needs_repair:
            return stored
        self._rename_damaged()
        # One more: the damaged one had the next generation, which others may have seen.
        return self._write(
            key, stored._replace(generation=stored.generation + 1, needs_repair=False), keep_previous=False
        )

    def _unfinished(self, key: "Key") -> tuple[int, int] | None:
        """Generation and length of what a killed write left, if it is whole: perhaps the only copy of a refresh token.

        Up to version 0.1.0 the file was longer than its content while it was written, by zeros. Half of one does not
        open, and a write that fails before its content is on the disk removes it.
        """
        try:
            left = self._read_file(self._beside("new"))
        except (InsecurePath, VaultUnreadable):
            return None
        if left is None:
            return None
        bare = len(left[1].rstrip(b"\0"))
        for length in sorted({len(left[1]), *range(bare, min(bare + sealed.TAG_BYTES, len(left[1])))}, reverse=True):
            try:
                header, _ = sealed.unseal(key, left[1][:length])
            except (VaultDamaged, NewerVault, WrongKey):
                continue
            return header.generation, length
        return None

    def _finish(self, length: int, *, keep_previous: bool) -> None:
        """Do the rest of the write that left `length` bytes of content."""
        with vault_files.writing(self.path):
            fd = files.open_private(self._beside("new"), os.O_WRONLY)
            try:
                os.ftruncate(fd, length)
                files.sync_file(fd)
            finally:
                os.close(fd)
            self._put_in_place(keep_previous=keep_previous)
            self._sync_names()

    def _write(self, key: "Key", stored: Stored, *, keep_previous: bool = True) -> Stored:
        """Make `stored` the next generation, durably, under the lock; as it is then. Raises `VaultUnwritable`.

        The order is what keeps it whole: content on disk, then the old generation's second name, then the rename, then
        the directory. Killed anywhere, the vault's name stands for the old generation or for the new one. Once its
        content is on the disk the new one is not removed any more, whatever fails: what it holds may be nowhere else.
        """
        encoded = encoding.encode_credentials(stored) if stored.encoded is None else stored.encoded
        stored = stored._replace(encoded=encoded, generation=stored.generation + 1)
        blob = sealed.seal(key, encoding.join(encoded, stored), stored.generation, recovered=stored.recovered)
        if len(blob) > MAX_VAULT_BYTES:
            hint = "remove what is no longer needed: git-credential-bitbucket logout"
            raise VaultUnwritable(f"the vault {self.shown} would exceed {MAX_VAULT_BYTES >> 20} MiB", hint=hint)
        return stored._replace(stamp=self.write(blob, stored.stamp, keep_previous=keep_previous))

    def write(self, blob: bytes, former: "Stamp | None", *, keep_previous: bool = True) -> "Stamp":
        """See `_write`; `blob` is the file's whole new content, `former` the file that it replaces."""
        with vault_files.writing(self.path):
            # A new file, replacing what a killed write left: whoever has the lock is the only writer.
            files.unlink_if_there(self._beside("new"))
            fd = files.open_private(self._beside("new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            self.step("tmp-created")
            try:
                made = self._fill(fd, blob)
                self._check_alone(made, former)
            except BaseException:
                files.unlink_if_there(self._beside("new"))
                raise
            self._put_in_place(keep_previous=keep_previous)
            self._sync_names()
        return _stamp(made)

    def _check_alone(self, made: os.stat_result, former: "Stamp | None") -> None:
        """Raise `VaultBusy` where another has written since, under a lock that its file system does not share."""
        is_ours = files.is_at(self._beside("new"), made)
        if not is_ours or (self.watch() or ())[:2] != (former or ())[:2]:  # a write puts another inode there
            raise VaultBusy("another process wrote the vault while this one held its lock", hint=vault_files.PATH_HINT)

    def _fill(self, fd: int, blob: bytes) -> os.stat_result:
        try:
            files.write_all(fd, blob)
            self.step("tmp-written")
            # The kernel's own times are coarse (4 ms) and inode numbers come back: two generations must never
            # have one stamp.
            now = time.time_ns()
            os.utime(fd, ns=(now, now))
            files.sync_file(fd)
            made = os.fstat(fd)
        finally:
            os.close(fd)
        self.step("tmp-synced")
        return made

    def _put_in_place(self, *, keep_previous: bool) -> None:
        if keep_previous:
            self._keep_previous()
            self.step("previous-linked")
        os.rename(self._beside("new"), self.path)
        self.step("renamed")

    def _sync_names(self) -> None:
        files.sync_directory(os.path.dirname(self.path))
        self.step("dir-synced")

    def _rename_damaged(self) -> None:
        """Give the current file the name `V.damaged-<time>` as well; where it is gone, an empty one shows the loss."""
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        name = f"damaged-{at}"
        with vault_files.writing(self.path):
            for nth in range(2, 1000):
                if not os.path.lexists(self._beside(name)):
                    break
                name = f"damaged-{at}-{nth}"
            if not self._keep_as(name):
                vault_files.write_new(self._beside(name), b"")
            self.step("damaged-kept")

    def _keep_as(self, name: str) -> bool:
        """Give the current file, if there is one, a second name; a copy where the file system has no hard links."""
        link = self._beside("link")
        if not vault_files.link_or_copy(self.path, link, self._current):
            return False
        os.rename(link, self._beside(name))
        files.unlink_if_there(link)  # rename(2) leaves both names where they are one file: a write was killed here
        return True

    def _keep_previous(self) -> None:
        """Keep the current file as the generation before the new one, or no generation at all.

        What is there as such would be two generations old then, or under a key that is none any more; and without
        hard links its room may be just what the copy needs.
        """
        for _ in range(2):
            try:
                self._keep_as("previous")
            except (OSError, VaultUnreadable):
                files.unlink_if_there(self._beside("previous"))
            else:
                return
        files.unlink_if_there(self._beside("link"))  # the new one is worth more than a second copy of the old

    def _current(self) -> bytes | None:
        return (self._read_file(self.path) or (None, None))[1]

    def _previous(self) -> bytes | None:
        return (self._read_file(self._beside("previous")) or (None, None))[1]

    def _beside(self, name: str) -> str:
        return f"{self.path}.{name}"

    def _read_file(self, path: str) -> "tuple[Stamp, bytes] | None":
        with vault_files.reading(path):
            try:
                check_private_dir(os.path.dirname(path))
                fd = files.open_private(path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                found = os.fstat(fd)
                blob = files.read_all(fd, MAX_VAULT_BYTES)
            finally:
                os.close(fd)
        if len(blob) > MAX_VAULT_BYTES:
            raise VaultUnreadable(f"{shown(path)} is too large for a vault", hint=f"check it with: ls -l {typed(path)}")
        return _stamp(found), blob

    def _beyond_repair(self, damage: Error) -> VaultDamaged:
        return VaultDamaged(
            f"the vault {self.shown} is damaged ({damage.cause}), and no previous version can be read",
            hint="nothing was changed; restore it from a backup, or move it and its .previous away and log in again",
        )


class _FileLease(Lease):
    """As `contract.Lease` says, in the file that is locked for it."""

    def __init__(self, storage: FileStorage, folder: str, fd: int) -> None:
        self.storage = storage
        self.folder = folder
        self.fd = fd
        self.is_named = False  # on the disk itself: else the content may be found under no name after a power cut

    def read(self) -> bytes:
        with vault_files.reading(self.storage.path):
            os.lseek(self.fd, 0, os.SEEK_SET)
            return files.read_all(self.fd, MAX_ANSWER_BYTES)

    def write(self, blob: bytes) -> None:
        with vault_files.writing(self.storage.path):
            written = 0
            while written < len(blob):
                written += os.pwrite(self.fd, blob[written:], written)
            files.sync_content(self.fd)
            if not self.is_named:
                files.sync_directory(self.folder)
                files.sync_directory(os.path.dirname(self.folder))
                self.is_named = True

    def clear(self) -> None:
        with vault_files.writing(self.storage.path):
            os.ftruncate(self.fd, 0)


def _file_name(key: str) -> str:
    return key if key.isascii() and key.isalnum() else f"-{key.encode('utf-8', 'surrogatepass').hex()}"


def _key_of(name: str) -> str | None:
    """The opposite of `_file_name`; None for a file that is no lease, such as NFS's `.nfs…` of a removed one."""
    try:
        key = bytes.fromhex(name[1:]).decode("utf-8", "surrogatepass") if name.startswith("-") else name
    except ValueError:
        return None
    return key if _file_name(key) == name else None


def _stamp(found: os.stat_result) -> "Stamp":
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
