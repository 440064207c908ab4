"""An answer that waits for a job, so that one thread can serve other requests meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class Deferred:
    """The job, and how to go on when it has ended or takes too long."""

    __slots__ = ("_give_up", "_resume", "future")

    def __init__(
        self, future: Future[Any], resume: Callable[[], bytes | Deferred], give_up: Callable[[], bytes] = lambda: b""
    ) -> None:
        """`resume` runs once `future` is done, on the thread that asked; `give_up` answers with what there is."""
        self.future = future
        self._resume = resume
        self._give_up = give_up

    def resume(self) -> bytes | Deferred:
        """Go on after the job. An `Error` is the resumed question's to deal with; anything else is a fault of ours."""
        error = self.future.exception()
        if error is not None and not isinstance(error, Error):
            raise error
        return self._resume()

    def give_up(self) -> bytes:
        """The answer at the deadline: a token that still lives, or nothing."""
        return self._give_up()

    def map(self, change: Callable[[bytes], bytes]) -> Deferred:
        """The same, with `change` applied once to the answer, whenever and however it comes."""
        return Deferred(self.future, lambda: map_answer(self.resume(), change), lambda: change(self.give_up()))


def map_answer(answer: bytes | Deferred, change: Callable[[bytes], bytes]) -> bytes | Deferred:
    """`change` applied to an answer that is there, or to one that comes later."""
    return answer.map(change) if isinstance(answer, Deferred) else change(answer)


def wait_for(answer: bytes | Deferred) -> bytes:
    """The answer once its jobs are done, where no other request waits."""
    while isinstance(answer, Deferred):
        answer.future.exception()  # waits; what went wrong is `resume`'s to tell
        answer = answer.resume()
    return answer
