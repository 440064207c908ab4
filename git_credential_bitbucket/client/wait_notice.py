"""A word on stderr to whoever waits: what for, and what ends it."""

import threading
from contextlib import contextmanager

from git_credential_bitbucket.client import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTICE_AFTER_S = 5.0
"""Bitbucket mostly answers within one; who has waited for this long wonders."""
FOR_BITBUCKET = "Bitbucket has not answered yet; its answer is waited for, up to 5 minutes"


@contextmanager
def noticed(cause: str, hint: str | None = None, *, still: "Callable[[], bool]" = lambda: True) -> "Iterator[None]":
    """Within, say `cause` once it has taken `NOTICE_AFTER_S`, if that is `still` what is waited for then."""
    timer = threading.Timer(NOTICE_AFTER_S, lambda: messages.warning(cause, hint) if still() else None)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
