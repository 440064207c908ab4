"""A repository's whole history: every object it holds, searched once, by as many processes as there are cores.

Objects are taken in the order in which they lie in their packs, because git reads them fastest so; the names of commits
and files are looked up only for what was found. Secrets pass through private pipes between own processes.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import processes
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.scan import patterns, safe_git
from git_credential_bitbucket.scan.found_secret import HISTORY, SecretFinding
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Object = tuple[bytes, int]

MAX_OBJECT_BYTES = 32 << 20
"""Larger ones are counted and not looked at: no source is as large, and each process holds one in memory."""
MIN_SHARE_BYTES = 4 << 20
"""Less is not worth a process: starting one takes as long as looking through it."""
_OBJECT_COST_BYTES = 4096
"""What an object costs beside its bytes, for even shares."""
_READ_BYTES = 1 << 20
_DIFF_TREE = (
    *("diff-tree", "--stdin", "-r", "--root", "-c", "--raw", "--no-abbrev", "--no-renames", "-z"),
    *("--no-ext-diff", "--no-textconv"),
)


def scan_history(
    repository: safe_git.Repository, hosts: tuple[str, ...], progress: Callable[[int, int], None] = lambda _, __: None
) -> tuple[list[SecretFinding], int]:
    """What is in every blob, commit message and tag, also those that no branch reaches; and how many were too large.

    `progress` is told how many objects of how many have been seen. Raises `Error` where git fails.
    """
    safe_git.check_no_pipe(repository)
    objects, too_large = _objects(repository)
    return _named(repository, _scanned(repository, objects, hosts, progress)), too_large


def _objects(repository: safe_git.Repository) -> tuple[list[Object], int]:
    """Id and size of every object but trees, in the order of the packs; and how many are too large."""
    git_process = repository.start(
        "cat-file", "--batch-check=%(objecttype) %(objectname) %(objectsize)", "--batch-all-objects", "--unordered"
    )
    found, too_large = [], 0
    with git_process:
        for line in git_process.stdout or ():
            kind, _, rest = line.partition(b" ")
            if kind not in (b"blob", b"commit", b"tag"):
                continue
            name, _, size = rest.partition(b" ")
            if int(size) > MAX_OBJECT_BYTES:
                too_large += 1
            else:
                found.append((name, int(size)))
    if git_process.returncode:
        raise Error("git cannot list the repository's objects", hint="see: git fsck")
    return found, too_large


def _shares(objects: list[Object], count: int) -> list[list[Object]]:
    """`objects` in up to `count` runs that take about the same time, and none of which is too small for a process."""
    total = sum(size + _OBJECT_COST_BYTES for _, size in objects)
    each = max(total / count, MIN_SHARE_BYTES)
    shares: list[list[Object]] = []
    filled = each
    for one in objects:
        if filled >= each:
            shares.append([])
            filled = 0
        shares[-1].append(one)
        filled += one[1] + _OBJECT_COST_BYTES
    return shares


def _scanned(
    repository: safe_git.Repository, objects: list[Object], hosts: tuple[str, ...], progress: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    seen: dict[int, int] = {}
    workers = [_worker(repository, share, hosts) for share in _shares(objects, _cores())]
    try:
        with selectors.DefaultSelector() as selector:
            for number, worker in enumerate(workers):
                selector.register(worker.stdout, selectors.EVENT_READ, (number, bytearray()))  # type: ignore[arg-type]  # a pipe
            while selector.get_map():
                for key, _ in selector.select():
                    number, rest = key.data
                    chunk = os.read(key.fd, _READ_BYTES)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    rest += chunk
                    *lines, rest[:] = rest.split(b"\n")
                    for told in map(json.loads, lines):
                        if "seen" in told:
                            seen[number] = told["seen"]
                        else:
                            found.append(told)
                progress(sum(seen.values()), len(objects))
        if any(worker.wait() for worker in workers):
            raise Error("git could not read all of the repository's objects", hint="see: git fsck")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()
    return found


def _worker(repository: safe_git.Repository, share: list[Object], hosts: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """A process for a share. The ids are in an unnamed file, so that no writer waits for a reader."""
    command = processes.own_command("scan.worker", json.dumps({"git": repository.command(), "hosts": hosts}))
    env, pipe, null = safe_git.environment(repository.env), subprocess.PIPE, subprocess.DEVNULL
    with tempfile.TemporaryFile() as ids:
        ids.write(b"".join(name + b"\n" for name, _ in share))
        ids.seek(0)
        return subprocess.Popen(command, cwd="/", env=env, stdin=ids, stdout=pipe, stderr=null)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(repository: safe_git.Repository, found: list[dict[str, Any]]) -> list[SecretFinding]:
    """Findings with the commit that brought each in, and its file; one for each secret in each file."""
    places = _places(repository, {told["object"] for told in found if told["type"] == "blob"})
    merged: dict[tuple[Secret, str], SecretFinding] = {}
    first: dict[tuple[Secret, str], int] = {}
    for told in found:
        commit, path, age = _place(told, places)
        match = patterns.Match(start=0, end=0, **{**told["match"], "secret": Secret(told["match"]["secret"])})
        finding = SecretFinding(
            match=match, source=HISTORY, path=path, line=told["line"], commit=commit, blob=told["object"]
        )
        key = (finding.match.secret, path)
        if key not in merged:
            merged[key], first[key] = finding, age
            continue
        older = finding if age > first[key] else merged[key]
        first[key] = max(age, first[key])
        merged[key] = replace(older, times=merged[key].times + 1)
    return sorted(merged.values(), key=lambda f: (f.path, f.line or 0, f.commit or ""))


def _place(told: dict[str, Any], places: dict[str, tuple[str, str, int]]) -> tuple[str | None, str, int]:
    if told["type"] == "commit":
        return told["object"], "(commit message)", 0
    if told["type"] == "tag":
        return None, "(tag message)", 0
    return places.get(told["object"], (None, "(in no commit)", -1))


def _places(repository: safe_git.Repository, blobs: set[str]) -> dict[str, tuple[str, str, int]]:
    """For each blob, the oldest commit that has it, the file, and how far back in the walk that commit is."""
    if not blobs:
        return {}
    commits = repository.start("rev-list", "--all", "--reflog")
    if commits.stdout is None:
        raise Error("git did not start", hint="try: git version")
    with commits, commits.stdout as pipe:
        diff = repository.start(*_DIFF_TREE, stdin=pipe.fileno())
        with diff:
            return _walk(_fields(diff), blobs)


def _walk(fields: Iterable[bytes], blobs: set[str]) -> dict[str, tuple[str, str, int]]:
    """Read diff-tree's answer: a commit's id, then for each file `:modes ids letter` and its path. Newest first."""
    places: dict[str, tuple[str, str, int]] = {}
    commit, age, waiting = "", 0, None
    for text in fields:
        if waiting is not None:
            places[waiting] = (commit, text.decode("utf-8", "surrogateescape"), age)
            waiting = None
        elif text.startswith(b":"):
            # a merge has a colon, a mode and an id for each parent; the last id is the result's
            changed = text.split()[-2].decode()
            waiting = changed if changed in blobs else _SKIP
        else:
            commit, age = text.strip().decode("ascii", "replace"), age + 1
    places.pop(_SKIP, None)
    return places


_SKIP = "-"
"""A file that was not asked for; its path follows all the same."""


def _fields(process: subprocess.Popen[bytes]) -> Iterable[bytes]:
    """What a program writes, cut at NUL."""
    rest = b""
    while process.stdout is not None and (chunk := process.stdout.read1(_READ_BYTES)):  # type: ignore[attr-defined]  # buffered
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
