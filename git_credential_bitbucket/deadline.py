"""Runs functions in parallel within a deadline, such as name resolution, which has none of its own.

Imports threading only when it is used.
"""

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    Key = TypeVar("Key")
    Result = TypeVar("Result")

AT_ONCE = 16
"""Threads of one call."""


def each_within(seconds: float, work: "Mapping[Key, Callable[[], Result]]") -> "dict[Key, Result | BaseException]":
    """What each function of `work` returns or raises; `TimeoutError` for what has not ended within `seconds` in all."""
    import threading  # lazy: as above

    found: dict[Key, Result | BaseException] = {}
    waiting = list(work.items())[::-1]
    deadline = time.monotonic() + seconds

    def run() -> None:
        while waiting and time.monotonic() < deadline:
            try:
                key, function = waiting.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                found[key] = function()
            except BaseException as exc:  # noqa: BLE001 - returned to the caller
                found[key] = exc

    # A hanging call cannot be interrupted: its thread ends with the process.
    threads = [threading.Thread(target=run, name="deadline", daemon=True) for _ in range(min(AT_ONCE, len(work)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = TimeoutError(f"there was no answer within {seconds:g} seconds")
    return {key: found.get(key, late) for key in work}
