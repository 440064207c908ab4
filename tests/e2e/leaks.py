"""Owns the search for secrets where none may be: in files, in processes, in what programs said.

A secret is looked for as it is, in part, and in the codings that a header, an address or a dump would put it in.
"""

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

PART = 24
"""So much of a secret in one piece is no accident, and a careless message that shortens one shows more."""

CONTEXT = 80
PREFIX = 12
"""What is shown of the place where one was found, and how much of a secret tells only its kind."""


class Needles:
    """What is looked for. A class for the patterns: made once, used on many texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """The secrets, each in its codings."""
        self._patterns = {pattern for secret in secrets for pattern in _codings(secret.encode())}

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._patterns)

    def found_in(self, data: bytes) -> bool:
        """Whether a secret is in there."""
        return any(pattern in data for pattern in self._patterns)

    def texts(self, texts: Iterable[str]) -> Iterator[str]:
        """What stands before a secret in those of `texts` that hold one: never the secret itself."""
        for text in texts:
            data = text.encode()
            at = [data.find(pattern) for pattern in self._patterns if pattern in data]
            if at:
                yield data[max(0, min(at) - CONTEXT) : max(0, min(at) - PREFIX)].decode(errors="replace")

    def files(self, *folders: Path) -> Iterator[str]:
        """The files below `folders` that hold a secret, in their content, their name or where a link points."""
        for folder in folders:
            for directory, names, files in os.walk(folder):
                for name in (*names, *files):
                    path = Path(directory, name)
                    target = os.readlink(path) if path.is_symlink() else ""
                    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                    if self.found_in(os.fsencode(name)) or self.found_in(os.fsencode(target)) or self.found_in(content):
                        yield str(path)

    def processes(self) -> Iterator[str]:
        """The running processes with a secret in their arguments or their environment."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for kind in ("cmdline", "environ"):
                try:
                    data = Path("/proc", pid, kind).read_bytes()
                except OSError:  # it has ended, or is not ours to look at
                    continue
                if self.found_in(data):
                    yield f"{pid} {kind} ({data.split(b'=', 1)[0].decode(errors='replace')[:40]})"


def _codings(secret: bytes) -> Iterator[bytes]:
    yield from _parts(secret)
    yield from _parts(quote(secret, safe="").encode())
    yield from _parts(secret.hex().encode())
    for shift in range(3):  # in base64 it depends on what comes before, such as a username and a colon
        coded = base64.b64encode(bytes(shift) + secret)
        yield from _parts(coded[4:-4])
        yield from _parts(coded[4:-4].translate(bytes.maketrans(b"+/", b"-_")))


def _parts(coded: bytes) -> Iterator[bytes]:
    """The beginning, the middle and the end; the first bytes are left out, for a prefix is no secret."""
    body = coded[PREFIX:] if len(coded) > PREFIX + PART else coded
    for start in (0, max(0, (len(body) - PART) // 2), max(0, len(body) - PART)):
        yield body[start : start + PART]
