"""Runs git safely on an untrusted repository: by absolute path, no hook, no file system monitor, no network.

The commands are plumbing that starts no other program: no textconv, no external diff, no pager, and no gpg, which
`log.showSignature` in a repository's own configuration would make `git log` start.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from glob import escape, glob
from typing import TYPE_CHECKING

from git_credential_bitbucket import files, git_config
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_ALTERNATES_BYTES = 1 << 20
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks, by a program that its config names
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_SAFETY = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.alternateRefsCommand=false"),
    *("-c", "core.pager=cat", "--no-pager"),
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as git finds it from `folder`. `top` is its work tree's, None where it is bare.

    `directory` is what belongs to this work tree, `common` what all work trees share; they are absolute.
    """

    folder: str
    top: str | None
    directory: str
    common: str
    env: Mapping[str, str]

    def command(self, *words: str) -> list[str]:
        """The words that run git here."""
        return [git_config.find_git(self.env), *_SAFETY, f"--git-dir={self.directory}", *words]

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A running git with a pipe for its output; its standard error is discarded."""
        git, env, pipe, null = self.command(*words), environment(self.env), subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(git, cwd="/", env=env, stdin=stdin, stdout=pipe, stderr=null)


def _top(folder: str) -> str:
    """The work tree's top: where `.git` is. Not what git says: core.worktree, the repository's setting, may be `/`."""
    parent = folder
    while not os.path.lexists(f"{parent}/.git") and parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
    return parent if os.path.lexists(f"{parent}/.git") else folder


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What git runs in: built up, with all that could make it start something else turned off."""
    return {**git_config.git_environment(env), **_ENVIRONMENT}


def find(folder: str, env: Mapping[str, str]) -> Repository | None:
    """The repository that `folder` is in; None where it is in none. Raises `Error` where git refuses it."""
    told = _told(folder, env, "rev-parse", "--is-bare-repository", "--absolute-git-dir")
    common = _told(folder, env, "rev-parse", "--git-common-dir")
    if told is None or common is None:
        return None
    bare, _, directory = told.partition("\n")  # and not at each line: a folder's name may hold one
    top = None if bare == "true" else _top(os.path.realpath(folder))
    return Repository(folder, top, directory, os.path.normpath(os.path.join(os.path.realpath(folder), common)), env)


def walk(top: str) -> Iterator[tuple[str, list[str] | None, list[str]]]:
    """As `os.walk`, which gives up at a thousand folders within each other; None for a folder that cannot be read."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        _, folders, names = next(os.walk(folder), (folder, None, []))
        yield folder, folders, names
        paths = (os.path.join(folder, name) for name in folders or ())
        waiting += [path for path in paths if not os.path.islink(path)][::-1]


def check_no_pipe(repository: Repository) -> None:
    """Raise `Error` where a file that git opens is a pipe or a device, which it would wait for without end."""
    roots = [repository.common, repository.directory]
    for root in roots:  # which grow by the repositories that it borrows objects from
        for folder, _, names in walk(root):
            for path in (os.path.join(folder, name) for name in names):
                try:
                    mode = os.stat(path).st_mode
                except OSError:
                    continue
                if not (stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
                    hint = "check where the repository comes from, and remove that file"
                    raise Error(f"git would wait for {printable(path)}, which is not a regular file", hint=hint)
            if "alternates" in names and os.path.basename(folder) == "info":
                roots += [path for path in _borrowed(folder) if path not in roots]


def _borrowed(info: str) -> list[str]:
    """The folders that git looks into for the objects which `info/alternates` says are elsewhere."""
    lines = (files.read(f"{info}/alternates", MAX_ALTERNATES_BYTES, follow=True) or b"").split(b"\n")
    others = [os.path.join(os.path.dirname(info), os.fsdecode(line)) for line in lines if line]
    return [path for other in others for name in ("??", "info", "pack") for path in glob(f"{escape(other)}/{name}")]


def config_files(env: Mapping[str, str], repository: Repository | None = None) -> list[str]:
    """The files of git's configuration, as git itself names them: all scopes, and what they include. Raises `Error`."""
    place = [f"--git-dir={repository.directory}"] if repository else []
    done = _run(env, *place, "config", "--list", "--null", "--show-origin", "--name-only")
    fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    origins = [origin.removeprefix("file:") for origin in fields[0::2] if origin.startswith("file:")]
    if repository is not None:  # also where git does not read it, because it cannot
        origins += [f"{repository.common}/config", f"{repository.directory}/config.worktree"]
    return list(dict.fromkeys(os.path.normpath(os.path.join("/", origin)) for origin in origins))


def _run(env: Mapping[str, str], *words: str, folder: str = "/") -> subprocess.CompletedProcess[bytes]:
    return git_config.run_git(env, *_SAFETY, *words, folder=folder, more=_ENVIRONMENT)


def _told(folder: str, env: Mapping[str, str], *words: str) -> str | None:
    done = _run(env, *words, folder=folder)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")
    stderr = done.stderr.decode("utf-8", "replace")
    if "not a git repository" in stderr:
        return None
    line = printable(next((line for line in stderr.split("\n") if line), "no reason given"), 300)
    trust = next((line for line in stderr.split("\n") if line.startswith("\t") and "safe.directory" in line), None)
    hint = None if trust is None else f"if you trust it, run: {printable(trust.strip(), 1000)}"
    raise Error(f"git does not open {printable(folder)}: {line.removeprefix('fatal: ')}", hint=hint)
