"""The vault's key: 32 bytes from the environment, a key file, the keyring or a passphrase, in this order.

Owns what a key is and who may bring it. Imports format (for the header) below it; the cipher, Argon2id and the keyring
are imported where they are needed, for each costs 15 to 150 ms.
"""

import binascii
import os
import unicodedata
from _blake2 import blake2b  # not hashlib, which would load a second OpenSSL beside cryptography's: 3.5 MiB
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import InsecurePath, VaultLocked, WrongKey
from git_credential_bitbucket.paths import is_handed_to_us, shown, typed
from git_credential_bitbucket.vault.format import SALT_BYTES, SOURCES, Argon2, Header, is_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from git_credential_bitbucket.secret import Secret

KEY_BYTES = 32
KEY_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_KEY"
KEY_FILE_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_KEY_FILE"
ARGON2_ITERATIONS = 3
ARGON2_LANES = 4
ARGON2_MEMORY_KIB = 65536
"""RFC 9106 section 4, second recommendation; well above OWASP's floor (19 MiB, 2 iterations). About 0.1 s."""

_MAX_KEY_FILE_BYTES = 4096
_MAKE_ONE = "make one: head -c 32 /dev/urandom | base64"
_UNLOCK = "type: git-credential-bitbucket unlock"


class Key:
    """The vault's key and where it came from. A class because it wipes itself: when its last client lets go of it
    (`Vault.lock`, the end of a transaction), the bytes are overwritten. Copies inside OpenSSL are OpenSSL's to wipe.
    """

    __slots__ = ("_material", "argon2", "id", "source")

    def __init__(self, material: bytes | bytearray, source: str, argon2: Argon2 | None = None) -> None:
        """`source` is one of `format.SOURCES`; `argon2` says how a passphrase was stretched."""
        self._material = bytearray(material)
        if len(material) != KEY_BYTES or source not in SOURCES or (source == "passphrase") != (argon2 is not None):
            raise ValueError("not a vault key")
        self.source = source
        self.argon2 = argon2
        # A keyed hash: as good as random to whoever does not have the key, and the same for every vault it seals.
        self.id = blake2b(key=self._material, digest_size=16, person=b"gcb vault key id").digest()

    def cipher(self) -> "AESGCM":
        """AES-256-GCM with this key."""
        # here, not above: 15 ms, and the absent or locked vault needs none of it
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._material)

    def to_record(self) -> dict[str, str]:
        """The key for a pipe to one's own kind (`unlock`, a daemon's successor): strings, the secret one in base64."""
        record = {"key": binascii.b2a_base64(self._material, newline=False).decode(), "source": self.source}
        if self.argon2 is not None:
            record["salt"] = self.argon2.salt.hex()
            record["argon2"] = f"{self.argon2.iterations},{self.argon2.lanes},{self.argon2.memory_kib}"
        return record

    def is_same(self, other: "Key") -> bool:
        """Whether both are the same 32 bytes, wherever they came from; told in constant time."""
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
            raise VaultLocked("what was sent is not a vault key", hint=_UNLOCK)
        return key

    def __repr__(self) -> str:
        return f"Key({self.source}, id {self.id.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def __del__(self) -> None:
        self._material[:] = bytes(len(self._material))


def from_environment(env: "Mapping[str, str]") -> Key | None:
    """The key in `GIT_CREDENTIAL_BITBUCKET_KEY`, else in the file that `…_KEY_FILE` names; None where neither is set.

    Raises `VaultLocked` where one is set to something that is no key, and `InsecurePath` for a file others can read.
    """
    if text := env.get(KEY_VARIABLE):
        material = _decoded(text.encode("utf-8", "surrogateescape"))
        if material is None:
            raise VaultLocked(f"{KEY_VARIABLE} is not {KEY_BYTES} bytes in base64", hint=_MAKE_ONE)
        return Key(material, "environment")
    if path := env.get(KEY_FILE_VARIABLE):
        if not path.startswith("/"):
            cause = f"{KEY_FILE_VARIABLE} is a relative path, and git runs its helpers in the work tree"
            raise VaultLocked(cause, hint="write an absolute path")
        held = _read_key_file(path)
        material = held if len(held) == KEY_BYTES else _decoded(held)
        if material is None:
            raise VaultLocked(f"{shown(path)} holds no key: {KEY_BYTES} bytes, raw or in base64", hint=_MAKE_ONE)
        return Key(material, "file")
    return None


