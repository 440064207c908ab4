"""`vault`: shows where credentials are stored, and copies or moves them to another file or server."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import access_log, config, git_protocol, paths, processes
from git_credential_bitbucket.agent import event_log_entry, naming, vault_transfer
from git_credential_bitbucket.agent.renewal import merge_answer
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.app import summary
from git_credential_bitbucket.client.shared_client import query
from git_credential_bitbucket.diagnostics import shared_vault
from git_credential_bitbucket.errors import Error, VaultChanged, VaultLocked
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.ui import arguments, output, prompts
from git_credential_bitbucket.vault.storage.redis_server import PASSWORD_FILE_VARIABLE, PASSWORD_FROM_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.vault_transfer import Transfer
    from git_credential_bitbucket.ui.prompts import Prompter
    from git_credential_bitbucket.vault.vault import Vault

VAULT, KEY_FILE = "GIT_CREDENTIAL_BITBUCKET_VAULT", "GIT_CREDENTIAL_BITBUCKET_KEY_FILE"
_TARGET = """
TO is the path of a file, or the address of a Redis or Valkey server (redis://, rediss://, unix://, redis+sentinel://);
several vaults on one server differ in ?vault=NAME. TO's own credentials stay; of two logins of one account for one
scope the newer one is used, and the other is disabled. A new vault gets its key as at a first login.

Without a terminal, passphrases are lines of standard input: this vault's, if it has one, before TO's.
"""


@click.group(no_args_is_help=False, help=f"{summary('vault')}.")
def command() -> None:
    """Group the commands."""


@command.command(help="Show where the vault is, how many credentials it has, and how long it keeps them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(*, as_json: bool) -> None:
    """Show the vault."""
    answer = query("status")
    told, found = dict(answer), arguments.credentials_in(answer)
    durability, header, trouble, hint = None, None, told.get("trouble"), told.get("hint")
    try:
        header = vault_setup.vault().header()
        durability = shared_vault.durability(os.environ)
    except Error as exc:
        trouble, hint = trouble or exc.cause, hint or exc.hint
    is_file = not paths.vault_address(os.environ).startswith(paths.SHARED)
    is_new = told["vault"] == "absent" and trouble is None
    is_readable = is_new or (told["vault"] == "open" and header is not None and "moved_to" not in told)
    document = {
        "vault": vault_setup.shown_path(),
        "storage": "file" if is_file else "server",
        "state": told["vault"],
        "credentials": sum(not one["memory"] for one in found) if is_readable else None,
        "key_source": None if header is None else header.source,
        "durability": durability,
        "moved_to": told.get("moved_to"),
        "trouble": trouble,
        "hint": hint or None,
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    promised = durability or ({"file": "on this host's disk"} if is_file else {"server": "not reached"})
    rows = [
        ("vault", vault_setup.shown_path()),
        ("state", told["vault"]),
        ("credentials", "unknown" if document["credentials"] is None else str(document["credentials"])),
        ("key", vault_setup.key_source_label(header) or "none yet"),
        ("durability", ", ".join(f"{name} {value}" for name, value in promised.items())),
    ]
    output.table(rows)
    if trouble is not None:
        output.warn(trouble, hint)


def _with_target(run: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--password-file", metavar="FILE", help="A file with the password of TO's server."),
        click.option("--key-file", metavar="FILE", help="A file with TO's key: 32 bytes, raw or in base64."),
        click.argument("to", metavar="TO"),
    ):
        run = decorate(run)
    return run


@command.command(
    cls=options.SecretRefusingCommand,
    short_help="Copy credentials to another vault; OAuth logins stay.",
    help=f"""Copy credentials to another vault.

An OAuth login with a refresh token is not copied: of two copies, only the one that renews first goes on working.
{_TARGET}""",
)
@_with_target
def copy(*, to: str, key_file: str | None, password_file: str | None) -> None:
    """Copy credentials."""
    to = _address(to)
    prompter = prompts.prompter()
    done = vault_transfer.copy(_source(prompter), _target(to, key_file, password_file, prompter), time.time())
    _log("copy", to, done)
    _tell("Copied", to, done)
    if done.left_out:
        output.warn(
            f"not copied: {naming.names_of(done.left_out)}: the refresh token of a login works once",
            "move the vault instead (git-credential-bitbucket vault move), or log in again there",
        )


@command.command(
    cls=options.SecretRefusingCommand,
    short_help="Move all credentials to another vault.",
    help=f"""Move all credentials to another vault, OAuth logins included.

They are removed here once they have been read back there. A host that still uses this vault says where they went. If
the command is interrupted, run it again to complete it; until then, logins are not renewed.
{_TARGET}""",
)
@_with_target
def move(*, to: str, key_file: str | None, password_file: str | None) -> None:
    """Move credentials."""
    to = _address(to)
    prompter = prompts.prompter()
    source = _source(prompter)
    try:
        target = _target(to, key_file, password_file, prompter)
        done = vault_transfer.move(source, target, to, time.time())
    except VaultChanged:  # the source has another process's marks
        raise
    except (Error, KeyboardInterrupt):
        with suppress(Error):  # then the next move does it
            vault_transfer.abandon(source)
        raise
    _log("move", to, done)
    _tell("Moved", to, done)
    set_here = {VAULT: to, PASSWORD_FILE_VARIABLE: _absolute(password_file), KEY_FILE: _absolute(key_file)}
    is_configured = paths.DEFAULT_VAULT in os.environ and not os.environ.get(VAULT)
    for name, value in set_here.items():
        if value is not None and is_configured:
            key = config.key(name.removeprefix(paths.OWN_PREFIX))
            output.say(f"Run: git config --global {key} {paths.typed(value)}", is_whole=True)
        elif value is not None:
            output.say(f"Set this where git runs: {name}={paths.typed(value)}", is_whole=True)


def _address(to: str) -> str:
    """An absolute path, or a URL without a password. Raises `SettingsError`."""
    if "://" not in to and ":" not in to.partition("/")[0]:  # redis:/… is no folder of that name
        return os.path.abspath(to)
    from git_credential_bitbucket.vault.storage.address import parse  # lazy: few vaults are shared

    parse(to)
    return to


def _absolute(path: str | None) -> str | None:
    return path and os.path.abspath(path)


def _source(prompter: Prompter) -> Vault:
    """The vault of this environment, unlocked in this process. Raises `Error`."""
    processes.forbid_tracing()
    key = vault_setup.find_key(prompter, vault_setup.header())
    told = dict(query("status"))
    if told["vault"] == "locked" and "pid" in told:
        vault_setup.hand_over_key(key)  # refused where a person has locked it, and this is not that person
    source = vault_setup.vault()
    source.unlock(key)
    source.merge = merge_answer
    return source


def _target(to: str, key_file: str | None, password_file: str | None, prompter: Prompter) -> Vault:
    env = {**os.environ, VAULT: to}
    if password_file is not None:
        env |= {PASSWORD_FILE_VARIABLE: os.path.abspath(password_file), PASSWORD_FROM_VARIABLE: ""}
    if key_file is not None:
        env |= {KEY_FILE: os.path.abspath(key_file), "GIT_CREDENTIAL_BITBUCKET_KEY": ""}
    target = vault_setup.vault(env)
    header = target.header()
    prompter.say(f"{'A new vault' if header is None else 'The vault'}: {git_protocol.printable(to, 1000)}")
    try:
        if header is None:
            vault_setup.new_vault(prompter, env).unlock(target, env)
        else:
            target.unlock(vault_setup.find_key(prompter, header, _absolute(key_file)))
    except VaultLocked as exc:
        cause = f"the vault {git_protocol.printable(to, 1000)} cannot be opened: {exc.cause}"
        raise VaultLocked(cause, hint=exc.hint) from exc
    target.merge = merge_answer
    return target


def _log(event: str, to: str, done: Transfer) -> None:
    """Add the event to the logs of both vaults: the target's is the one that is read afterwards."""
    entry = event_log_entry.transfer_entry(event, paths.vault_address(os.environ), to, len(done.arrived))
    asker = {"uid": os.getuid(), "pid": os.getpid(), "program": processes.programs(os.getpid())}
    line = access_log.with_time({**entry, **asker})
    for env in (os.environ, {**os.environ, VAULT: to}):
        with suppress(OSError, Error):
            access_log.write(access_log.event_log_path(env), line, access_log.EVENT_RETENTION_S)


def _tell(what: str, to: str, done: Transfer) -> None:
    count = len(done.arrived)
    output.say(f"{what} to {to}: {count} credential{'' if count == 1 else 's'}.")
    if done.replaced:
        output.say(f"Disabled there for a newer login: {naming.names_of(done.replaced)}.")
