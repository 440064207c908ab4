"""Where a vault lies: a file, and the generation before it beside it. Knows no keys and nothing of the content.

Beside the vault `V`: `V.lock`, `V.previous` (the generation before), `V.new` (a write under way, or the remains of a
killed one, which whoever has the lock next finishes where they are whole, and else replaces), `V.link` (on its way to
be `V.previous`) and `V.damaged-<time>` (kept for a person to look at, never read again).
`V` itself is never absent once it was there: what is under that name is always a whole generation.
"""

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket import durable
from git_credential_bitbucket.errors import PlaceRefused, VaultUnreadable, VaultUnwritable
from git_credential_bitbucket.paths import check_private_dir, make_private_dir
from git_credential_bitbucket.vault import disk, second
from git_credential_bitbucket.vault.lock import LOCK_TIMEOUT_S, Turn, flocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Stamp = tuple[int, int, int, int]

MAX_VAULT_BYTES = 1 << 28
"""256 MiB: 10,000 credentials with the longest tokens seen take 60; what is larger was not written by us."""

STEPS = (
    "tmp-created",
    "tmp-written",
    "tmp-synced",
    "previous-linked",
    "renamed",
    "dir-synced",
    "damaged-kept",
)
"""The points at which `step` is called during a write, for harnesses that kill there."""


def no_step(_name: str) -> None:
    """The `step` of everyday life: nothing happens at a named point."""


