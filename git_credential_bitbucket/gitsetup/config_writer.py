"""Writes git's configuration, by `git config` itself: what `configure` adds for a host, and `unconfigure` takes back.

What is ours is told by the helper's path, with the blank line before it that resets the list. The other keys are
always written as lines of our own, behind what may stand there, so that taking ours back leaves the rest as it was.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config, paths
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.gitsetup.executable import runs_us

if TYPE_CHECKING:
    from collections.abc import Mapping

HELPER, USE_HTTP_PATH, PROVIDER, USERNAME = "helper", "useHttpPath", "provider", "username"

Command = list[str]
"""Arguments for git."""
_SPECIAL = frozenset(".[]{}()*+?^$|\\")


@dataclass(frozen=True, slots=True)
class Scope:
    """One of git's scopes, and what it holds: read once, before anything is written."""

    name: str
    read: git_config.GitConfig

    def values(self, origin: str, url: str, key: str) -> list[str]:
        """What the file `origin` says of `credential.<url>.<key>`, spelled exactly so."""
        entries = self.read.entries("credential", key)
        return [e.value for e in entries if (e.scope, e.origin, e.url) == (self.name, origin, url)]

    def ours(self) -> list[tuple[str, str]]:
        """The files and URLs with a helper line of ours, in git's order."""
        entries = self.read.entries("credential", HELPER)
        found = [(e.origin, e.url) for e in entries if e.scope == self.name and e.url and runs_us(e.value)]
        return list(dict.fromkeys(found))


def open_scope(env: Mapping[str, str], *, system: bool) -> Scope:
    """Read what is configured. Raises `SettingsError` where git would not look at what is going to be written, and
    `InsecurePath` where root would make another user's file its own.
    """
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        if env.get(name) and not env[name].startswith("/"):
            raise SettingsError(f"{name} is not an absolute path", hint="git would use another file in each directory")
    if system and git_bool(env.get("GIT_CONFIG_NOSYSTEM", "")) is not False:
        raise SettingsError(
            "GIT_CONFIG_NOSYSTEM tells git to ignore the system configuration", hint="unset it, or leave out --system"
        )
    if not system:
        paths.check_not_a_users(env.get("GIT_CONFIG_GLOBAL") or f"{env.get('HOME', '')}/.gitconfig")
    return Scope("system" if system else "global", git_config.read(env))


def configuring(scope: Scope, url: str, helper: str, username: str | None = None) -> list[Command]:
    """What makes `helper` the one that git asks about `url`, for `username` if given; nothing where that is so."""
    files = [origin for origin, configured in scope.ours() if configured == url]
    # Where ours is already, it stays: that may be an included file, or the other one of git's two global files.
    place = ["--file", files[-1]] if files else [f"--{scope.name}"]
    lines = scope.values(files[-1], url, HELPER) if files else []
    commands = _edits(place, f"credential.{url}.{HELPER}", lines, _with_ours(lines, helper))
    for key, value in (*_beside(url), *([(USERNAME, username)] if username else ())):
        present = scope.values(files[-1], url, key) if files else []
        if present[-1:] != [value]:
            commands += _edits(place, f"credential.{url}.{key}", present, [*present, value])
    return commands


def unconfiguring(scope: Scope, url: str | None = None) -> list[Command]:
    """What takes back `configuring`, for one URL or for all that have a helper line of ours."""
    commands = []
    for origin, configured in scope.ours():
        if url not in (None, configured):
            continue
        lines = scope.values(origin, configured, HELPER)
        commands += _edits(["--file", origin], f"credential.{configured}.{HELPER}", lines, _without_ours(lines))
        for key, value in _beside(configured):
            lines = scope.values(origin, configured, key)
            if lines[-1:] == [value]:
                commands += _edits(["--file", origin], f"credential.{configured}.{key}", lines, lines[:-1])
    return commands


def run(commands: list[Command], env: Mapping[str, str]) -> None:
    """Run `git config` for each. Raises `SettingsError` with git's own words at the first that fails."""
    for command in commands:
        done = git_config.run_git(env, *command)
        if done.returncode != 0:
            raise _refused(done.stderr.decode("utf-8", "replace"))


def _refused(stderr: str) -> SettingsError:
    told = printable(next((line for line in stderr.split("\n") if line), "no reason given"), 500)
    told = told.removeprefix("fatal: ").removeprefix("error: ")
    hint = "check that you can write to that file and its directory, or name another in GIT_CONFIG_GLOBAL"
    if told.endswith(f": {os.strerror(errno.EEXIST)}"):  # git's own lock, `FILE.lock`
        hint = "another program is changing that file; if not, remove the .lock file beside it"
    return SettingsError(f"git could not write its configuration: {told}", hint=hint)


def _beside(url: str) -> list[tuple[str, str]]:
    """What is written beside the helper: each repository's path is asked for, and another host is opted in."""
    opted_in = [] if url == hosts.CLOUD_URL else [(PROVIDER, hosts.PROVIDER)]
    return [(USE_HTTP_PATH, "true"), *opted_in]


def _with_ours(lines: list[str], helper: str) -> list[str]:
    """`lines` with `helper` and a reset before it: in the place of ours if that still counts, else at the end."""
    ours = [i for i, line in enumerate(lines) if runs_us(line)]
    if len(ours) == 1:
        before, after = lines[: ours[0]], lines[ours[0] + 1 :]
        if before[-1:] == [""] and "" not in after:
            return [*before, helper, *after]
    return [*_without_ours(lines), "", helper]


def _without_ours(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if not runs_us(line):
            kept.append(line)
        elif kept[-1:] == [""]:
            kept.pop()
    return kept


def _edits(place: Command, name: str, before: list[str], after: list[str]) -> list[Command]:
    """The fewest `git config` commands that make `before` `after`, leaving other lines where they are."""
    config = ["config", *place]
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
    """The extended regular expression that matches `value` and nothing else; `--fixed-value` needs git 2.30."""
    return "^" + "".join(f"\\{c}" if c in _SPECIAL else c for c in value) + "$"
