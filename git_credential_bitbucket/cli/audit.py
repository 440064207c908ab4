"""`audit`: searches for Bitbucket's secrets in plain text, and reports where they are, masked.

Patterns and locations are in scan/; this module chooses the locations, shows progress, and prints the report.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import git_config
from git_credential_bitbucket.cli import options
from git_credential_bitbucket.cli.app import ERROR
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.scan import history, keyrings, safe_git
from git_credential_bitbucket.scan import locations as where
from git_credential_bitbucket.scan import report as reports
from git_credential_bitbucket.scan.found_secret import KEYRING
from git_credential_bitbucket.ui import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.scan.found_secret import SecretFinding

    ShowProgress = Callable[[str, int, int], None]

HELP = """
Searches for app passwords (removed by Bitbucket in July 2026), API tokens, access tokens, and passwords for Bitbucket
in URLs, headers, .netrc and .npmrc files and variables; also for references to app passwords: the name
BITBUCKET_APP_PASSWORD and, in files about Bitbucket, app_password. Without PATH it searches your own files (git's
configuration, ~/.git-credentials, ~/.netrc, ~/.npmrc, shell profiles, the keyring entries of git-credential-manager and
of git's libsecret helper) and the repository you are in; with PATH, only PATH. In a repository it searches the
configuration and all files of the work tree, ignored ones included. Repositories below PATH (clones, submodules, bare
ones) are searched as well.

\b
Exit codes:
  0  nothing was found
  1  a secret was found, or the search failed (see stderr)
  2  usage error
  3  no secret was found, but references to app passwords
  4  no secret was found, but not everything could be searched (see stderr)
"""
SECRETS, REFERENCES, INCOMPLETE = ERROR, 3, 4
"""Exit codes, the first that applies; but `INCOMPLETE` comes before `REFERENCES`."""
_PROGRESS_INTERVAL_S = 0.1


@options.verb("audit", HELP)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path())
@click.option("--history", "with_history", is_flag=True, help="Search the repositories' whole history as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0 to FILE (- for standard output).")
def command(*, paths: tuple[str, ...], with_history: bool, as_json: bool, sarif_file: str | None) -> int:
    """Search, and print the report."""
    if as_json and sarif_file == "-":
        raise click.UsageError("--json and --sarif - cannot both write to standard output")
    read = git_config.read(os.environ)
    search = where.Search(hosts=where.hosts(read))
    with progress() as show_progress:
        repositories = _search(paths, search, read, show_progress)
        if with_history:
            if not repositories:
                raise Error("no repository was found whose history could be searched", hint="name its directory")
            for repository in {one.common: one for one in reversed(repositories)}.values():
                _search_history(repository, search, show_progress, several=len(repositories) > 1)
    for reason, count in search.skipped.items():
        output.warn(f"not searched: {count} {reason}")
    base = _base(paths)
    if sarif_file is not None:
        output.write(sarif_file, json.dumps(reports.sarif(search.findings, base, search.skipped), indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(reports.document(search.findings, search.skipped), indent=2))
    elif sarif_file != "-":
        _print(search.findings, _movable(search.findings, repositories, read))
    if not all(finding.is_reference for finding in search.findings):
        return SECRETS
    return INCOMPLETE if search.skipped else REFERENCES if search.findings else 0


def _search(
    paths: tuple[str, ...], search: where.Search, read: git_config.GitConfig, show_progress: ShowProgress
) -> list[safe_git.Repository]:
    """Search files and keyrings; returns the repositories found, each once."""
    known = where.personal_locations(os.environ, read)
    for location in () if paths else known:
        where.scan_location(location, search)
    if not paths:
        found, trouble = keyrings.findings(os.environ, search.hosts)
        search.findings += found
        if trouble is not None:
            search.skip(f"keyring, or a part of it ({trouble})")
    repositories: dict[str, safe_git.Repository] = {}
    folders = list(paths or (".",))
    named = len(folders)
    for number, path in enumerate(folders):  # which grows by the repositories that lie within
        repository = repository_at(path) if number < named else _repository_below(path, search)
        if os.path.isdir(path) and repository is not None and repository.directory not in repositories:
            repositories[repository.directory] = repository
            for location in where.repository_locations(repository, os.environ, known):
                where.scan_location(location, search)
        top: str | None = os.path.realpath(path)  # a link that was named is followed, one that is found is not
        is_bare = repository is not None and repository.top is None
        if not paths and number == 0 and not is_bare:
            top = repository.top if repository is not None else None
        locations = where.tree_locations(top, folders, is_bare=is_bare) if top is not None else ()
        for count, location in enumerate(locations):
            where.scan_location(location, search)
            show_progress("files", count, 0)
    return list(repositories.values())


def _repository_below(path: str, search: where.Search) -> safe_git.Repository | None:
    """A repository below a directory; None, and counted as skipped, if git does not open it."""
    try:
        return repository_at(path)
    except Error as exc:
        search.skip(f"repository, except for its files ({exc.cause})")
        return None


def _base(paths: tuple[str, ...]) -> str:
    """The directory that the report's paths are relative to: the first repository, else the directory."""
    repository = repository_at(paths[0] if paths else ".")
    if repository is not None:
        return repository.top or repository.folder
    return os.path.realpath(paths[0]) if paths and os.path.isdir(paths[0]) else os.getcwd()


def repository_at(path: str) -> safe_git.Repository | None:
    """The repository that contains a file or directory. Raises `Error` if the path does not exist or git fails."""
    if not os.path.lexists(path):
        raise Error(f"{printable(path)} does not exist", hint="name a file or directory")
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    return safe_git.find(os.path.abspath(folder), os.environ)


def _search_history(
    repository: safe_git.Repository, search: where.Search, show_progress: ShowProgress, *, several: bool
) -> None:
    try:
        found, too_large = history.scan_history(
            repository, search.hosts, lambda done, total: show_progress("history", done, total)
        )
    except Error as exc:
        if not several:
            raise
        search.skip(f"history of a repository ({exc.cause})")
        return
    name = (repository.top or repository.directory) if several else None
    search.findings += [replace(finding, repository=name) for finding in found]
    if too_large:
        search.skip("objects larger than 32 MiB", too_large)


@contextmanager
def progress() -> Iterator[ShowProgress]:
    """A progress bar on stderr, if that is a terminal."""
    if not os.isatty(2):
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console  # lazy: only a terminal needs rich
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}
        told_at = 0.0

        def show_progress(what: str, done: int, total: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at < _PROGRESS_INTERVAL_S and done < (total or done + 1):
                return
            told_at = now
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield show_progress


def _movable(
    findings: list[SecretFinding], repositories: list[safe_git.Repository], read: git_config.GitConfig
) -> list[str] | None:
    """The repositories to name to `migrate`, for it to move what was found; None where it would move nothing."""
    secrets = [finding for finding in findings if not finding.is_reference]
    found = {finding.path for finding in secrets}
    known = where.personal_locations(os.environ, read)
    named = sorted(
        one.top or one.directory
        for one in repositories
        if not found.isdisjoint(location.path for location in where.repository_locations(one, os.environ, known))
    )
    here = repository_at(".") if named else None
    if here is not None and named == [here.top or here.directory]:
        return []
    is_own = any(one.source == KEYRING for one in secrets) or not found.isdisjoint(one.path for one in known)
    return named if named or is_own else None


def _print(findings: list[SecretFinding], movable: list[str] | None) -> None:
    for hint, alike in groupby(findings, reports.hint):
        for finding in alike:
            where_found = output.abbreviate_home(finding.where, os.environ)
            output.say(f"{where_found}: {finding.what}", style="bold" if finding.level == "error" else None)
        output.say(f"    {hint}")
    output.say(_summary(findings, movable))


def _summary(findings: list[SecretFinding], movable: list[str] | None) -> str:
    secrets = [finding for finding in findings if not finding.is_reference]
    references = len(findings) - len(secrets)
    parts = []
    if secrets:
        different = len({finding.match.secret for finding in secrets})
        parts.append(
            f"{different} {'secret' if different == 1 else 'secrets'}, "
            f"in {len(secrets)} {'place' if len(secrets) == 1 else 'places'}"
        )
    if references:
        parts.append(f"{references} {'reference' if references == 1 else 'references'} to app passwords")
    if not parts:
        return "Nothing found."
    found = f"Found: {'; '.join(parts)}."
    if movable is None:
        return found
    command = shlex.join(["git-credential-bitbucket", "migrate", *movable])
    return f"{found} To move working tokens into the vault, run: {printable(command, len(command))}"
