"""`rekey`: seals the vault with another key, or one that comes from elsewhere; the old one opens nothing afterwards."""

from __future__ import annotations

import os
import shlex
from binascii import b2a_base64
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import files
from git_credential_bitbucket.cli import secret_arguments
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import ask
from git_credential_bitbucket.errors import DaemonUnavailable, Error, KeyringUnavailable, VaultLocked
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import output, prompts
from git_credential_bitbucket.vault import key_sources
from git_credential_bitbucket.vault.key import KEY_BYTES

if TYPE_CHECKING:
    from git_credential_bitbucket.ui.prompts import Answers
    from git_credential_bitbucket.vault.key import Key

KEYRING, PASSPHRASE, KEY_FILE, ENVIRONMENT = "keyring", "passphrase", "key-file", "environment"

HELP = f"""{summary("rekey")}.

\b
  --to keyring      a new key, stored in the system keyring
  --to passphrase   entered twice at the terminal, or the first line of standard input
  --to key-file     the key in --key-file FILE, which is created if it does not exist
  --to environment  the key in {key_sources.KEY_VARIABLE};
                    if the present key is in that variable too, put it into a file
                    and name that in {key_sources.KEY_FILE_VARIABLE}

The present key is needed, wherever it is stored; without a terminal, its passphrase is read before the new one.
"""


@click.command(cls=secret_arguments.SecretRefusingCommand, help=HELP)
@click.option("--to", "source", type=click.Choice([KEYRING, PASSPHRASE, KEY_FILE, ENVIRONMENT]), required=True)
@click.option(
    "--key-file", metavar="FILE", help="With --to key-file: the file with the key, created if it does not exist."
)
def command(*, source: str, key_file: str | None) -> None:
    """Seal anew."""
    if source == KEY_FILE and key_file is None:
        raise click.UsageError("--to key-file needs --key-file FILE")
    if source != KEY_FILE and key_file is not None:
        raise click.UsageError("--key-file FILE goes with --to key-file")
    header = vault_setup.header()
    answers = prompts.answers()
    # The variable holds the new key then, so the present one is to be in a file.
    in_file = source == ENVIRONMENT and header.source in ("environment", "file")
    old_key = vault_setup.find_key(answers, header, os.environ.get(key_sources.KEY_FILE_VARIABLE) if in_file else None)
    if dict(ask("status"))["vault"] == "locked":
        vault_setup.give(old_key)
    key = new_key(source, key_file, answers)
    try:
        ask("rekey", [*key.to_record().items(), ("old_key", old_key.to_record()["key"])])
    except DaemonUnavailable:
        raise  # it may be about to do it, so nothing may be taken away from under it
    except Error:
        if key.source == KEYRING and _sealed_with(key) is False:
            _remove_from_keyring(key.id)
        raise
    if header.source == KEYRING and header.key_id != key.id:
        _remove_from_keyring(header.key_id)
    output.say(f"Vault re-encrypted; its key comes from {vault_setup.shown_key_source(vault_setup.vault().header())}.")
    if source == KEY_FILE:
        output.say(
            f"Set this where git runs: {key_sources.KEY_FILE_VARIABLE}={shlex.quote(os.path.abspath(key_file or ''))}"
        )


def new_key(source: str, key_file: str | None, answers: Answers) -> Key:
    """The key to seal with from here on. Raises `Error` where it cannot be had."""
    if source == PASSPHRASE:
        return vault_setup.new_passphrase(answers, "the vault's key is unchanged; try again")
    if source == KEYRING:
        from git_credential_bitbucket.vault import keyring_key  # lazy: it starts processes

        keyring_key.open_up(os.environ)
        return keyring_key.make(os.environ)
    if source == KEY_FILE:
        make_key_file(key_file or "")
        given = key_sources.from_environment({key_sources.KEY_FILE_VARIABLE: key_file or ""})
    else:
        given = key_sources.from_environment({key_sources.KEY_VARIABLE: os.environ.get(key_sources.KEY_VARIABLE, "")})
    if given is None:
        raise VaultLocked(
            f"{key_sources.KEY_VARIABLE} is not set", hint="create a key: head -c 32 /dev/urandom | base64"
        )
    return given


def make_key_file(path: str) -> None:
    """A new key in a new file that only we can read; one that is there already is left as it is. Raises `Error`."""
    try:
        files.create(path, b2a_base64(os.urandom(KEY_BYTES)))
    except FileExistsError:
        return


def _sealed_with(key: Key) -> bool | None:
    """Whether the vault is under `key`; None where that cannot be told, and then nothing may be removed."""
    try:
        header = vault_setup.vault().header()
    except Error:
        return None
    return header is not None and header.key_id == key.id


def _remove_from_keyring(key_id: bytes) -> None:
    from git_credential_bitbucket.vault import keyring_key  # lazy: it starts processes

    try:
        keyring_key.remove(os.environ, key_id)
    except KeyringUnavailable as exc:
        output.warn(f"the old key is still in the keyring: {exc.cause}", "it no longer opens the vault")
