"""The file format: what is sealed comes back whole, and nothing that was changed comes back at all."""

import os
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_bitbucket.errors import Error, NewerVault, VaultDamaged, WrongKey
from git_credential_bitbucket.vault import format as sealed
from git_credential_bitbucket.vault.key import Argon2, Key

HEADER_BYTES = sealed._V1.size + sealed._CRC.size
VERSION_AT = slice(8, 10)
CRC_AT = slice(HEADER_BYTES - 4, HEADER_BYTES)


def some_key(argon2: Argon2 | None = None) -> Key:
    """A key of this test's own."""
    return Key(os.urandom(32), "environment" if argon2 is None else "passphrase", argon2)


def with_checksum(blob: bytes) -> bytes:
    """`blob` as a forger would leave it: the header's checksum put right again."""
    crc = zlib.crc32(blob[: CRC_AT.start]).to_bytes(4)
    return blob[: CRC_AT.start] + crc + blob[HEADER_BYTES:]


@settings(max_examples=100)
@given(content=st.binary(max_size=5000), generation=st.integers(0, 2**64 - 1), recovered=st.booleans())
def test_what_is_sealed_comes_back(content: bytes, generation: int, recovered: bool) -> None:
    """Content, generation and flag survive the round trip, and the header can be read without the key."""
    key = some_key()
    blob = sealed.seal(key, content, generation, recovered=recovered)
    header, back = sealed.unseal(key, blob)
    assert back == content
    assert (header.generation, header.recovered, header.source) == (generation, recovered, "environment")
    assert sealed.header_of(blob) == header


@settings(max_examples=30)
@given(salt=st.binary(min_size=16, max_size=16), iterations=st.integers(1, 10), lanes=st.integers(1, 64))
def test_a_passphrase_s_numbers_stand_in_the_header(salt: bytes, iterations: int, lanes: int) -> None:
    """Salt and costs can be read back without the key, for it takes them to make the key again."""
    argon2 = Argon2(salt, iterations, lanes, 8 * lanes)
    assert sealed.header_of(sealed.seal(some_key(argon2), b"{}", 1)).argon2 == argon2


def test_every_byte_of_the_header_counts() -> None:
    """One changed byte anywhere in the header is refused: by its checksum or, where a forger mends that, the seal."""
    key = some_key(Argon2(os.urandom(16), 3, 4, 65536))
    blob = sealed.seal(key, b'{"credentials":[]}', 7)
    for at in range(HEADER_BYTES):
        for flip in (0x01, 0x80, 0xFF):
            changed = blob[:at] + bytes([blob[at] ^ flip]) + blob[at + 1 :]
            for forged in (changed, with_checksum(changed) if at < CRC_AT.start else changed):
                with pytest.raises((VaultDamaged, NewerVault, WrongKey)):
                    sealed.unseal(key, forged)


def test_every_byte_of_the_content_counts() -> None:
    """One changed byte of ciphertext or tag is damage."""
    key = some_key()
    blob = sealed.seal(key, b'{"a":1}', 1)
    for at in range(HEADER_BYTES, len(blob)):
        with pytest.raises(VaultDamaged):
            sealed.unseal(key, blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])


def test_a_cut_file_is_damage_at_every_length() -> None:
    """No prefix of a vault opens, the empty one included; nor does a vault with something added."""
    key = some_key()
    blob = sealed.seal(key, b'{"a":1}', 1)
    for length in range(len(blob)):
        with pytest.raises(VaultDamaged):
            sealed.unseal(key, blob[:length])
    with pytest.raises(VaultDamaged):
        sealed.unseal(key, blob + b"\0")


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: sealed.MAGIC + tail)))
def test_no_input_does_more_than_be_refused(blob: bytes) -> None:
    """Whatever lies under the vault's name, reading its header ends in a header or in one of our errors."""
    try:
        sealed.header_of(blob)
    except Error:
        pass


def test_another_key_is_told_from_damage() -> None:
    """A key that does not fit is told by the id, before anything is decrypted."""
    with pytest.raises(WrongKey):
        sealed.unseal(some_key(), sealed.seal(some_key(), b"{}", 1))


def test_a_newer_format_is_left_to_the_newer_program() -> None:
    """A version above ours is neither opened nor called damaged, whatever else the file holds."""
    blob = bytearray(sealed.seal(some_key(), b"{}", 1))
    blob[VERSION_AT] = (sealed.VERSION + 1).to_bytes(2)
    for newer in (bytes(blob), bytes(blob[:10])):
        with pytest.raises(NewerVault) as caught:
            sealed.header_of(newer)
        assert "upgrade" in str(caught.value.hint)


def test_every_format_ever_written_has_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of today's format opens in a program that writes a later one."""
    assert set(sealed._READERS) == set(range(1, sealed.VERSION + 1))
    key = some_key()
    old = sealed.seal(key, b'{"old":1}', 3)
    monkeypatch.setattr(sealed, "VERSION", sealed.VERSION + 1)
    assert sealed.unseal(key, old)[1] == b'{"old":1}'


def test_a_forged_header_cannot_order_endless_work() -> None:
    """Costs of a passphrase beyond reason are refused before anything is computed with them."""
    for iterations, lanes, memory_kib in ((2**31, 4, 65536), (3, 4, 2**32 - 1), (3, 2**16, 65536), (0, 0, 0)):
        argon2 = Argon2(bytes(16), iterations, lanes, memory_kib)
        with pytest.raises(VaultDamaged, match="out of range"):
            sealed.header_of(sealed.seal(some_key(argon2), b"{}", 1))


def test_no_two_writes_share_a_nonce_or_a_text() -> None:
    """The same content sealed again has another nonce and another ciphertext, and none of the plain text in it."""
    key = some_key()
    content = b'{"workspace":"acme"}'
    blobs = [sealed.seal(key, content, 1) for _ in range(200)]
    assert len({blob[HEADER_BYTES - 16 : HEADER_BYTES - 4] for blob in blobs}) == len(blobs)
    assert len({blob[HEADER_BYTES:] for blob in blobs}) == len(blobs)
    assert not any(b"acme" in blob for blob in blobs)
