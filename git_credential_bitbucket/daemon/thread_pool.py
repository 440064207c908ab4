"""Threads for what blocks: HTTP, the vault's lock, `git config`, the keyring. The loop never waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

MAX_JOBS = 16
"""Jobs at once, each bounded by its own time-out."""
MAX_RENEWALS = 48
"""Renewals at once. They may take minutes, so they have threads of their own."""


class ThreadPool:
    """Runs jobs in threads and counts those under way: stopping and upgrading wait for them."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """`on_end` is called in the worker's thread whenever a job has ended."""
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._under_way: set[object] = set()
        self._on_end = on_end

    @property
    def busy(self) -> int:
        """The number of jobs that have not ended."""
        return len(self._under_way)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run `job` in a thread of its own."""
        return self._submit(job, "job", MAX_JOBS)

    def submit_renewal(self, job: Callable[[], T]) -> Future[T]:
        """As `submit`, in one of the threads for renewals."""
        return self._submit(job, "renewal", MAX_RENEWALS)

    def _submit(self, job: Callable[[], T], kind: str, threads: int) -> Future[T]:
        if kind not in self._pools:
            from concurrent.futures import ThreadPoolExecutor  # lazy: 7 ms, 1.5 MiB; most need no job

            self._pools[kind] = ThreadPoolExecutor(threads, thread_name_prefix=kind)
        future = self._pools[kind].submit(job)
        self._under_way.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[T]) -> None:
        self._under_way.discard(future)
        self._on_end()
