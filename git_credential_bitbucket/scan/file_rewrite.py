"""Removes secrets from a file, and restores them: only their lines, in one step, keeping the file's mode.

A file is written as git writes its own: `FILE.lock` is made, filled and renamed, so git and its store helper wait for
us and we for them. Links of the person's own home are followed to what they mean, as git does.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from git_credential_bitbucket import files
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.git_protocol import printable
from git_credential_bitbucket.scan import locations, patterns
from git_credential_bitbucket.scan.found_secret import GIT_CONFIG, GIT_CREDENTIALS, KEYRING, SecretFinding

MAX_RECORD_BYTES = 48_000
"""One record of a backup is one line to the client, which takes 64 KiB."""
_EXTRA_HEADER = re.compile(
    rb"(?im)^(?P<section>[ \t]*\[[^\]\n]*\](?=[ \t]*extraheader))?"
    rb"(?P<entry>[ \t]*extraheader[ \t]*=(?:[^\\\n]|\\\r?\n|\\.)*(?P<end>\n|\Z))"
)
"""A whole entry of git's configuration, over all its lines; its section's name may stand before it."""
_ENTRY_BYTES = 16384
"""How far before its secret an entry may begin."""

Cut = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hunk:
    """Whole lines of a file: `before` became `after`, which begins at byte `at` of the cleaned file."""

    at: int
    before: bytes
    after: bytes
    lead: bytes
    trail: bytes


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is to be done to one file. `remove` where nothing but the secret is in it."""

    location: locations.Location
    before: bytes
    after: bytes
    hunks: tuple[Hunk, ...]
    remove: bool = False

    def records(self) -> list[dict[str, Any]]:
        """All that undoing takes, as JSON objects of bounded size. Raises `Error` where a line is too long for one."""
        common = {
            "path": self.location.path,
            "source": self.location.source,
            "foreign": self.location.foreign,
            "remove": self.remove,
            "mode": stat.S_IMODE(os.stat(self.location.path).st_mode),
            "cleaned": _digest(self.after),
        }
        records: list[dict[str, Any]] = []
        size = MAX_RECORD_BYTES
        for hunk in self.hunks:
            entry = [hunk.at, *(part.decode("latin-1") for part in (hunk.before, hunk.after, hunk.lead, hunk.trail))]
            length = sum(2 * len(part) for part in (hunk.before, hunk.after, hunk.lead, hunk.trail))
            if length > MAX_RECORD_BYTES:
                hint = "remove the secret by hand"
                raise Error(f"a line of {printable(self.location.path)} is too long for the backup", hint=hint)
            if size + length > MAX_RECORD_BYTES:
                records.append({**common, "hunks": []})
                size = 0
            records[-1]["hunks"].append(entry)
            size += length
        return records


def plan_rewrite(location: locations.Location, text: bytes, findings: list[SecretFinding]) -> Rewrite:
    """How `text` is rid of `findings`, each of which `can_remove` accepts."""
    if location.source == KEYRING:
        hunk = Hunk(0, text, b"", b"", b"")
        return Rewrite(location, text, b"", (hunk,), remove=True)
    cuts = sorted(cut for finding in findings if (cut := _cut(location, text, finding.match)) is not None)
    hunks: list[Hunk] = []
    after = b""
    kept_to = 0
    for first, last, inside in _lines(text, cuts):
        cleaned, position = b"", first
        for start, end in inside:
            cleaned, position = cleaned + text[position:start], end
        cleaned += text[position:last]
        after += text[kept_to:first]
        lead = text[text.rfind(b"\n", 0, max(first - 1, 0)) + 1 : first]
        trail = text[last : text.find(b"\n", last) + 1]
        hunks.append(Hunk(len(after), text[first:last], cleaned, lead, trail))
        after, kept_to = after + cleaned, last
    after += text[kept_to:]
    return Rewrite(location, text, after, tuple(hunks))


def can_remove(location: locations.Location, text: bytes, finding: SecretFinding) -> bool:
    """Whether a finding can be taken out without understanding what is around it."""
    return location.source == KEYRING or _cut(location, text, finding.match) is not None


def rewrite_file(cleaning: Rewrite) -> None:
    """Do it. Raises `Error` where the file has changed meanwhile or cannot be written; then it is as it was."""
    _replace(cleaning.location, cleaning.before, None if cleaning.remove else cleaning.after)


def restore(records: list[dict[str, Any]]) -> None:
    """Put back what one file's `records` took out; later changes of other lines are kept. Raises `Error`.

    What is back already stays as it is, so that an undo which stopped at another file can be repeated.
    """
    first = records[0]
    location = locations.Location(first["path"], first["source"], first["foreign"])
    hunks = [Hunk(at, *(part.encode("latin-1") for part in parts)) for r in records for at, *parts in r["hunks"]]
    if first["remove"]:
        if not os.path.lexists(location.path) or _content(location) != hunks[0].before:
            _create(location, hunks[0].before, first["mode"])
        return
    current = _content(location)
    restored = current
    if _digest(current) == first["cleaned"]:
        for hunk in reversed(hunks):  # from the end, so that what is before stays where it was
            restored = restored[: hunk.at] + hunk.before + restored[hunk.at + len(hunk.after) :]
    else:
        for hunk in _missing(current, hunks):
            restored = _merged(restored, hunk, location)
    if restored != current:
        _replace(location, current, restored)


