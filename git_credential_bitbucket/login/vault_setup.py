"""Opens the vault for a person: finds its key, asks for the passphrase, and offers one where there is no vault yet.

Asks the keyring in this process and not in the daemon: the person's session and its dialogue are here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.client import daemon_launcher
from git_credential_bitbucket.client.shared_client import ask, look
from git_credential_bitbucket.errors import DaemonUnavailable, Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.ui import prompts
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.storage.file import FileStorage
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.ui.prompts import Answers
    from git_credential_bitbucket.vault.format import Header
    from git_credential_bitbucket.vault.key import Key

_MEMORY = "to store it only until the daemon stops: git-credential-bitbucket login --memory"
MIN_PASSPHRASE_CHARACTERS = 12
"""Argon2id makes guessing slow, not impossible: a shorter new passphrase is refused."""
_TOKEN_TYPED = "this is a Bitbucket token, not the vault's passphrase"


def vault() -> Vault:
    """The vault's file, seen from this process and without a key."""
    return Vault(FileStorage(paths.vault_path(os.environ)))


class NewVault:
    """How a vault that is yet to be gets its key. A class because that waits until all questions are answered."""

    def __init__(self, key: Key | None) -> None:
        """`key` None: the keyring is given a new one."""
        self._key = key

    def found(self) -> None:
        """Give the client its key now; the first credential that is kept writes the vault."""
        key = self._key
        if key is None:
            here = vault()
            here.acquire(os.environ, create=True)
            key = here.key
        if key is not None:
            give(key)


def prepare(answers: Answers, *, memory: bool) -> NewVault | None:
    """See to it that a credential can be kept, before anything is done that cannot be done twice.

    Returns what is left to be done with the credential in hand. Raises an `Error` where it could not be kept.
    """
    told = dict(ask("status"))
    if memory:
        if "pid" not in told:
            daemon_launcher.check_allowed(os.environ)
            cause = "no daemon is running to hold the credential in memory"
            raise DaemonUnavailable(cause, hint="run: git-credential-bitbucket daemon start")
        return None
    if told["vault"] == "locked":
        answers.say("The vault is locked.")
        unlock(answers)
    elif told["vault"] == "absent":
        return new_vault(answers, os.environ)
    elif "trouble" in told:
        raise Error(told["trouble"], hint=told.get("hint") or None)
    return None


def new_vault(answers: Answers, env: Mapping[str, str]) -> NewVault:
    """The key for a vault that is yet to be: from the environment, the keyring, or a new passphrase. Raises `Error`."""
    given = key_sources.from_environment(env)
    if given is not None:
        return NewVault(given)
    from git_credential_bitbucket.vault import keyring_key  # lazy: it starts a process

    try:
        keyring_key.open_up(env)
    except KeyringUnavailable as exc:
        if answers.terminal is None:
            raise KeyringUnavailable(
                f"there is no key to encrypt the vault with: {exc.cause}",
                reason=exc.reason,
                hint="log in at a terminal for a passphrase, set GIT_CREDENTIAL_BITBUCKET_KEY_FILE, or add --memory",
            ) from exc
        answers.say(f"Tokens are stored encrypted. No system keyring was found, so choose a passphrase ({exc.cause}).")
        return NewVault(new_passphrase(answers))
    return NewVault(None)


def new_passphrase(answers: Answers, otherwise: str = _MEMORY) -> Key:
    """A key from a passphrase that nobody has typed before: asked for twice at a terminal.

    Raises `VaultLocked` where none is typed; `otherwise` is what there is to do instead.
    """
    answers.say("Use several words, and keep the passphrase somewhere safe: a lost one cannot be recovered.")
    cause = ""
    for tries_left in reversed(range(prompts.TRIES)):
        typed = answers.secret("New passphrase")
        if not typed:
            raise VaultLocked("no passphrase was given, and nothing was stored", hint=otherwise)
        cause = _unfit(typed)
        if not cause:
            if answers.terminal is None or answers.secret("Repeat passphrase") == typed:
                return key_sources.from_passphrase(Secret(typed))
            cause = "the passphrases do not match"
        if answers.terminal is None:
            break
        if tries_left:  # the last one's is the error
            answers.say(f"{cause[0].upper()}{cause[1:]}.", style="yellow")
    raise VaultLocked(cause, hint="nothing was stored; try again")


