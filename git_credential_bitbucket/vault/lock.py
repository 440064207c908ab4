"""The vault's lock: one writer at a time among threads and processes, with a timeout."""

import errno
import fcntl
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import VaultBusy
from git_credential_bitbucket.paths import typed

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.02


class Turn:
    """A lock among threads that knows its owner: taking it twice in one thread raises instead of waiting for ever."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._client: int | None = None

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds the lock."""
        return self._client == threading.get_ident()

    @contextmanager
    def taken(self, timeout_s: float) -> "Iterator[None]":
        """Hold it inside. Raises `VaultBusy` after `timeout_s` seconds.

        When this thread holds it, `RuntimeError`; `VaultBusy` where it would not wait anyway.
        """
        if self.is_mine and timeout_s:
            raise RuntimeError("a vault transaction was begun inside another one of the same thread")
        if self.is_mine or not self._mutex.acquire(timeout=timeout_s):
            raise VaultBusy("another request holds the vault's lock", hint="run the command again in a minute")
        self._client = threading.get_ident()
        try:
            yield
        finally:
            self._client = None
            self._mutex.release()


@contextmanager
def flocked(path: str, timeout_s: float, named: str = "the vault's lock") -> "Iterator[int]":
    """Hold the lock file `path` inside, with its descriptor; the kernel releases it when its owner dies.

    Raises `VaultBusy`, with the lock `named`, after `timeout_s` seconds, and `OSError` where there can be no such file.
    """
    fd = _wait_for(path, timeout_s, named)
    try:
        yield fd
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # not by closing alone: a child forked meanwhile would keep it held
        os.close(fd)


def _wait_for(path: str, timeout_s: float, named: str) -> int:
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        fd = files.open_private(path, os.O_RDWR | os.O_CREAT)
        try:
            # flock belongs to the open file, not to the process: two threads with a descriptor each exclude one
            # another, and closing some other descriptor of the file does not let go of it (as lockf would).
            while not (taken := _try_flock(fd)) and files.is_at(path, os.fstat(fd)):
                pause = _rest(path, pause, deadline, named)
            if taken and files.is_at(path, os.fstat(fd)):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the file was removed: a lock on it excludes no one any more


def _rest(path: str, pause: float, deadline: float, named: str) -> float:
    """Sleep for `pause` seconds and return the next one. Raises `VaultBusy` when the deadline has come."""
    if time.monotonic() >= deadline:
        raise VaultBusy(f"another process holds {named}", hint=f"see which one: fuser {typed(path)}")
    time.sleep(pause)
    return min(pause * 2, _LONGEST_PAUSE_S)


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True
