"""Open misses: requests of git that were answered with nothing, so that it prompted a person for a secret.

git says nothing of where a secret comes from that it stores: a person's answer to its prompt, or a URL in a
`.gitmodules` file. Only the former follows a miss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.git_protocol import Request

GitProcess = tuple[int, int] | None
"""The git that asks (`processes.requesting_git`); None where it cannot be seen."""

OPEN_S = 10 * 60
"""How long a person may take to answer git's prompt."""
MAX_OPEN = 64
"""How many are remembered; the oldest is forgotten first."""
MAX_NAME_CHARACTERS = 4096
"""Characters of a username and a path that are remembered together; git's own requests have far fewer."""


class OpenMisses:
    """Requests that were lately answered with nothing. A restart forgets them: then nothing is solicited."""

    def __init__(self) -> None:
        """None is open at first."""
        self._open: dict[tuple[str, str, str | None, str | None], tuple[float, GitProcess]] = {}

    def open(self, request: Request, now: float, asker: GitProcess) -> None:
        """Remember that `request` was answered with nothing."""
        if len(request.path or "") + len(request.username or "") > MAX_NAME_CHARACTERS:
            return
        key = (request.protocol, request.host, request.path, request.username)
        self._open.pop(key, None)
        self._open[key] = now, asker
        while len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def close(self, request: Request, now: float, asker: Callable[[], GitProcess]) -> bool:
        """Whether a `store` answers an open miss, and uses it up: same protocol, host, path and git, no other username.

        One git asks and stores: else a repository could have an address asked for in vain, and then bring its password.
        """
        for username in (request.username, None):
            key = (request.protocol, request.host, request.path, username)
            at, asked_by = self._open.get(key, (None, None))
            if at is not None and asked_by == asker():
                del self._open[key]
                if 0 <= now - at <= OPEN_S:
                    return True
        return False
