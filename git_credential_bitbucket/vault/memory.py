"""A vault that lives and ends with its process; see `place.FilePlace` for the shape. No files, no keys."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket.vault.lock import LOCK_TIMEOUT_S, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.vault.place import Stamp


class MemoryPlace:
    """A vault that ends with its process: the same shape without a disk, hence without key, seal and damage."""

    durable = False
    path = shown = "memory"

    def __init__(self, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._turn = Turn()
        self._held: tuple[Stamp, bytes] | None = None

    @contextmanager
    def lock(self, *, wait: bool = True) -> "Iterator[None]":
        """As `FilePlace.lock`, among threads."""
        with self._turn.taken(self._lock_timeout_s if wait else 0.0):
            yield

    def stamp(self) -> "Stamp | None":
        """As `FilePlace.stamp`."""
        return None if self._held is None else self._held[0]

    def read(self) -> "tuple[Stamp, bytes] | None":
        """As `FilePlace.read`."""
        return self._held

    def previous(self) -> bytes | None:
        """None: memory is not damaged, so nothing is kept."""
        return None

    def reserve(self, size: int) -> None:
        """Nothing to reserve."""

    def write(self, blob: bytes, *, keep_previous: bool = True) -> None:  # noqa: ARG002 - FilePlace's shape
        """As `FilePlace.write`."""
        count = 0 if self._held is None else self._held[0][0]
        self._held = ((count + 1, 0, 0, len(blob)), blob)

    def unfinished(self) -> bytes | None:
        """None: what is killed here leaves nothing at all."""
        return None

    def finish(self, *, keep_previous: bool) -> None:
        """As `FilePlace.finish`; nothing calls it."""

    def set_aside(self) -> str:
        """As `FilePlace.set_aside`; nothing calls it."""
        return self.path

    def damaged(self) -> str | None:
        """None, see `previous`."""
        return None