def from_secret(secret: "Secret", purpose: str) -> Key:
    """The key for `purpose` that HKDF (RFC 5869) makes of a secret with enough bits, such as an OAuth consumer's."""
    # lazy: only an in-process answer for a consumer in the environment needs it
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"git-credential-bitbucket: {purpose}".encode()).derive
    return Key(derive(secret.reveal().encode("utf-8", "surrogateescape")), "environment")


def from_passphrase(passphrase: "Secret", argon2: Argon2 | None = None) -> Key:
    """The key that Argon2id makes of `passphrase`: as the vault's header says, else with a new salt (a new vault)."""
    # here, not above: only a person who types a passphrase needs it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    if not passphrase:
        raise VaultLocked("an empty passphrase protects nothing", hint="choose one of several words")
    how = argon2 or Argon2(os.urandom(SALT_BYTES), ARGON2_ITERATIONS, ARGON2_LANES, ARGON2_MEMORY_KIB)
    # NFC: keyboards differ in how they send an accented letter, and the same passphrase must give the same key
    typed = unicodedata.normalize("NFC", passphrase.reveal()).encode("utf-8", "surrogateescape")
    try:
        stretch = Argon2id(
            salt=how.salt, length=KEY_BYTES, iterations=how.iterations, lanes=how.lanes, memory_cost=how.memory_kib
        )
        return Key(stretch.derive(typed), "passphrase", how)
    except UnsupportedAlgorithm:
        raise VaultLocked(
            "this system's OpenSSL has no Argon2id, so there can be no passphrase here",
            hint="install cryptography as a wheel: pip install --only-binary cryptography cryptography",
        ) from None


def obtain(env: "Mapping[str, str]", header: Header | None, *, unlock: bool = False) -> Key:
    """The key of the vault with `header` (None: there is no vault yet) without asking for a passphrase.

    `unlock` lets the keyring show a dialogue. The key id decides: a key in the environment that belongs to another
    vault is passed over for the keyring's, but for nothing else. Raises `WrongKey`, `VaultLocked`,
    `KeyringUnavailable`, `InsecurePath`; each says what is missing.
    """
    given = from_environment(env)
    if header is None:
        if given is None:
            raise VaultLocked("there is no vault yet and no key for one", hint="type: git-credential-bitbucket login")
        return given
    if given is not None and given.id == header.key_id:
        return given
    if header.source == "keyring":
        from git_credential_bitbucket.vault import keyring_key  # here, not above: it starts processes

        return keyring_key.fetch(env, header.key_id, unlock=unlock)
    if given is not None:
        variable = KEY_VARIABLE if given.source == "environment" else KEY_FILE_VARIABLE
        raise WrongKey(
            f"the key in {variable} is not the one that the vault was sealed with",
            hint=f"the vault's key came from {_ORIGINS[header.source]}",
        )
    if header.source == "passphrase":
        raise VaultLocked("the vault is locked with a passphrase", hint=_UNLOCK)
    raise VaultLocked(
        f"the vault's key is to come from {_ORIGINS[header.source]}, which is not set",
        hint="set it where the daemon is started from, or type: git-credential-bitbucket unlock --key-file FILE",
    )


_ORIGINS = {
    "environment": KEY_VARIABLE,
    "file": f"{KEY_VARIABLE} or {KEY_FILE_VARIABLE}",
    "passphrase": f"a passphrase; {_UNLOCK}",
}


def _decoded(text: bytes) -> bytes | None:
    """32 bytes from base64, plain or URL-safe, padded or not, white space around it; None for anything else."""
    bare = text.strip(b" \t\r\n").rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        material = binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        return None
    return material if len(material) == KEY_BYTES else None


def _read_key_file(path: str) -> bytes:
    """The file's content, if nobody else can read it. Links are followed: Kubernetes mounts every secret as one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as exc:
        raise VaultLocked(
            f"the key file {shown(path)} cannot be read: {(exc.strerror or '').lower()}",
            hint=f"mend it, or set {KEY_FILE_VARIABLE} to another",
        ) from exc
    try:
        if not is_handed_to_us(os.fstat(fd)):
            raise InsecurePath(
                f"the key file {shown(path)} is not a plain file that only we can read",
                hint=f"type: chmod 0400 {typed(path)} (in Kubernetes: defaultMode: 0400)",
            )
        return files.read_all(fd, _MAX_KEY_FILE_BYTES)
    finally:
        os.close(fd)
