"""Owns the log of requests: what a test may assert on, and never a secret (digests stand for them)."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field


@dataclass
class Entry:
    """One request. `status` is None while it is being served, and 0 if the connection was dropped instead."""

    number: int
    at: float
    host: str
    method: str
    path: str
    endpoint: str
    query: dict[str, str] = field(default_factory=dict)
    auth: str | None = None
    username: str | None = None
    secret: str | None = None
    form: dict[str, str] = field(default_factory=dict)
    body_length: int = 0
    body_coding: str | None = None
    fault: str | None = None
    status: int | None = None


class Journal:
    """The requests so far. Its state: the list, and the condition on which a test waits for more."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._connections = 0

    def arrived(self, host: str, method: str, path: str, endpoint: str) -> Entry:
        """A new entry, counted from its arrival."""
        with self._changed:
            entry = Entry(len(self._entries) + 1, time.time(), host, method, path, endpoint)
            self._entries.append(entry)
            self._changed.notify_all()
        return entry

    def answered(self, entry: Entry, status: int) -> None:
        """To be called before the answer is sent, so that whoever has the answer finds it here."""
        with self._changed:
            entry.status = status
            self._changed.notify_all()

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """While a connection is served."""
        with self._changed:
            self._connections += 1
        try:
            yield
        finally:
            with self._changed:
                self._connections -= 1
                self._changed.notify_all()

    def wait_until_quiet(self, timeout: float) -> bool:
        """Whether within `timeout` seconds nothing is served any more, nor can be: there is no connection."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout)

    def since(self, number: int = 0) -> list[dict[str, object]]:
        """The entries after `number`, as JSON."""
        with self._changed:
            return [asdict(entry) for entry in self._entries[number:]]

    def wait(self, enough: Callable[[list[Entry]], bool], timeout: float) -> bool:
        """Whether `enough` came to hold within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: enough(self._entries), timeout)