class FilePlace:
    """A vault in a file. A class because it holds the turn of this process's threads and the reserved space."""

    durable = True

    def __init__(
        self,
        path: str,
        *,
        step: "Callable[[str], None]" = no_step,
        clock: "Callable[[], float]" = time.time,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        """`step` is called with each of `STEPS`; `clock` (epoch seconds) names what is set aside."""
        self.path = os.path.abspath(path)
        self.step = step
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._turn = Turn()
        self._reserved: int | None = None
        self._linked = False

    @property
    def shown(self) -> str:
        """The path as messages name it."""
        return disk.shown(self.path)

    @contextmanager
    def lock(self, *, wait: bool = True) -> "Iterator[None]":
        """Be the one writer inside. Raises `VaultBusy`, `VaultUnwritable`, `PlaceRefused`; nested `RuntimeError`."""
        timeout_s = self._lock_timeout_s if wait else 0.0
        deadline = time.monotonic() + timeout_s
        with self._turn.taken(timeout_s), ExitStack() as held:
            with disk.writing(self.path):  # the taking alone: what goes wrong inside the lock speaks for itself
                make_private_dir(os.path.dirname(self.path))
                left = max(0.0, deadline - time.monotonic())
                held.enter_context(flocked(self._beside("lock"), left))
            try:
                yield
            finally:
                self._drop_reserve()

    def stamp(self) -> "Stamp | None":
        """What changes with every write, by one stat; None while there is no vault."""
        with disk.reading(self.path):
            try:
                found = os.lstat(self.path)
            except (FileNotFoundError, NotADirectoryError):
                return None
        disk.check_private_file(found, self.path)
        return _stamp(found)

    def read(self) -> "tuple[Stamp, bytes] | None":
        """The current generation with its stamp; None while there is no vault."""
        return self._read(self.path)

    def previous(self) -> bytes | None:
        """The generation before the current one, if one was kept."""
        kept = self._read(self._beside("previous"))
        return None if kept is None else kept[1]

    def reserve(self, size: int) -> None:
        """Take the disk space of a write of `size` bytes now, so that it cannot be missing when it must not be.

        The second copy of the present generation, too, where the file system has no hard links. Under the lock, and
        given back with it. Raises `VaultUnwritable`. (File systems that copy on write or compress, like btrfs and
        zfs, promise less.)
        """
        with disk.writing(self.path):
            if self._reserved is None:
                self._reserved = self._born("new")
            os.lseek(self._reserved, 0, os.SEEK_SET)
            try:
                disk.write_all(self._reserved, bytes(size))
                self._linked = self._link()
            except BaseException:
                self._drop_reserve()
                raise

    def write(self, blob: bytes, *, keep_previous: bool = True) -> None:
        """Make `blob` the current generation, durably, under the lock. Raises `VaultUnwritable`; then nothing is lost.

        The order is what keeps it whole: content on disk, then the old generation's second name, then the rename, then
        the directory. Killed anywhere, the vault's name stands for the old generation or for the new one. Once its
        content is on the disk the new one is not removed any more, whatever fails: what it holds may be nowhere else.
        """
        if len(blob) > MAX_VAULT_BYTES:
            raise VaultUnwritable(
                f"the vault {self.shown} would pass {MAX_VAULT_BYTES >> 20} MiB",
                hint="remove what is not needed any more: git-credential-bitbucket logout",
            )
        with disk.writing(self.path):
            fd, self._reserved = self._reserved, None
            if fd is None:
                fd = self._born("new")
            try:
                self._fill(fd, blob)
            except BaseException:
                self._remove_unfinished()
                raise
            self._put_in_place(keep_previous=keep_previous)
            self._sync_names()

    def unfinished(self) -> bytes | None:
        """What a killed write left, under the lock; None where there is nothing, or nothing to be trusted."""
        try:
            left = self._read(self._beside("new"))
        except (PlaceRefused, VaultUnreadable):
            return None
        return None if left is None else left[1]

    def finish(self, *, keep_previous: bool) -> None:
        """Under the lock: do the rest of the write that left `unfinished`. Raises `VaultUnwritable`."""
        with disk.writing(self.path):
            fd = disk.open_private(self._beside("new"), os.O_WRONLY)
            try:
                durable.sync_file(fd)
            finally:
                os.close(fd)
            self._put_in_place(keep_previous=keep_previous)
            self._sync_names()

    def _put_in_place(self, *, keep_previous: bool) -> None:
        if keep_previous:
            self._keep_previous()
            self.step("previous-linked")
        os.rename(self._beside("new"), self.path)
        self.step("renamed")

    def _sync_names(self) -> None:
        durable.sync_folder(os.path.dirname(self.path))
        self.step("dir-synced")

    def set_aside(self) -> str:
        """Give the current file the name `V.damaged-<time>` as well, under the lock, and return that path.

        Where it is gone altogether, that is an empty file: so the loss is seen.
        """
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        name = f"damaged-{at}"
        with disk.writing(self.path):
            for nth in range(2, 1000):
                if not os.path.lexists(self._beside(name)):
                    break
                name = f"damaged-{at}-{nth}"
            self._keep_as(name)
            if not os.path.lexists(self._beside(name)):
                os.close(disk.open_private(self._beside(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            self.step("damaged-kept")
        return self._beside(name)

    def damaged(self) -> str | None:
        """The newest file that was set aside."""
        directory, base = os.path.split(self.path)
        with disk.reading(self.path):
            try:
                found = [name for name in os.listdir(directory) if name.startswith(f"{base}.damaged-")]
            except (FileNotFoundError, NotADirectoryError):
                return None
        return f"{directory}/{max(found)}" if found else None

    def _beside(self, name: str) -> str:
        return f"{self.path}.{name}"

    def _read(self, path: str) -> "tuple[Stamp, bytes] | None":
        with disk.reading(path):
            try:
                check_private_dir(os.path.dirname(path))
                fd = disk.open_private(path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                found = os.fstat(fd)
                blob = disk.read_all(fd, MAX_VAULT_BYTES)
            finally:
                os.close(fd)
        if len(blob) > MAX_VAULT_BYTES:
            raise VaultUnreadable(
                f"{disk.shown(path)} is larger than any vault", hint=f"look at it: ls -l {disk.typed(path)}"
            )
        return _stamp(found), blob

    def _born(self, name: str) -> int:
        """A new file, replacing what a killed write left under that name: whoever has the lock is the only writer."""
        path = self._beside(name)
        disk.unlink_if_there(path)
        fd = disk.open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self.step("tmp-created")
        return fd

    def _fill(self, fd: int, blob: bytes) -> None:
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            disk.write_all(fd, blob)
            os.ftruncate(fd, len(blob))
            self.step("tmp-written")
            # The kernel's own times are coarse (4 ms) and inode numbers come back: two generations must never
            # have one stamp.
            now = time.time_ns()
            os.utime(fd, ns=(now, now))
            durable.sync_file(fd)
        finally:
            os.close(fd)
        self.step("tmp-synced")

    def _keep_as(self, name: str) -> None:
        """Give the current file, if there is one, a second name; a copy where the file system has no hard links."""
        linked, self._linked = self._linked, False
        if linked or self._link():
            link = self._beside("link")
            os.rename(link, self._beside(name))
            disk.unlink_if_there(link)  # rename(2) leaves both names where they are one file: a write was killed here

    def _keep_previous(self) -> None:
        """Keep the current file as the generation before the new one, or no generation at all.

        What is there as such would be two generations old then, or under a key that is none any more; and without
        hard links its room may be just what the copy needs.
        """
        try:
            self._keep_as("previous")
        except (OSError, VaultUnreadable):
            disk.unlink_if_there(self._beside("previous"))
            try:
                self._keep_as("previous")
            except (OSError, VaultUnreadable):
                disk.unlink_if_there(self._beside("link"))  # the new one is worth more than a second copy of the old

    def _link(self) -> bool:
        return second.make(self.path, self._beside("link"), self._content)

    def _content(self) -> bytes | None:
        current = self.read()
        return None if current is None else current[1]

    def _drop_reserve(self) -> None:
        fd, self._reserved = self._reserved, None
        if fd is not None:
            os.close(fd)
            self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        self._linked = False
        disk.unlink_if_there(self._beside("new"))
        disk.unlink_if_there(self._beside("link"))


def _stamp(found: os.stat_result) -> "Stamp":
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
