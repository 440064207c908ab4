"""Starting anew under running gits: when the package has changed, when the new one works, and what is handed on.

A module that is imported late would otherwise be the new version's, in a process that runs the old one. The listening
socket is never closed: who connects meanwhile waits in its queue. Imports the standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SETTLE_S = 2.0
"""Installers write for about a second; nothing is started from half a package."""
RETRY_S = 60.0
"""A package that does not start may lack another one, whose arrival is not watched."""
CHECK_TIMEOUT_S = 30.0

Stamp = tuple[tuple[str, int, int, int], ...]


def package_stamp() -> Stamp:
    """What changes when the package is replaced: its modules' times, inodes and sizes, and the interpreter's."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = [_stamp_of(sys.executable)]
    try:
        with os.scandir(top) as entries:
            rooms = [top, *(entry.path for entry in entries if entry.is_dir())]
        for room in rooms:
            with os.scandir(room) as entries:
                found += [_stamp_of(entry.path) for entry in entries if entry.name.endswith(".py")]
    except OSError:  # it is being replaced at this moment
        pass
    return tuple(sorted(found))


def _stamp_of(path: str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, found.st_mtime_ns, found.st_ino, found.st_size


class Watch:
    """Tells when there is something new to start. A class because a change counts only once it has stood still."""

    def __init__(self) -> None:
        """What is on disk now is what runs."""
        self._running = self._seen = package_stamp()
        self._ripe_at = 0.0

    def settled(self, now: float) -> bool:
        """Whether the package differs from what runs, and has not changed for `SETTLE_S`. `now` is monotonic."""
        stamp = package_stamp()
        if stamp != self._seen:
            self._seen, self._ripe_at = stamp, now + SETTLE_S
        return stamp != self._running and now >= self._ripe_at

    @property
    def changed(self) -> bool:
        """Whether a change was seen that has not been started yet."""
        return self._seen != self._running

    def mistrust(self, now: float) -> None:
        """What runs is not whole: memory ran out in the middle of an import, say, and no second try mends that."""
        if self._running:
            self._running, self._ripe_at = (), now + SETTLE_S

    def put_off(self, now: float) -> None:
        """What is there now does not start: try again with the next change, or after `RETRY_S`."""
        self._ripe_at = now + RETRY_S


def command(arguments: Sequence[str], own_arguments: Sequence[str]) -> list[str]:
    """How this process was started, with `arguments` in the place of its own."""
    kept = sys.orig_argv[1 : len(sys.orig_argv) - len(own_arguments)]
    return [sys.executable, *kept, *arguments]


def works(check: Sequence[str]) -> bool:
    """Whether what is installed now can be started: runs `check`, a job. A broken one must not end a good one."""
    import subprocess  # here, not above: 0.7 MiB that a daemon without an upgrade never needs

    try:
        done = subprocess.run(
            check, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def hand_over(document: Mapping[str, object]) -> int | None:
    """A descriptor that the next program reads `document` from: memory, never a file. None if there is no such.

    The document holds secrets. Elsewhere than on Linux a pipe's buffer takes it, or nothing does.
    """
    data = json.dumps(document).encode()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("git-credential-bitbucket", os.MFD_CLOEXEC)
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    descriptor, writing = os.pipe()
    os.set_blocking(writing, False)
    written = os.write(writing, data)
    os.close(writing)
    if written == len(data):
        return descriptor
    os.close(descriptor)
    return None


def received(descriptor: int) -> dict[str, Any]:
    """What the program before this one handed over; its descriptor is closed, and with it the last copy is gone."""
    with open(descriptor, "rb") as file:
        document: dict[str, Any] = json.loads(file.read())
    return document


def start_anew(arguments: list[str], inherited: Sequence[int]) -> None:
    """Become the program that is installed now. Comes back only by raising `OSError`, and then nothing has changed."""
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's signature
    try:
        os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted
    except OSError:
        for descriptor in inherited:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - as above
        raise