def _cut(location: locations.Location, text: bytes, match: patterns.Match) -> Cut | None:
    line = (text.rfind(b"\n", 0, match.start) + 1, (text.find(b"\n", match.end) + 1) or len(text))
    if location.source == GIT_CREDENTIALS:
        return line
    if (
        match.form == patterns.NETRC
        and not text[line[0] : match.start].strip()
        and not text[match.end : line[1]].strip()
    ):
        return line[0], line[1]
    if location.source == GIT_CONFIG and match.form != patterns.URL:
        return _extra_header(text, match)  # whole: what is left of a header would be sent as one
    return match.start, match.end


def _extra_header(text: bytes, match: patterns.Match) -> Cut | None:
    """The http.extraHeader that a secret is in; None for any other entry, such as an alias or a helper."""
    for found in _EXTRA_HEADER.finditer(text, max(match.start - _ENTRY_BYTES, 0)):
        if found.start() > match.start:
            break
        if found.start("entry") <= match.start and match.end <= found.end("entry"):
            return found.start("entry"), found.start("end") if found["section"] else found.end("entry")
    return None


def _lines(text: bytes, cuts: list[Cut]) -> list[tuple[int, int, list[Cut]]]:
    """The whole lines that the cuts are in, those that share lines together."""
    found: list[tuple[int, int, list[Cut]]] = []
    for start, end in cuts:
        first = text.rfind(b"\n", 0, start) + 1
        # a cut that ends behind a line's end needs no line more
        last = end if end > start and text[end - 1 : end] == b"\n" else (text.find(b"\n", end) + 1) or len(text)
        if found and first < found[-1][1]:
            before = found.pop()
            found.append((before[0], max(before[1], last), [*before[2], (start, end)]))
        else:
            found.append((first, last, [(start, end)]))
    return found


def _missing(text: bytes, hunks: list[Hunk]) -> list[Hunk]:
    """Those whose lines are not in `text`; of several that took out the same, as many as are not there."""
    there = {
        hunk.before: len(re.findall(rb"(?m)^" + re.escape(hunk.before.removesuffix(b"\n")) + rb"$", text))
        for hunk in hunks
    }
    missing = []
    for hunk in hunks:
        if there[hunk.before]:
            there[hunk.before] -= 1
        else:
            missing.append(hunk)
    return missing


def _merged(current: bytes, hunk: Hunk, location: locations.Location) -> bytes:
    """`current` with `hunk` put back, found by the lines around it: the file was changed since."""
    for lead, trail in ((hunk.lead, hunk.trail), (hunk.lead, b""), (b"", hunk.trail), (b"", b"")):
        known = lead + hunk.after + trail
        if known and current.count(known) == 1:
            return current.replace(known, lead + hunk.before + trail)
    if not hunk.after:  # whole lines had been taken out: of lists, whose order says nothing
        return current + (b"" if not current or current.endswith(b"\n") else b"\n") + hunk.before
    hint = "undo those changes and try again; the backup is kept"
    raise Error(f"{printable(location.path)} has changed too much to restore what was removed", hint=hint)


def _replace(location: locations.Location, before: bytes, after: bytes | None) -> None:
    """Write `after` in place of `before`, under git's own lock, or remove the file."""
    path = location.path if location.foreign else os.path.realpath(location.path)
    shown = printable(path, 500)

    def check() -> None:
        if _content(location) != before:
            raise Error(f"{shown} was changed by another program", hint="nothing was lost; try again")
        found = os.lstat(path)
        if found.st_nlink > 1 or (found.st_uid != os.geteuid() and os.geteuid() != 0):
            raise Error(f"{shown} has hard links, or another owner", hint="remove the lines by hand")

    if after is None:
        check()
        files.remove(path)
        return
    try:
        files.replace(path, after, beside=f"{path}.lock", check=check)
    except FileExistsError as exc:
        hint = f"if no program is, remove {printable(path, 500)}.lock"
        raise Error(f"another program is changing {shown}", hint=hint) from exc


def _create(location: locations.Location, content: bytes, mode: int) -> None:
    """Create a removed file again, unless there is one."""
    try:
        files.create(location.path, content, mode)
    except FileExistsError as exc:
        raise files.unwritable(location.path, exc) from exc


def _content(location: locations.Location) -> bytes:
    try:
        found = locations.content(location)
    except OSError as exc:
        raise files.unwritable(location.path, exc) from exc
    if found is None:
        raise Error(f"{printable(location.path)} has grown too large", hint="remove the lines by hand")
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
