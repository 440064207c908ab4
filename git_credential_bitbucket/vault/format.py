"""The vault's file format: a clear header, then the content sealed by AES-256-GCM with that header as associated data.

    magic 8 · version 2 · source 1 · flags 1 · key id 16 · Argon2id (iterations 4, lanes 4, KiB 4, salt 16)
    · generation 8 · nonce 12 · CRC-32 of all before 4 | ciphertext and 16 bytes of tag          (big-endian)

Every version keeps magic and version where they are. The CRC is no protection (the tag is): it distinguishes a damaged
header from another vault's key, so that a flipped bit is repaired and not reported as "locked".
Whoever can write the file can put an older generation back.
"""

import os
import zlib
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.errors import NewerVault, VaultDamaged, WrongKey
from git_credential_bitbucket.vault.key import SALT_BYTES, SOURCES, Argon2, is_bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.vault.key import Key

MAGIC = b"\x93gcbvlt\n"
VERSION = 1
NONCE_BYTES = 12
"""NIST SP 800-38D: 96 bits. Random ones are safe for 2^32 writes with one key."""
TAG_BYTES = 16
RECOVERED = 1
"""The flag that marks content taken from the previous generation after damage."""

_PREFIX = Struct(">8sH")
_V1 = Struct(">8sHBB16sIII16sQ12s")
_CRC = Struct(">I")
_ANSWER = Struct(">8sQI12s")
_ANSWER_MAGIC = b"\x93gcbans\n"
_RECORD_MAGIC = b"\x93gcbrec1\n"
INTENT_BYTES = _ANSWER.size
"""Of an intent, what is not room."""


class Header(NamedTuple):
    """What is known of a vault without its key."""

    version: int
    source: str
    key_id: bytes
    argon2: Argon2 | None
    generation: int
    recovered: bool


class _Layout(NamedTuple):
    header: Header
    nonce: bytes
    sealed_from: int


def seal(key: "Key", content: bytes, generation: int, *, recovered: bool = False) -> bytes:
    """The file that holds `content`, under a nonce drawn for this call."""
    nonce = os.urandom(NONCE_BYTES)
    stretch = key.argon2 or Argon2(bytes(SALT_BYTES), 0, 0, 0)
    packed = _V1.pack(
        MAGIC,
        VERSION,
        SOURCES.index(key.source),
        RECOVERED if recovered else 0,
        key.id,
        stretch.iterations,
        stretch.lanes,
        stretch.memory_kib,
        stretch.salt,
        generation,
        nonce,
    )
    header = packed + _CRC.pack(zlib.crc32(packed))
    return header + key.cipher().encrypt(nonce, content, header)


def unseal(key: "Key", blob: bytes) -> tuple[Header, bytes]:
    """Header and content. Raises `WrongKey`, `NewerVault` or `VaultDamaged`, in this order of trust."""
    from cryptography.exceptions import InvalidTag  # lazy: 15 ms, and a locked vault does not need it

    layout = _layout(blob)
    if layout.header.key_id != key.id:
        hint = "provide the key it was made with, or run: git-credential-bitbucket unlock"
        raise WrongKey("the vault is encrypted with another key", hint=hint)
    view = memoryview(blob)
    try:
        content = key.cipher().decrypt(layout.nonce, view[layout.sealed_from :], bytes(view[: layout.sealed_from]))
    except InvalidTag:
        raise VaultDamaged("its content is corrupt: authentication failed") from None
    return layout.header, content


