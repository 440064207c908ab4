"""Open misses: questions of git's that were answered with nothing, so that a person was asked for a secret.

git says nothing of where a secret comes from that it stores: a person's answer to its prompt, or a URL in somebody's
`.gitmodules`. Only the former follows a miss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from git_credential_bitbucket.wire import Request

OPEN_S = 10 * 60
"""How long a person may take to answer git's prompt."""
MAX_OPEN = 64
"""How many are remembered; the oldest is forgotten first."""
MAX_NAMES = 4096
"""Characters of a username and a path that are remembered together; git's own requests have far fewer."""


class OpenMisses:
    """What was asked for in vain lately. A class for its state, which a restart loses: then nothing is solicited."""

    def __init__(self) -> None:
        """None is open at first."""
        self._open: dict[tuple[str, str, str | None, str | None], float] = {}

    def open(self, request: Request, now: float) -> None:
        """Remember that `request` was answered with nothing."""
        if len(request.path or "") + len(request.username or "") > MAX_NAMES:
            return
        key = (request.protocol, request.host, request.path, request.username)
        self._open.pop(key, None)
        self._open[key] = now
        while len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def close(self, request: Request, now: float) -> bool:
        """Whether a `store` answers an open miss, which it uses up: same protocol, host and path, no other username."""
        for username in (request.username, None):
            at = self._open.pop((request.protocol, request.host, request.path, username), None)
            if at is not None and 0 <= now - at <= OPEN_S:
                return True
        return False
