"""`rekey`: encrypts the vault with another key, or with one stored elsewhere."""

from __future__ import annotations

import os
import shlex
from binascii import b2a_base64

import click

from git_credential_bitbucket import files
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import DaemonUnavailable, Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import output, prompts
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.key import KEY_BYTES, Key

KEYRING, PASSPHRASE, KEY_FILE, ENVIRONMENT = "keyring", "passphrase", "key-file", "environment"

HELP = f"""
\b
--to keyring: a new key, stored in the system keyring
--to passphrase: a new passphrase, entered twice
--to key-file: the key in --key-file FILE
--to environment: the key in a variable

The current key is needed, wherever it is stored. Without a terminal, passphrases are lines of standard input: the
current one, if the vault has one, before the new one. A key file that does not exist is created. The variable is
{key_sources.KEY_VARIABLE}; if it holds the current key too, put that into a file and name it in
{key_sources.KEY_FILE_VARIABLE}.
"""


@options.verb("rekey", HELP)
@click.option("--to", "source", type=click.Choice([KEYRING, PASSPHRASE, KEY_FILE, ENVIRONMENT]), required=True)
@click.option(
    "--key-file", metavar="FILE", help="With --to key-file: the file with the key, created if it does not exist."
)
def command(*, source: str, key_file: str | None) -> None:
    """Re-encrypt the vault."""
    if source == KEY_FILE and key_file is None:
        raise click.UsageError("--to key-file needs --key-file FILE")
    if source != KEY_FILE and key_file is not None:
        raise click.UsageError("--key-file needs --to key-file")
    header = vault_setup.header()
    prompter = prompts.prompter()
    # The variable has the new key, so the present one is read from a file.
    in_file = source == ENVIRONMENT and header.source in ("environment", "file")
    old_key = vault_setup.find_key(prompter, header, os.environ.get(key_sources.KEY_FILE_VARIABLE) if in_file else None)
    if dict(ask("status"))["vault"] == "locked":
        vault_setup.hand_over_key(old_key)
    key = new_key(source, key_file, prompter)
    try:
        ask("rekey", [*key.to_record().items(), ("old_key", old_key.to_record()["key"])])
    except DaemonUnavailable:
        raise  # the daemon may still do it, so nothing may be removed
    except Error:
        if key.source == KEYRING and _sealed_with(key) is False:
            _remove_from_keyring(key.id)
        raise
    if header.source == KEYRING and header.key_id != key.id:
        _remove_from_keyring(header.key_id)
    output.say(f"Vault re-encrypted; its key comes from {vault_setup.key_source_label(vault_setup.vault().header())}.")
    if source == KEY_FILE:
        path = shlex.quote(os.path.abspath(key_file or ""))
        output.say(f"Set this where git runs: {key_sources.KEY_FILE_VARIABLE}={path}", is_whole=True)


def new_key(source: str, key_file: str | None, prompter: prompts.Prompter) -> Key:
    """The new key. Raises `Error` if it cannot be read or made."""
    if source == PASSPHRASE:
        return vault_setup.new_passphrase(prompter, "the vault's key is unchanged; try again")
    if source == KEYRING:
        from git_credential_bitbucket.vault import keyring_key  # lazy: keyring starts a process

        keyring_key.open_up(os.environ)
        return keyring_key.make(os.environ)
    if source == KEY_FILE:
        make_key_file(key_file or "")
        given = key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: key_file or ""})
    else:
        given = key_sources.from_environment({key_sources.KEY_VARIABLE: os.environ.get(key_sources.KEY_VARIABLE, "")})
    if given is None:
        hint = "create a key: head -c 32 /dev/urandom | base64"
        raise VaultLocked(f"{key_sources.KEY_VARIABLE} is not set", hint=hint)
    return given


def make_key_file(path: str) -> None:
    """Write a new key to a new file, 0600; an existing file is not changed. Raises `Error`."""
    try:
        files.create(path, b2a_base64(os.urandom(KEY_BYTES)))
    except FileExistsError:
        return


def _sealed_with(key: Key) -> bool | None:
    """Whether the vault is encrypted with `key`; None if that is not known, and then nothing may be removed."""
    try:
        header = vault_setup.vault().header()
    except Error:
        return None
    return header is not None and header.key_id == key.id


def _remove_from_keyring(key_id: bytes) -> None:
    from git_credential_bitbucket.vault import keyring_key  # lazy: keyring starts a process

    try:
        keyring_key.remove(os.environ, key_id)
    except KeyringUnavailable as exc:
        output.warn(f"the old key is still in the keyring: {exc.cause}", "it no longer opens the vault")
