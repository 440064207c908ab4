"""`audit`: finds Bitbucket's secrets that lie about in the clear, and tells where, masked.

What is looked for and where is audit/'s; this verb chooses the places, shows progress, and writes the report.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from git_credential_bitbucket import settings
from git_credential_bitbucket.audit import git, history, keyrings
from git_credential_bitbucket.audit import places as where
from git_credential_bitbucket.audit import report as reports
from git_credential_bitbucket.cli import show, shy
from git_credential_bitbucket.cli.app import ERROR, summary
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.wire import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from git_credential_bitbucket.audit.finding import Finding
    from git_credential_bitbucket.audit.git import Repository

    Tell = Callable[[str, int, int], None]

HELP = f"""{summary("audit")}.

Finds app passwords (dead since July 2026), API tokens, access tokens, and passwords for Bitbucket in URLs, .netrc files
and variables. Without PATH it looks into what is yours (git's configuration, ~/.git-credentials, ~/.netrc, shell
profiles, the keyring entries of git-credential-manager and of git's libsecret helper) and into the repository that you
are in; with PATH, into those alone. A repository is its configuration and all files of its work tree, ignored ones too;
submodules are repositories of their own.

\b
Exit codes:
  0  nothing was found
  1  something was found, or it could not be looked for (told on stderr)
  2  the command line was not understood
"""
_TELL_EVERY_S = 0.1


@click.command(cls=shy.Shy, help=HELP)
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path())
@click.option("--history", "with_history", is_flag=True, help="Look through the repositories' whole history, too.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON document.")
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0 to FILE (- for standard output).")
def command(*, paths: tuple[str, ...], with_history: bool, as_json: bool, sarif_file: str | None) -> int:
    """Look, and tell."""
    if as_json and sarif_file == "-":
        raise click.UsageError("--json and --sarif - both want standard output")
    read = settings.read(os.environ)
    search = where.Search(hosts=where.hosts(read))
    with progress() as tell:
        repositories = _look(paths, search, read, tell)
        if with_history:
            if not repositories:
                raise Error("there is no repository here whose history could be looked through", hint="name its folder")
            for repository in repositories:
                _look_back(repository, search, tell)
    base = repositories[0].top or repositories[0].folder if repositories else os.getcwd()
    if sarif_file is not None:
        show.write(sarif_file, json.dumps(reports.sarif(search.findings, base), indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(reports.document(search.findings, search.skipped), indent=2))
    elif sarif_file != "-":
        _print(search)
    return ERROR if search.findings else 0


def _look(paths: tuple[str, ...], search: where.Search, read: settings.Settings, tell: Tell) -> list[Repository]:
    """Look into files and keyrings; returns the repositories that were met, each once."""
    known = [] if paths else where.of_person(os.environ, read)
    for place in known:
        where.look(place, search)
    if not paths:
        found, trouble = keyrings.findings(os.environ, search.hosts)
        search.findings += found
        if trouble is not None:
            show.warn(trouble)
    repositories: dict[str, Repository] = {}
    for path in paths or (".",):
        repository = repository_at(path)
        if os.path.isdir(path) and repository is not None and repository.directory not in repositories:
            repositories[repository.directory] = repository
            for place in where.of_repository(repository, os.environ, known):
                where.look(place, search)
        if repository is not None and repository.top is None:
            continue  # it is bare, its files are git's own
        if paths:
            _walk(os.path.abspath(path), search, tell)
        elif repository is not None:
            _walk(repository.top or path, search, tell)
    return list(repositories.values())


def repository_at(path: str) -> Repository | None:
    """The repository that a file or folder is in. Raises `Error` where there is neither, or git refuses."""
    if not os.path.lexists(path):
        raise Error(f"there is no {printable(path)}", hint="name a folder or a file")
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    return git.find(os.path.abspath(folder), os.environ)


def _walk(top: str, search: where.Search, tell: Tell) -> None:
    for number, place in enumerate(where.of_tree(top)):
        where.look(place, search)
        tell("files", number, 0)


def _look_back(repository: Repository, search: where.Search, tell: Tell) -> None:
    found = history.look_through(repository, search.hosts, lambda done, total: tell("history", done, total))
    search.findings += found.findings
    if found.too_large:
        search.skip("objects larger than 32 MiB", found.too_large)


@contextmanager
def progress() -> Iterator[Tell]:
    """A bar on stderr, where that is a terminal; else nothing."""
    if not os.isatty(2):
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console  # these two here, not above: only a terminal needs them
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}
        told_at = 0.0

        def tell(what: str, done: int, total: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at < _TELL_EVERY_S and done < (total or done + 1):
                return
            told_at = now
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield tell


def _print(search: where.Search) -> None:
    for finding in search.findings:
        show.say(f"{finding.where}: {finding.what}", style="bold" if finding.match.certain else None)
        show.say(f"    {reports.cure(finding)}")
    for reason, count in search.skipped.items():
        show.warn(f"not looked at: {count} {reason}")
    show.say(_sum(search.findings))


def _sum(findings: list[Finding]) -> str:
    if not findings:
        return "Nothing was found."
    secrets = len({finding.match.secret for finding in findings})
    many = "secret" if secrets == 1 else "secrets"
    way_out = "To move what still works into the vault: git-credential-bitbucket migrate"
    return f"Found: {secrets} {many}, in {len(findings)} places. {way_out}"
