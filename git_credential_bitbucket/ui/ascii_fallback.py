"""An encoding error handler for ASCII terminals (LC_ALL=C): quotes, dashes and dots in ASCII, the rest escaped."""

from __future__ import annotations

import codecs

ERRORS = "git-credential-bitbucket.plain"
"""The handler's name, for `errors=`."""
_PLAIN = {"“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "–": "-", "—": "-", "·": "-", "\u00a0": " "}  # noqa: RUF001 - what is replaced


def _plain(exc: UnicodeError) -> tuple[str, int]:
    if not isinstance(exc, UnicodeEncodeError):
        raise exc
    failed = exc.object[exc.start : exc.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in failed), exc.end


codecs.register_error(ERRORS, _plain)
