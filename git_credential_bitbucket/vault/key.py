"""The vault's key: 32 bytes, where they came from, and how a passphrase was stretched to them.

The cipher is imported where it is needed: it costs 15 ms.
"""

import binascii
from _blake2 import blake2b  # not hashlib, which would load a second OpenSSL beside cryptography's: 3.5 MiB
from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.errors import VaultLocked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
SALT_BYTES = 16
SOURCES = ("environment", "file", "keyring", "passphrase")
"""Where keys come from, in the order of their numbers in the vault's header."""

# A header is read before anything in it is authenticated: without bounds, one forged number would make
# `unlock` fill the memory or run for days.
MAX_ARGON2_KIB = 1 << 18
MAX_ARGON2_ITERATIONS = 10
MAX_ARGON2_LANES = 64


class Argon2(NamedTuple):
    """How a passphrase was stretched; stored in the header, for the same numbers are needed to open it again."""

    salt: bytes
    iterations: int
    lanes: int
    memory_kib: int


def is_bounded(argon2: Argon2) -> bool:
    """Whether a passphrase may be stretched so, and a header can say it."""
    return (
        len(argon2.salt) == SALT_BYTES
        and 1 <= argon2.iterations <= MAX_ARGON2_ITERATIONS
        and 1 <= argon2.lanes <= MAX_ARGON2_LANES
        and 8 * argon2.lanes <= argon2.memory_kib <= MAX_ARGON2_KIB  # RFC 9106, section 3.1: at least 8 KiB a lane
    )


class Key:
    """The vault's key and its source. Its bytes are overwritten when the last reference to it is dropped.

    Copies inside OpenSSL are OpenSSL's to wipe.
    """

    __slots__ = ("_material", "argon2", "id", "source")

    def __init__(self, material: bytes | bytearray, source: str, argon2: Argon2 | None = None) -> None:
        """`source` is one of `SOURCES`; `argon2` says how a passphrase was stretched."""
        self._material = bytearray(material)
        if len(material) != KEY_BYTES or source not in SOURCES or (source == "passphrase") != (argon2 is not None):
            raise ValueError("not a vault key")
        self.source = source
        self.argon2 = argon2
        # A keyed hash: tells nothing about the key.
        self.id = blake2b(key=self._material, digest_size=16, person=b"gcb vault key id").digest()

    def cipher(self) -> "AESGCM":
        """AES-256-GCM with this key."""
        # lazy: 15 ms, and an absent or locked vault does not need it
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._material)

    def to_record(self) -> dict[str, str]:
        """The key as strings, for the pipe of `unlock` or to a daemon's successor; the secret one is base64."""
        record = {"key": binascii.b2a_base64(self._material, newline=False).decode(), "source": self.source}
        if self.argon2 is not None:
            record["salt"] = self.argon2.salt.hex()
            record["argon2"] = f"{self.argon2.iterations},{self.argon2.lanes},{self.argon2.memory_kib}"
        return record

    def is_same(self, other: "Key") -> bool:
        """Whether both are the same 32 bytes, whatever their source; in constant time."""
        from _operator import _compare_digest  # lazy: hmac costs 4 ms and pulls in OpenSSL

        return bool(_compare_digest(self._material, other._material))  # noqa: SLF001 - another of its own kind

    @classmethod
    def from_record(cls, record: "Mapping[str, str]") -> "Key":
        """The key that `to_record` wrote. Raises `VaultLocked` for anything else."""
        try:
            argon2 = None
            if record["source"] == "passphrase":
                iterations, lanes, memory_kib = map(int, record["argon2"].split(","))
                argon2 = Argon2(bytes.fromhex(record["salt"]), iterations, lanes, memory_kib)
            key = cls(binascii.a2b_base64(record["key"], strict_mode=True), record["source"], argon2)
        except (KeyError, ValueError):
            key = None
        if key is None or (key.argon2 and not is_bounded(key.argon2)):  # a vault sealed so could never be opened again
            raise VaultLocked("the key that was sent is not a vault key")
        return key

    def __repr__(self) -> str:
        return f"Key({self.source}, id {self.id.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def __del__(self) -> None:
        self._material[:] = bytes(len(self._material))
