"""`migrate`: moves working tokens into the vault, removes them from files, and lists what needs a new token.

The order protects against loss: first the credentials, then the backup for --undo, both in the vault, then the files.
scan/ searches and rewrites; `scan.migration_plan` decides about each finding.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import click

from git_credential_bitbucket import git_config, git_protocol
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.audit import repository_at
from git_credential_bitbucket.cli.login import is_configured
from git_credential_bitbucket.client.shared_client import ask, find
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup.other_helpers import other_helpers
from git_credential_bitbucket.login import vault_setup
from git_credential_bitbucket.scan import file_rewrite, keyrings, migration_plan
from git_credential_bitbucket.scan import locations as where
from git_credential_bitbucket.scan.migration_plan import StoredToken
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.ui import arguments, output, prompts

if TYPE_CHECKING:
    from collections.abc import Callable


HELP = """
Searches git's configuration (yours, and that of this repository or of those at PATH), ~/.git-credentials, ~/.netrc,
shell profiles, and the keyring entries of other helpers. API tokens and access tokens are moved into the vault, after
any credential already stored for the same scope; app passwords no longer work, so they are removed, and a replacement
is suggested. In files only the lines with a secret change: remotes lose username and password, ~/.git-credentials and
~/.netrc their entries, variables their values. What was removed is kept in the vault for 30 days, for --undo. Keyring
entries are encrypted, so they stay. At a terminal the plan is shown first, and you are asked to confirm it.

Files in a work tree are not changed, because programs read them; `audit` lists them.
"""

_BESIDE = ", after the one already stored for the same scope"


@options.verb("migrate", HELP)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path())
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation at a terminal.")
@click.option("--undo", is_flag=True, help="Restore what the last run removed from files.")
def command(*, paths: tuple[str, ...], dry_run: bool, yes: bool, undo: bool) -> None:
    """Migrate."""
    if undo:
        if paths or dry_run or yes:
            raise click.UsageError("--undo cannot be combined with PATH or options")
        _undo()
        return
    vault_setup.unlock_if_locked()
    plan = _make_plan(paths)
    if plan.is_empty:
        output.say("There is nothing to move.")
        return
    terminal = None if yes or not plan.changes else prompts.interactive_terminal()
    if dry_run or terminal is not None:
        _print_plan(plan)
    if dry_run:
        return
    if terminal is not None and not terminal.confirm("Do this now?"):
        output.say("Nothing was changed.")
        return
    failed = _carry_out(plan) if plan.changes else []
    if terminal is None:
        _print_manual_steps(plan)
    _check_git_setup(plan)
    if failed:
        raise Error("; ".join(error.cause for error in failed), hint=failed[0].hint)


def _make_plan(paths: tuple[str, ...]) -> migration_plan.Plan:
    """Search the user's own files, and the configuration of repositories."""
    read = git_config.read(os.environ)
    names = where.hosts(read)
    known = where.personal_locations(os.environ, read)
    for path in paths or (".",):
        repository = repository_at(path)
        if repository is not None:
            known += where.repository_locations(repository, os.environ, known)
        elif paths:
            raise Error(f"{git_protocol.printable(path)} is not in a repository", hint="name the directory of one")
    keyring, trouble = keyrings.findings(os.environ, names)
    if trouble is not None:
        output.warn(trouble)
    return migration_plan.plan(known, keyring, names, migration_plan.Moves(_endpoint, _find_stored()))


def _endpoint(protocol: str, host: str) -> dict[str, str | None]:
    """The host's endpoint, as in a credential's record. Raises `SettingsError`."""
    return arguments.find_provider(f"{protocol}://{host}").endpoint.to_record()


def _find_stored() -> Callable[[str, str], list[StoredToken]]:
    """A lookup of the vault's credentials by kind and exact scope, disabled ones excluded."""
    stored = [one for one in arguments.select_credentials(None) if one["state"] != "disabled"]

    def held(kind: str, scope: str) -> list[StoredToken]:
        found = []
        for one in stored:
            if (one["kind"], one["url"]) == (kind, scope):
                reply = find("token", [("id", one["id"])], arguments.parse_scope(scope).request())
                found.append(StoredToken(Secret(reply.get("password", "")), arguments.account_names(one), one["id"]))
        return found

    return held


