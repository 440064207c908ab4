"""The vault's key in the system's keyring, asked for in a child process that is killed when it hangs.

Each key is an item of its own, named by its key id: a vault's old and new key stand side by side during a rekey, and
two vaults never overwrite one another's. Keys travel by pipe, never by argument or environment.
"""

import binascii
import json
import os
from typing import TYPE_CHECKING, Literal

from git_credential_bitbucket import config, processes
from git_credential_bitbucket.errors import KeyringUnavailable, VaultLocked
from git_credential_bitbucket.vault.key import KEY_BYTES, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    Operation = Literal["get", "set", "delete"]

SERVICE = "git-credential-bitbucket"
PROBE_TIMEOUT_S = 3
"""A keyring that is well answers in 50 ms, and this is every git command's delay where it hangs."""
STORE_TIMEOUT_S = 15
"""To store a key it writes to the disk; done once for a vault, and without it the vault is in memory only."""
UNLOCK_TIMEOUT_S = 60
"""Time for a person to find the dialogue and type a password."""

_CHILD_VARIABLES = (
    *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CURRENT_DESKTOP"),
    *("PYTHON_KEYRING_BACKEND", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"),
    *("HOME", "USER", "LOGNAME", "PATH", "LANG", "LC_ALL", "LC_CTYPE"),
)
_UNLOCK = "run: git-credential-bitbucket unlock"
_HINTS = {
    "absent": "start the keyring (gnome-keyring, KWallet) or log in to the desktop",
    "locked": _UNLOCK,
    "hanging": "restart the keyring or log in again",
    "denied": f"unlock the keyring in its own program, then {_UNLOCK}",
    "plaintext": "start a keyring that encrypts (gnome-keyring, KWallet)",
    "disabled": f"unset {config.KEYRING}",
}
_OTHERWISE = (
    "set GIT_CREDENTIAL_BITBUCKET_KEY_FILE, or use a passphrase: git-credential-bitbucket rekey --to passphrase"
)
"""The alternative for a vault that has no key yet."""


def fetch(env: "Mapping[str, str]", key_id: bytes, *, unlock: bool = False) -> Key:
    """The key with `key_id`. Only with `unlock` may a dialogue appear. Raises `KeyringUnavailable`, `VaultLocked`."""
    text = _ask(env, "get", key_id, unlock=unlock)
    if text is None:
        hint = "restore the keyring the vault was made with; the vault was not touched"
        raise VaultLocked(f"the keyring has no key for this vault (id {key_id.hex()})", hint=hint)
    try:
        key = Key(binascii.a2b_base64(text, strict_mode=True), "keyring")
    except ValueError:
        key = None
    if key is None or key.id != key_id:
        hint = f"inspect it with the keyring's own program: service {SERVICE}"
        raise VaultLocked(f"the keyring's item for this vault (id {key_id.hex()}) is not its key", hint=hint)
    return key


def make(env: "Mapping[str, str]") -> Key:
    """A new key, stored in the keyring and read back by another process. Raises `KeyringUnavailable`."""
    key = Key(os.urandom(KEY_BYTES), "keyring")
    _ask(env, "set", key.id, text=key.to_record()["key"])
    try:
        return fetch(env, key.id)
    except VaultLocked as exc:
        cause = "the keyring stored a key but did not return it"
        raise KeyringUnavailable(cause, reason="denied", hint=_HINTS["denied"]) from exc


def remove(env: "Mapping[str, str]", key_id: bytes) -> None:
    """Remove the key with `key_id`, if it is there. Raises `KeyringUnavailable`."""
    _ask(env, "delete", key_id)


def open_up(env: "Mapping[str, str]") -> None:
    """Unlock the keyring, by its dialogue if needed, before a lock is taken that others wait for."""
    _ask(env, "get", bytes(16), unlock=True)


def _ask(
    env: "Mapping[str, str]", operation: "Operation", key_id: bytes, *, unlock: bool = False, text: str | None = None
) -> str | None:
    if not config.is_on(env, config.KEYRING, default=True):
        raise _unavailable(operation, "disabled", f"{config.KEYRING}={env[config.KEYRING]} disables the keyring")
    limit_s = UNLOCK_TIMEOUT_S if unlock else STORE_TIMEOUT_S if operation == "set" else PROBE_TIMEOUT_S
    request = {
        "operation": operation,
        "service": SERVICE,
        "account": f"vault key {key_id.hex()}",
        "key": text,
        "unlock": unlock,
        "limit_s": limit_s,
    }
    worker, chosen = processes.own_command("vault.keyring_worker"), processes.session_variables(env, _CHILD_VARIABLES)
    answer = processes.answer_of(worker, chosen, json.dumps(request).encode(), limit_s)
    if answer is None:
        raise _unavailable(operation, "hanging", f"the keyring did not answer within {limit_s} seconds")
    try:
        told = json.loads(answer)
    except ValueError:
        raise _unavailable(operation, "absent", "the keyring failed without an error message") from None
    if "key" in told:
        return None if told["key"] is None else str(told["key"])
    raise _unavailable(operation, str(told["reason"]), str(told["cause"]))


def _unavailable(operation: "Operation", reason: str, cause: str) -> KeyringUnavailable:
    hint = _HINTS.get(reason, _HINTS["absent"])
    return KeyringUnavailable(cause, reason=reason, hint=f"{hint}, or {_OTHERWISE}" if operation == "set" else hint)
