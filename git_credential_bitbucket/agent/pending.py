"""An answer that waits for a job, so that one thread can serve everybody else meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class Pending:
    """A class because it carries where to go on: the job, and what to do when it has ended or takes too long."""

    __slots__ = ("_give_up", "_resume", "future")

    def __init__(
        self,
        future: Future[Any],
        resume: Callable[[], bytes | Pending],
        give_up: Callable[[], bytes] = lambda: b"",
    ) -> None:
        """`resume` runs once `future` is done, on the thread that asked; `give_up` answers with what there is."""
        self.future = future
        self._resume = resume
        self._give_up = give_up

    def resume(self) -> bytes | Pending:
        """Go on after the job; what it raised is raised here, where it was not dealt with."""
        return self._resume()

    def give_up(self) -> bytes:
        """The answer at the deadline: a token that still lives, or nothing."""
        return self._give_up()


def finish(answer: bytes | Pending) -> bytes:
    """Wait an answer through, where there is nobody else to serve."""
    while isinstance(answer, Pending):
        answer.future.exception()  # waits; what went wrong is `resume`'s to tell
        answer = answer.resume()
    return answer
