"""Threads for what blocks: HTTP, the vault's lock, `git config`, the keyring. The loop never waits for any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

MAX_WORKERS = 64
"""Jobs at once. A renewal may wait for minutes, and what needs none must find a thread meanwhile."""


class Workers:
    """Runs jobs. A class because it counts what is under way: leaving and upgrading wait for it."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """`on_end` is called in the worker's thread whenever a job has ended."""
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: set[object] = set()
        self._on_end = on_end

    @property
    def busy(self) -> int:
        """The number of jobs that have not ended."""
        return len(self._under_way)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run `job` in a thread of its own."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # here, not above: 7 ms, 1.5 MiB; most need no job

            self._pool = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="job")
        future = self._pool.submit(job)
        self._under_way.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[T]) -> None:
        self._under_way.discard(future)
        self._on_end()
