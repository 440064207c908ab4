"""The access log: which program requested what, when, and which credential answered; never a secret. Off by default.

The life-cycle log (logins, rotations and the like) has the same format, lies beside the vault, and is always on. Both
are JSON lines in a private file, rotated by size. A thread writes them; a line that cannot be written is counted in the
next one, and no request fails. Imports config, files, paths and errors only.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import config, files, paths
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Entry = dict[str, Any]

SETTING = "GIT_CREDENTIAL_BITBUCKET_LOG"
"""`on`, or the absolute path of a file; `off`, or nothing, writes nothing."""
MAX_BYTES = 1 << 20
"""What one file holds at most: some 4,000 lines."""
MAX_FILES = 4
"""How many files there are at most: the log itself, and `.1` to `.3`, the oldest."""
MAX_WAITING = 1024
"""Lines in the queue; more are lost, and counted."""
CLOSE_TIMEOUT_S = 1.0
EVENT_RETENTION_S = 2 * 365 * 86400.0
"""The retention of the life-cycle log, up to some 20,000 lines."""


def log_path(env: Mapping[str, str]) -> str | None:
    """The log's file; None where it is off. Raises `SettingsError` where the setting is neither."""
    given = env.get(SETTING, "")
    if given.startswith("/"):
        return given
    return f"{paths.data_dir(env)}/log.jsonl" if config.is_on(env, SETTING, default=False) else None


def event_log_path(env: Mapping[str, str]) -> str:
    """The life-cycle log's file, beside the vault that it is about. Raises `InsecurePath`."""
    return f"{paths.vault_path(env)}.events.jsonl"


class AccessLog:
    """A log that is written by a thread of its own."""

    def __init__(self, path: str, kept_s: float | None = None) -> None:
        """The file is made with the first line. `kept_s` is the retention of a line; None: while there is room."""
        self.path = path
        self._kept_s = kept_s
        self._waiting: queue.Queue[Entry | None] = queue.Queue(MAX_WAITING)
        self._writer: threading.Thread | None = None
        self._lost = 0
        self._starting = threading.Lock()  # jobs in threads add lines, too

    def note(self, entry: Entry) -> None:
        """Add one line; returns at once."""
        with self._starting:
            self._start()
        try:
            self._waiting.put_nowait(with_time(entry))
        except queue.Full:
            self._lost += 1

    def _start(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._work, name="access-log", daemon=True)
            self._writer.start()

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_TIMEOUT_S`; may be used again."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        writer.join(CLOSE_TIMEOUT_S)

    def _work(self) -> None:
        while (entry := self._waiting.get()) is not None:
            lost = self._lost
            try:
                write(self.path, {**entry, "lost_before": lost} if lost else entry, self._kept_s)
            except (OSError, Error):
                self._lost += 1
            else:
                self._lost -= lost


def with_time(entry: Entry) -> Entry:
    """`entry` with the time before it: UTC, to the millisecond."""
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return {"time": f"{moment}.{int(now * 1000) % 1000:03}Z", **entry}


def time_of(entry: Entry) -> float | None:
    """The time of a line in epoch seconds; None where it has none."""
    from datetime import datetime  # lazy: 1 ms, and few readers need it

    try:
        return datetime.fromisoformat(str(entry.get("time"))).timestamp()
    except ValueError:
        return None


def write(path: str, entry: Entry, kept_s: float | None = None) -> None:
    """Append one line, and begin a new file where it is full. Raises `InsecurePath`, `OSError`.

    With `kept_s`, older lines are removed, a twelfth of that time at once.
    """
    line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not files.is_at(path, os.fstat(descriptor)):  # another process began a new one meanwhile
                continue
            if kept_s is not None and _is_overdue(path, time.time() - kept_s * 13 / 12):
                _prune(path, time.time() - kept_s)
                continue
            size = os.fstat(descriptor).st_size
            if size and size + len(line) > MAX_BYTES:  # an empty file takes any line
                _rotate(path)
                continue
            os.write(descriptor, line)
            return
        finally:
            os.close(descriptor)


def read(path: str) -> Iterator[Entry]:
    """The readable lines, oldest first. Raises `InsecurePath`, `OSError` where a file cannot be read."""
    for name in _files(path):
        try:
            with open(files.open_regular(name, os.O_RDONLY), encoding="utf-8", errors="replace", newline="\n") as file:
                yield from filter(None, map(_parsed, file))
        except FileNotFoundError:
            continue


def _files(path: str) -> list[str]:
    return [*(f"{path}.{nth}" for nth in range(MAX_FILES - 1, 0, -1)), path]


def _is_overdue(path: str, before: float) -> bool:
    first = next(read(path), None)
    return first is not None and (time_of(first) or before) < before


def _prune(path: str, before: float) -> None:
    """Remove lines from before `before`; the caller holds the lock."""
    for name in _files(path):
        try:
            with open(files.open_regular(name, os.O_RDONLY), "rb") as file:
                lines = file.readlines()
        except FileNotFoundError:
            continue
        kept = b"".join(line for line in lines if (time_of(_parsed(line)) or 0.0) >= before)
        files.replace(name, kept, mode=files.PRIVATE_MODE)


def _parsed(line: str | bytes) -> Entry:
    """A line's content; empty where it is no JSON, as after a full disk."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(entry, dict):
        return {}
    if "place" in entry:  # as the release 0.1.0 wrote it
        entry["scope"] = entry.pop("place")
    return entry


def _opened(path: str) -> int:
    paths.make_dir(os.path.dirname(path))
    return files.open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _rotate(path: str) -> None:
    for nth in range(MAX_FILES - 1, 0, -1):
        older = f"{path}.{nth - 1}" if nth > 1 else path
        try:
            os.rename(older, f"{path}.{nth}")
        except FileNotFoundError:
            continue