def seal_record(key: "Key", vault: str, name: str, generation: int, record: bytes) -> bytes:
    """A record on a server, bound to its vault, name and generation: nonce, ciphertext, tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.cipher().encrypt(nonce, record, _record_bound_to(vault, name, generation))


def open_record(key: "Key", vault: str, name: str, generation: int, blob: bytes) -> bytes:
    """The record that `seal_record` sealed. Raises `VaultDamaged` for another one, or one that was altered."""
    from cryptography.exceptions import InvalidTag  # lazy: as in `unseal`

    nonce, sealed = blob[:NONCE_BYTES], blob[NONCE_BYTES:]
    try:
        return key.cipher().decrypt(nonce, sealed, _record_bound_to(vault, name, generation))
    except (InvalidTag, ValueError):
        raise VaultDamaged("a record on its server was altered or exchanged: authentication failed") from None


def _record_bound_to(vault: str, name: str, generation: int) -> bytes:
    return b"%s%d %s %s" % (_RECORD_MAGIC, generation, vault.encode(), name.encode("utf-8", "surrogatepass"))


def intent(generation: int, room: int) -> bytes:
    """The placeholder for an expected answer: the generation that is requested, and `room` zero bytes."""
    return _ANSWER.pack(_ANSWER_MAGIC, generation, 0, bytes(NONCE_BYTES)) + bytes(room)


def seal_answer(key: "Key | None", credential_id: str, generation: int, answer: bytes) -> bytes:
    """An answer to a renewal, bound to its credential and the generation asked for; in plain text without a key.

    Magic 8, generation 8, length 4 and nonce 12 bytes, big-endian, then the ciphertext with its tag of 16 bytes.
    """
    nonce = os.urandom(NONCE_BYTES)
    if key is not None:
        answer = key.cipher().encrypt(nonce, answer, _bound_to(credential_id, generation))
    return _ANSWER.pack(_ANSWER_MAGIC, generation, len(answer), nonce) + answer


def open_answer(key: "Key | None", credential_id: str, blob: bytes) -> tuple[int, bytes | None] | None:
    """The generation that was asked for and the answer, None if it is not whole; None where neither is there."""
    if len(blob) < _ANSWER.size or not blob.startswith(_ANSWER_MAGIC):
        return None
    _, generation, length, nonce = _ANSWER.unpack_from(blob)
    answer = blob[_ANSWER.size : _ANSWER.size + length]
    if not length or len(answer) < length:
        return generation, None
    if key is None:
        return generation, answer
    from cryptography.exceptions import InvalidTag  # lazy: as in `unseal`

    try:
        return generation, key.cipher().decrypt(nonce, answer, _bound_to(credential_id, generation))
    except InvalidTag:
        return generation, None


def _bound_to(credential_id: str, generation: int) -> bytes:
    return b"%s%d %s" % (_ANSWER_MAGIC, generation, credential_id.encode("utf-8", "surrogatepass"))


def header_of(blob: bytes) -> Header:
    """What the header says, without a key. Raises `NewerVault` or `VaultDamaged`."""
    return _layout(blob).header


def _layout(blob: bytes) -> _Layout:
    if len(blob) < _PREFIX.size:
        raise VaultDamaged("the file is empty or cut short")
    magic, version = _PREFIX.unpack_from(blob)
    if magic != MAGIC:
        raise VaultDamaged("the file is not a vault: unknown magic number")
    if version > VERSION:
        hint = "upgrade git-credential-bitbucket; the vault was not touched"
        raise NewerVault(f"the vault has format {version}, and this version reads up to {VERSION}", hint=hint)
    read = _READERS.get(version)
    if read is None:
        raise VaultDamaged(f"unknown format {version}")
    return read(blob)


def _read_v1(blob: bytes) -> _Layout:
    sealed_from = _V1.size + _CRC.size
    if len(blob) < sealed_from + TAG_BYTES:
        raise VaultDamaged("the file is cut short")
    if _CRC.unpack_from(blob, _V1.size)[0] != zlib.crc32(memoryview(blob)[: _V1.size]):
        raise VaultDamaged("the header does not match its checksum")
    _, version, source, flags, key_id, iterations, lanes, memory_kib, salt, generation, nonce = _V1.unpack_from(blob)
    if source >= len(SOURCES) or flags & ~RECOVERED:
        raise VaultDamaged("the header has unknown fields")
    argon2 = None
    if SOURCES[source] == "passphrase":
        argon2 = Argon2(salt, iterations, lanes, memory_kib)
        if not is_bounded(argon2):
            raise VaultDamaged("the header's Argon2 parameters are out of range")
    header = Header(version, SOURCES[source], key_id, argon2, generation, bool(flags & RECOVERED))
    return _Layout(header, nonce, sealed_from)


_READERS: "dict[int, Callable[[bytes], _Layout]]" = {1: _read_v1}
"""One reader a format version; writing is always done in the newest."""
