"""Unlocks the vault, or prepares a new one: finds its key, or asks for a passphrase.

The keyring is asked in this process, not in the daemon, because its dialogue needs the user's session.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import daemon_launcher
from git_credential_bitbucket.client.shared_client import ask, query
from git_credential_bitbucket.errors import DaemonUnavailable, Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.ui import prompts
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.storage.selection import open_storage
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.vault.format import Header
    from git_credential_bitbucket.vault.key import Key

_MEMORY = "to store it only until the daemon stops: git-credential-bitbucket login --memory"
MIN_PASSPHRASE_CHARACTERS = 12
"""Of a new passphrase: Argon2id makes guessing slow, not impossible."""
_TOKEN_TYPED = "this is a Bitbucket token, not the vault's passphrase"


def vault(env: Mapping[str, str] = os.environ) -> Vault:
    """The vault of `env`, opened in this process without a key."""
    return Vault(open_storage(env))


class NewVault:
    """The key of a vault that is created after the last question."""

    def __init__(self, key: Key | None) -> None:
        """`key` None: a new one, stored in the keyring."""
        self._key = key

    def create(self) -> None:
        """Give the daemon the key; the first stored credential writes the vault."""
        here = vault()
        self.unlock(here, os.environ)
        if here.key is not None:
            hand_over_key(here.key)

    def unlock(self, new: Vault, env: Mapping[str, str]) -> None:
        """Give the vault itself the key; one in the keyring is made for it now."""
        if self._key is None:
            new.acquire(env, create=True)
        else:
            new.unlock(self._key)


def prepare(prompter: prompts.Prompter, *, memory: bool) -> NewVault | None:
    """Check that a credential can be stored, and unlock the vault, before anything that cannot be repeated.

    Returns the vault to create once the credential is obtained. Raises an `Error` if it could not be stored.
    """
    status = dict(ask("status"))
    if memory:
        if "pid" not in status:
            daemon_launcher.check_allowed(os.environ)
            cause = "no daemon is running to hold the credential in memory"
            raise DaemonUnavailable(cause, hint="run: git-credential-bitbucket daemon start")
        return None
    if status["vault"] == "locked":
        prompter.say("The vault is locked.")
        unlock(prompter)
    elif status["vault"] == "absent":
        return new_vault(prompter, os.environ)
    elif "trouble" in status:
        raise Error(status["trouble"], hint=status.get("hint") or None)
    return None


def new_vault(prompter: prompts.Prompter, env: Mapping[str, str]) -> NewVault:
    """The key for a new vault: from the environment, the keyring, or a new passphrase. Raises `Error`."""
    given = key_sources.from_environment(env)
    if given is not None:
        return NewVault(given)
    from git_credential_bitbucket.vault import keyring_key  # lazy: keyring starts a process

    try:
        keyring_key.open_up(env)
    except KeyringUnavailable as exc:
        if prompter.terminal is None:
            cause = f"there is no key to encrypt the vault with: {exc.cause}"
            hint = "log in at a terminal for a passphrase, set GIT_CREDENTIAL_BITBUCKET_KEY_FILE, or add --memory"
            raise KeyringUnavailable(cause, reason=exc.reason, hint=hint) from exc
        prompter.say(f"Tokens are stored encrypted. Choose a passphrase for the vault ({exc.cause}).")
        return NewVault(new_passphrase(prompter))
    return NewVault(None)


def new_passphrase(prompter: prompts.Prompter, otherwise: str = _MEMORY) -> Key:
    """A key from a new passphrase, asked for twice at a terminal.

    Raises `VaultLocked` if none is entered, with the hint `otherwise`.
    """
    prompter.say("Use several words, and keep the passphrase somewhere safe: a lost one cannot be recovered.")
    cause = ""
    for tries_left in reversed(range(prompts.TRIES)):
        typed = prompter.secret("New passphrase")
        if not typed:
            raise VaultLocked("no passphrase was given, and nothing was stored", hint=otherwise)
        cause = _passphrase_problem(typed)
        if not cause:
            if prompter.terminal is None or prompter.secret("Repeat passphrase") == typed:
                return key_sources.from_passphrase(Secret(typed))
            cause = "the passphrases do not match"
        if prompter.terminal is None:
            break
        if tries_left:  # the last one is the error
            prompter.say(f"{cause[0].upper()}{cause[1:]}.", style="yellow")
    raise VaultLocked(cause, hint="nothing was stored; try again")


def _passphrase_problem(typed: str) -> str:
    """What is wrong with a new passphrase; empty if nothing."""
    if token_kinds.recognise(typed.strip()) != token_kinds.UNKNOWN:
        return _TOKEN_TYPED
    if len(typed) < MIN_PASSPHRASE_CHARACTERS:
        return f"a passphrase needs at least {MIN_PASSPHRASE_CHARACTERS} characters; shorter ones can be guessed"
    return ""


def unlock(prompter: prompts.Prompter, key_file: str | None = None, *, by_hand: bool = False) -> None:
    """Find the vault's key, asking if needed, and give it to the daemon, as `hand_over_key`. Raises `Error`."""
    hand_over_key(find_key(prompter, header(), key_file), by_hand=by_hand)