def _print_plan(plan: migration_plan.Plan) -> None:
    for move in plan.moves:
        output.say(f"Would move into the vault: {move.words}{_BESIDE if move.beside else ''}")
    for email in plan.emails.values():
        output.say(f"Would add an email to a stored token: {email}")
    for one in plan.cleanings:
        output.say(f"Would {'remove' if one.remove else 'clean'}: {one.location.path}")
        for finding in plan.cleaned[one.location.path]:
            output.say(f"    line {finding.line}: {finding.what}")
    _print_manual_steps(plan)


def _carry_out(plan: migration_plan.Plan) -> list[Error]:
    """Write vault, backup and files, in this order; returns the errors of single files. Raises `Error` before that."""
    records = [record for one in plan.cleanings for record in one.records()]
    prompter = prompts.prompter()
    new_vault = vault_setup.prepare(prompter, memory=False)
    if new_vault is not None:
        new_vault.create()
    for move in plan.moves:
        _move(move)
    for credential_id, email in plan.emails.items():
        _add_email(credential_id, email)
    batch = f"{int(time.time())}-{os.urandom(4).hex()}"
    for record in records:
        ask("backup-put", [("batch", batch), ("part", json.dumps(record))])
    failed = []
    for one in plan.cleanings:
        try:
            file_rewrite.rewrite_file(one)
        except Error as exc:
            failed.append(exc)
        else:
            output.say(f"{'Removed' if one.remove else 'Cleaned'}: {one.location.path}")
    if len(failed) < len(plan.cleanings):
        output.say("To restore the files within 30 days, run: git-credential-bitbucket migrate --undo")
    return failed


def _move(move: migration_plan.Move) -> None:
    how = ("beside", "1") if move.beside else ("unclear", "add")
    stored = dict(ask("add", [("record", json.dumps(move.record)), how]))
    output.say(f"Moved into the vault: {move.words}{_BESIDE if move.beside else ''}")
    if move.beside:
        output.say(f"    to use it instead, run: git-credential-bitbucket switch {stored['id']}")
    if not move.certain:
        output.warn("checksum mismatch: the token looks incomplete", "test it: git ls-remote URL")


def _add_email(credential_id: str, email: str) -> None:
    """Add the email found beside a token in a file to its stored credential."""
    (one,) = arguments.select_credentials(credential_id)
    username = one["bitbucket_username"] or one["account"] or ""
    ask("amend", [("id", credential_id), ("account", email), ("bitbucket_username", username)])
    output.say(f"Added the email {email} to the {arguments.title(one)}")


def _print_manual_steps(plan: migration_plan.Plan) -> None:
    """Print what the user has to do."""
    for line, hint in plan.readers:
        output.say(f"Note: {line}")
        output.say(f"    {hint}")
    for line, hint in plan.replacements:
        output.say(f"Needs a new token: {line}")
        output.say(f"    {hint}")
    for finding, why in plan.left:
        output.say(f"Left unchanged: {finding.where}: {finding.what}")
        output.say(f"    {why}")


def _check_git_setup(plan: migration_plan.Plan) -> None:
    """Check that git asks this program for the moved tokens."""
    urls = dict.fromkeys(move.host_url for move in plan.moves)
    for url in urls:
        if not is_configured(arguments.find_provider(url)):
            output.say("git does not ask this helper yet; run: git-credential-bitbucket configure")
            continue
        for other in other_helpers(git_config.read(os.environ), url):  # one that stores writes the token down again
            output.warn(other.summary, "run: git-credential-bitbucket configure")


def _undo() -> None:
    vault_setup.unlock_if_locked()
    reply = ask("backup-get")
    batch = dict(reply)["batch"]
    files: dict[str, list[dict[str, object]]] = {}
    for key, value in reply:
        if key == "part[]":
            record = json.loads(value)
            files.setdefault(record["path"], []).append(record)
    failed = []
    for path, records in files.items():
        try:
            file_rewrite.restore(records)
        except Error as exc:
            failed.append(exc)
        else:
            output.say(f"Restored: {path}")
    if failed:
        raise Error("; ".join(error.cause for error in failed), hint=failed[0].hint)
    ask("backup-drop", [("batch", batch)])
    output.say("The moved tokens stay in the vault as well; to remove them, run: git-credential-bitbucket logout")
