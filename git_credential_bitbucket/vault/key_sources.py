"""Where the vault's key comes from: the environment, a key file, the keyring or a passphrase, in this order.

Argon2id and the keyring are imported where they are needed: they cost 15 to 150 ms.
"""

import binascii
import os
import unicodedata
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import InsecurePath, VaultLocked, WrongKey, system_reason
from git_credential_bitbucket.paths import is_private_file, shown, typed
from git_credential_bitbucket.vault.key import KEY_BYTES, SALT_BYTES, Argon2, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.vault.format import Header

KEY_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_KEY"
KEY_FILE_VARIABLE = "GIT_CREDENTIAL_BITBUCKET_KEY_FILE"
ARGON2_ITERATIONS = 3
ARGON2_LANES = 4
ARGON2_MEMORY_KIB = 65536
"""RFC 9106 section 4, second recommendation; well above OWASP's floor (19 MiB, 2 iterations). About 0.1 s."""

_MAX_KEY_FILE_BYTES = 4096
_MAKE_ONE = "create one: head -c 32 /dev/urandom | base64"
_UNLOCK = "run: git-credential-bitbucket unlock"


def from_environment(env: "Mapping[str, str]") -> Key | None:
    """The key in `GIT_CREDENTIAL_BITBUCKET_KEY`, else in the file that `…_KEY_FILE` names; None where neither is set.

    Raises `VaultLocked` where one is set to something else than a key, `InsecurePath` for a file others can read.
    """
    if text := env.get(KEY_VARIABLE):
        material = _decoded(text.encode("utf-8", "surrogateescape"))
        if material is None:
            raise VaultLocked(f"{KEY_VARIABLE} is not {KEY_BYTES} bytes in base64", hint=_MAKE_ONE)
        return Key(material, "environment")
    if path := env.get(KEY_FILE_VARIABLE):
        if not path.startswith("/"):
            cause = f"{KEY_FILE_VARIABLE} is a relative path, and git runs helpers in the work tree"
            raise VaultLocked(cause, hint="write an absolute path")
        held = _read_key_file(path)
        material = held if len(held) == KEY_BYTES else _decoded(held)
        if material is None:
            raise VaultLocked(f"{shown(path)} does not contain a key: {KEY_BYTES} bytes, raw or base64", hint=_MAKE_ONE)
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
    # lazy: only a typed passphrase needs it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    if not passphrase:
        raise VaultLocked("the passphrase is empty", hint="choose one of several words")
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
            "this system's OpenSSL has no Argon2id, so passphrases are not supported",
            hint="install cryptography as a wheel: pip install --only-binary cryptography cryptography",
        ) from None


def obtain(env: "Mapping[str, str]", header: "Header | None", *, unlock: bool = False) -> Key:
    """The key of the vault with `header` (None: there is no vault yet) without asking for a passphrase.

    `unlock` lets the keyring show a dialogue. The key id decides: a key in the environment that belongs to another
    vault is passed over for the keyring's, but for nothing else. Raises `WrongKey`, `VaultLocked`,
    `KeyringUnavailable`, `InsecurePath`; each says what is missing.
    """
    given = from_environment(env)
    if header is None:
        if given is None:
            raise VaultLocked("there is no vault yet and no key for one", hint="run: git-credential-bitbucket login")
        return given
    if given is not None and given.id == header.key_id:
        return given
    if header.source == "keyring":
        from git_credential_bitbucket.vault import keyring_key  # lazy: it starts processes

        return keyring_key.fetch(env, header.key_id, unlock=unlock)
    if given is not None:
        variable = KEY_VARIABLE if given.source == "environment" else KEY_FILE_VARIABLE
        hint = f"use the key that it was encrypted with, from {_ORIGINS[header.source]}"
        raise WrongKey(f"the key in {variable} is not the one that the vault is encrypted with", hint=hint)
    if header.source == "passphrase":
        raise VaultLocked("the vault is locked with a passphrase", hint=_UNLOCK)
    hint = "set it where the daemon is started, or run: git-credential-bitbucket unlock --key-file FILE"
    raise VaultLocked(f"the vault's key is read from {_ORIGINS[header.source]}, which is not set", hint=hint)


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
    """The file's content, if no one else can read it. Links are followed: Kubernetes mounts secrets as links."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as exc:
        hint = f"fix that, or set {KEY_FILE_VARIABLE} to another file"
        raise VaultLocked(f"the key file {shown(path)} cannot be read: {system_reason(exc)}", hint=hint) from exc
    try:
        if not is_private_file(os.fstat(fd)):
            hint = f"run: chmod 0400 {typed(path)} (in Kubernetes: defaultMode: 0400)"
            raise InsecurePath(f"the key file {shown(path)} is not a regular file that only you can read", hint=hint)
        return files.read_all(fd, _MAX_KEY_FILE_BYTES)
    finally:
        os.close(fd)