def header() -> Header:
    """The vault's header, which describes its key. Raises `VaultLocked` if there is no vault."""
    found = vault().header()
    if found is None:
        raise VaultLocked("there is no vault yet", hint="the first login creates it: git-credential-bitbucket login")
    return found


def find_key(prompter: prompts.Prompter, header: Header, key_file: str | None = None) -> Key:
    """The key of the vault with `header`. Raises `VaultLocked`, `KeyringUnavailable`."""
    if key_file is not None:
        given = key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: key_file})
        if given is None or given.id != header.key_id:
            raise VaultLocked("the key in this file is not the vault's", hint="give the file with the vault's key")
        return given
    if header.source != "passphrase":
        if header.source == "keyring":
            prompter.say("Waiting for the keyring, which may open a dialogue (up to a minute).")
        return key_sources.obtain(os.environ, header, unlock=True)
    try:
        given = key_sources.from_environment(os.environ)
    except Error as exc:  # the passphrase may still work
        prompter.say(f"{git_protocol.printable(exc.cause, 1000)}.", style="yellow")
        given = None
    if given is not None and given.id == header.key_id:
        return given
    cause = "no passphrase was given"
    for _ in range(prompts.TRIES if prompter.terminal is not None else 1):
        typed = prompter.secret("Passphrase of the vault")
        if not typed:
            break
        key = key_sources.from_passphrase(Secret(typed), header.argon2)
        if key.id == header.key_id:
            return key
        is_token = token_kinds.recognise(typed.strip()) != token_kinds.UNKNOWN
        cause = _TOKEN_TYPED if is_token else "wrong passphrase"
        prompter.say(f"{_TOKEN_TYPED}." if is_token else "Wrong passphrase.", style="yellow")
    raise VaultLocked(f"the vault is still locked: {cause}", hint="to try again, run: git-credential-bitbucket unlock")


def hand_over_key(key: Key, *, by_hand: bool = False) -> None:
    """Give the daemon a key. Raises `Error` if it is the wrong one.

    A vault locked by `lock` or by idleness is unlocked only `by_hand` or by its passphrase.
    """
    person = [("person", "1")] if by_hand or key.source == "passphrase" else []
    ask("unlock", [*key.to_record().items(), *person])


def unlock_if_locked() -> None:
    """Unlock the vault if it is locked and there is a terminal to ask at."""
    terminal = prompts.interactive_terminal()
    if terminal is not None and dict(query("status"))["vault"] == "locked":
        unlock(prompts.Prompter(terminal))


def key_source_label(header: Header | None) -> str | None:
    """The source of the vault's key, in words."""
    if header is None:
        return None
    return {
        "environment": f"the environment ({key_sources.KEY_VARIABLE})",
        "file": "a key file",
        "keyring": "the keyring",
        "passphrase": "a passphrase",
    }[header.source]


def shown_path() -> str:
    """The vault's path, printable."""
    return git_protocol.printable(paths.vault_address(os.environ), 1000)
