"""How text is written where it cannot be shown as it is: a terminal that knows ASCII only, as with LC_ALL=C.

Quotes, dashes and dots become ASCII's own, for people read them; what else there is, names from outside, is escaped.
"""

from __future__ import annotations

import codecs

ERRORS = "git-credential-bitbucket.plain"
"""The name of this way, as `errors=` takes it."""
_PLAIN = {"“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "–": "-", "—": "-", "·": "-", "\u00a0": " "}  # noqa: RUF001 - these are what it is about


def _plain(exc: UnicodeError) -> tuple[str, int]:
    if not isinstance(exc, UnicodeEncodeError):
        raise exc
    failed = exc.object[exc.start : exc.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in failed), exc.end


codecs.register_error(ERRORS, _plain)