def _unfit(typed: str) -> str:
    """Why a new passphrase is not taken; empty where it is."""
    if token_kinds.recognise(typed.strip()) != token_kinds.UNKNOWN:
        return _TOKEN_TYPED
    if len(typed) < MIN_PASSPHRASE_CHARACTERS:
        return f"a passphrase needs at least {MIN_PASSPHRASE_CHARACTERS} characters; shorter ones can be guessed"
    return ""


def unlock(answers: Answers, key_file: str | None = None, *, by_hand: bool = False) -> None:
    """Find the vault's key, asking whoever is there, and give it to the client; `by_hand` as `give`. Raises `Error`."""
    give(find_key(answers, header(), key_file), by_hand=by_hand)


def header() -> Header:
    """What the vault's file says of its key. Raises `VaultLocked` where there is none yet."""
    found = vault().header()
    if found is None:
        raise VaultLocked("there is no vault yet", hint="the first login creates it: git-credential-bitbucket login")
    return found


def find_key(answers: Answers, header: Header, key_file: str | None = None) -> Key:
    """The key that the vault with `header` was sealed with. Raises `VaultLocked`, `KeyringUnavailable`."""
    if key_file is not None:
        given = key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: key_file})
        if given is None or given.id != header.key_id:
            raise VaultLocked("the key in this file is not the vault's", hint="give the file with the vault's key")
        return given
    if header.source != "passphrase":
        if header.source == "keyring":
            answers.say("Waiting for the keyring, which may open a dialogue (up to a minute).")
        return key_sources.obtain(os.environ, header, unlock=True)
    try:
        given = key_sources.from_environment(os.environ)
    except Error as exc:  # the passphrase is another way in
        answers.say(f"{git_protocol.printable(exc.cause, 1000)}.", style="yellow")
        given = None
    if given is not None and given.id == header.key_id:
        return given
    cause = "no passphrase was given"
    for _ in range(prompts.TRIES if answers.terminal is not None else 1):
        typed = answers.secret("Passphrase of the vault")
        if not typed:
            break
        key = key_sources.from_passphrase(Secret(typed), header.argon2)
        if key.id == header.key_id:
            return key
        is_token = token_kinds.recognise(typed.strip()) != token_kinds.UNKNOWN
        cause = _TOKEN_TYPED if is_token else "wrong passphrase"
        answers.say(f"{_TOKEN_TYPED}." if is_token else "Wrong passphrase.", style="yellow")
    raise VaultLocked(f"the vault is still locked: {cause}", hint="to try again, run: git-credential-bitbucket unlock")


def give(key: Key, *, by_hand: bool = False) -> None:
    """Hand a key to the daemon. Raises `Error` if it does not fit.

    What a person has locked, by `lock` or by leaving, is opened `by_hand`, or by whoever has just given its passphrase.
    """
    person = [("person", "1")] if by_hand or key.source == "passphrase" else []
    ask("unlock", [*key.to_record().items(), *person])


def readable() -> None:
    """Unlock the vault if it is locked and somebody is there to do it: for verbs that a person typed."""
    terminal = prompts.choosing()
    if terminal is not None and dict(look("status"))["vault"] == "locked":
        unlock(prompts.Answers(terminal))


def shown_key_source(header: Header | None) -> str | None:
    """Where the vault's key comes from, in words."""
    if header is None:
        return None
    return {
        "environment": f"the environment ({key_sources.KEY_VARIABLE})",
        "file": "a key file",
        "keyring": "the keyring",
        "passphrase": "a passphrase",
    }[header.source]


def shown_path() -> str:
    """Where the vault is."""
    return git_protocol.printable(paths.vault_path(os.environ), 1000)
