"""The `git config` commands by which `configure` adds a host, and `unconfigure` removes it.

This program's lines are recognised by the helper's path, with the empty line before it that resets the list. Other keys
are always added as separate lines after existing ones, so that removing them restores what was there.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config, paths
from git_credential_bitbucket.bitbucket import hosts, scopes
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.gitsetup.executable import runs_this_program

if TYPE_CHECKING:
    from collections.abc import Mapping

HELPER, USE_HTTP_PATH, PROVIDER, USERNAME = "helper", "useHttpPath", "provider", "username"

Command = list[str]
"""Arguments for git."""
_SPECIAL = frozenset(".[]{}()*+?^$|\\")


@dataclass(frozen=True, slots=True)
class Scope:
    """One of git's configuration scopes and its content, read before anything is written."""

    name: str
    read: git_config.GitConfig

    def values(self, origin: str, url: str, key: str) -> list[str]:
        """The values of `credential.<url>.<key>` in the file `origin`, with exactly this URL."""
        entries = self.read.entries("credential", key)
        return [e.value for e in entries if (e.scope, e.origin, e.url) == (self.name, origin, url)]

    def ours(self) -> list[tuple[str, str]]:
        """The files and URLs with a helper line of this program, in git's order."""
        entries = self.read.entries("credential", HELPER)
        found = [(e.origin, e.url) for e in entries if e.scope == self.name and e.url and runs_this_program(e.value)]
        return list(dict.fromkeys(found))


def open_scope(env: Mapping[str, str], *, system: bool) -> Scope:
    """Read a scope. Raises `SettingsError` if git would ignore what is written there, `InsecurePath` if root would
    take over another user's file.
    """
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        if env.get(name) and not env[name].startswith("/"):
            raise SettingsError(f"{name} is not an absolute path", hint="git would use another file in each directory")
    if system and git_bool(env.get("GIT_CONFIG_NOSYSTEM", "")) is not False:
        hint = "unset it, or leave out --system"
        raise SettingsError("GIT_CONFIG_NOSYSTEM tells git to ignore the system configuration", hint=hint)
    if not system:
        paths.check_owner_above(env.get("GIT_CONFIG_GLOBAL") or f"{env.get('HOME', '')}/.gitconfig")
    return Scope("system" if system else "global", git_config.read(env))


def configure_commands(
    scope: Scope, url: str, helper: str, username: str | None = None, product: str = hosts.PROVIDER
) -> list[Command]:
    """The commands that make git ask `helper` about `url`, for `username` if given; none if it does already.

    `product` is what `url` is, if git's configuration does not say so already.
    """
    files = [origin for origin, configured in scope.ours() if configured == url]
    # An existing line stays in its file: an included one, or the other of git's two global files.
    where = ["--file", files[-1]] if files else [f"--{scope.name}"]
    lines = scope.values(files[-1], url, HELPER) if files else []
    commands = _edits(where, f"credential.{url}.{HELPER}", lines, _with_ours(lines, helper))
    for key, value in (*_extra_lines(scope, url, product), *([(USERNAME, username)] if username else ())):
        present = scope.values(files[-1], url, key) if files else []
        if present[-1:] != [value]:
            commands += _edits(where, f"credential.{url}.{key}", present, [*present, value])
    return commands


def unconfigure_commands(scope: Scope, url: str | None = None) -> list[Command]:
    """The commands that undo `configure_commands`, for one URL or for all with a helper line of this program."""
    commands = []
    for origin, configured in scope.ours():
        if url not in (None, configured):
            continue
        lines = scope.values(origin, configured, HELPER)
        commands += _edits(["--file", origin], f"credential.{configured}.{HELPER}", lines, _without_ours(lines))
        for key, value in _extra_lines(scope, configured, hosts.PROVIDER):
            lines = scope.values(origin, configured, key)
            if lines[-1:] == [value]:
                commands += _edits(["--file", origin], f"credential.{configured}.{key}", lines, lines[:-1])
    return commands


def run(commands: list[Command], env: Mapping[str, str]) -> None:
    """Run each `git config` command. Raises `SettingsError` with git's message at the first that fails."""
    for command in commands:
        done = git_config.run_git(env, *command)
        if done.returncode != 0:
            raise _refused(done.stderr.decode("utf-8", "replace"))


def _refused(stderr: str) -> SettingsError:
    message = printable(next((line for line in stderr.split("\n") if line), "no reason given"), 500)
    message = message.removeprefix("fatal: ").removeprefix("error: ")
    hint = "check that you can write to that file and its directory, or name another in GIT_CONFIG_GLOBAL"
    if message.endswith(f": {os.strerror(errno.EEXIST)}"):  # git's own lock, `FILE.lock`
        hint = "another program is changing that file; if not, remove the .lock file beside it"
    return SettingsError(f"git could not write its configuration: {message}", hint=hint)


def _extra_lines(scope: Scope, url: str, product: str) -> list[tuple[str, str]]:
    """Further lines beside the helper: git sends each repository's path, and another host is marked as Bitbucket."""
    base = scopes.host_of(url)
    known = hosts.find_product(scope.read, *scopes.split_host(base)) or (product, url.removeprefix(base))
    is_marked = url == hosts.CLOUD_URL or base + known[1] != url  # by the line of its context path
    return [(USE_HTTP_PATH, "true"), *([] if is_marked else [(PROVIDER, known[0])])]


def _with_ours(lines: list[str], helper: str) -> list[str]:
    """`lines` with `helper` after a reset: in place of the present one if that is effective, else at the end."""
    ours = [i for i, line in enumerate(lines) if runs_this_program(line)]
    if len(ours) == 1:
        before, after = lines[: ours[0]], lines[ours[0] + 1 :]
        if before[-1:] == [""] and "" not in after:
            return [*before, helper, *after]
    return [*_without_ours(lines), "", helper]


def _without_ours(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if not runs_this_program(line):
            kept.append(line)
        elif kept[-1:] == [""]:
            kept.pop()
    return kept


def _edits(where: Command, name: str, before: list[str], after: list[str]) -> list[Command]:
    """The fewest `git config` commands that turn `before` into `after`; other lines keep their position."""
    config = ["config", *where]
    added = after[len(before) :]
    if after[: len(before)] == before:
        return [[*config, "--add", name, value] for value in added]
    gone = [value for value in dict.fromkeys(before) if value not in after]
    if after and after == [value for value in before if value not in gone]:
        return [[*config, "--unset-all", name, pattern(value)] for value in gone]
    changed = [(old, new) for old, new in zip(before, after, strict=False) if old != new]
    if len(before) == len(after) and len(changed) == 1 and before.count(changed[0][0]) == 1:
        return [[*config, "--replace-all", name, changed[0][1], pattern(changed[0][0])]]
    if len(after) == 1:
        return [[*config, "--replace-all", name, after[0]]]
    return [[*config, "--unset-all", name], *([*config, "--add", name, value] for value in after)]


def pattern(value: str) -> str:
    """The extended regular expression that matches exactly `value`; `--fixed-value` needs git 2.30."""
    return "^" + "".join(f"\\{c}" if c in _SPECIAL else c for c in value) + "$"
