"""The vault's content as its users see it: a snapshot to read, a transaction to change. Knows no files and no keys."""

import json
from _blake2 import blake2b  # not hashlib, which would load a second OpenSSL beside cryptography's: 3.5 MiB
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.vault.place import Stamp

EMPTY = b"{}"
GROWTH_BYTES = 16384
"""What a refresh may add: two tokens of the longest kind seen (2.5 kB each) twice over, and their record."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content at one moment; do not change it, for others read the same object.

    `recovered` stays true until a transaction says otherwise: the content is a generation old, so its refresh tokens
    may have been spent. `unmended` is it while the damaged file is still the current one; see `damage` for who asks.
    """

    content: dict[str, Any] = field(repr=False)
    generation: int
    recovered: bool = False
    unmended: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read from the place."""

    plain: bytes = field(repr=False)
    generation: int
    recovered: bool
    stamp: "Stamp | None"
    damaged: bool = False  # this is the previous generation, in place of a current one that cannot be read


class Transaction:
    """The content, freshly read under the lock, free to be changed. A class because it knows what is on disk by now."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        write: "Callable[[bytes, int, bool], None]",
        reserve: "Callable[[int], None]",
    ) -> None:
        """`write` takes content, generation and the recovered flag; `reserve` takes bytes of content."""
        self._write = write
        self._reserve = reserve
        self._size = len(loaded.plain)
        self._durable = (_digest(loaded.plain), loaded.recovered)
        self.content: dict[str, Any] = json.loads(loaded.plain)
        self.generation = loaded.generation
        self.recovered = loaded.recovered

    def commit(self) -> None:
        """Write what changed, durably, now; the lock stays held. Raises `VaultUnwritable`, and may be tried again."""
        plain = _encoded(self.content)
        wanted = (_digest(plain), self.recovered)
        if wanted == self._durable:
            return
        self._write(plain, self.generation + 1, self.recovered)
        self._durable = wanted
        self._size = len(plain)
        self.generation += 1

    def snapshot(self) -> Snapshot:
        """What the last commit wrote, for whoever reads next; the transaction is over."""
        return Snapshot(self.content, self.generation, self.recovered)

    def reserve(self, growth: int = GROWTH_BYTES) -> None:
        """Make sure of the disk space for a commit that adds up to `growth` bytes. Raises `VaultUnwritable`.

        For whoever is about to do what cannot be done twice, like spending a refresh token: a full disk has to show
        before that, and not after. Ends with the next commit.
        """
        self._reserve(self._size + growth)


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


def _digest(plain: bytes) -> bytes:
    """Kept instead of the text, to see whether it changed: one copy of the secrets less."""
    return blake2b(plain, digest_size=32).digest()
