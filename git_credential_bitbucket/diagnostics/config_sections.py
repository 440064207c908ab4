"""Moves a host's section to the end of one of git's configuration files, with all keys and comments that it holds.

`git config --add` writes into a section that is there already, wherever that stands; this is for what must come last.
The text is moved as it is, so that a secret in it is in no command line, and git itself says whether it still reads the
same before anything is written.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config
from git_credential_bitbucket.errors import SettingsError, system_reason
from git_credential_bitbucket.scan import file_rewrite, locations
from git_credential_bitbucket.scan.found_secret import GIT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = re.compile(rb"[ \t]*\[")
_OURS = re.compile(rb'[ \t]*\[credential[ \t]+"((?:[^"\\\n]|\\.)*)"\]', re.IGNORECASE)
_HINT = "move its lines by hand"


def move_to_end(path: str, url: str, env: Mapping[str, str]) -> None:
    """Move `credential.<url>.*` to the end of the file `path`. Raises `Error` if that fails; then nothing has changed.

    git's own lock is held meanwhile, and the file is replaced in one step.
    """
    place = locations.Location(path, GIT_CONFIG)
    try:
        before = locations.content(place) or b""
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {system_reason(exc)}", hint=_HINT) from exc
    after = moved(before, url)
    if after == before:
        return
    prefix = f"credential.{url}.".encode("utf-8", "surrogateescape")
    read = _read(before, env)
    ours = [entry for entry in read if entry.partition(b"\n")[0].rpartition(b".")[0] + b"." == prefix]
    if _read(after, env) != [*(entry for entry in read if entry not in ours), *ours]:
        raise SettingsError(f"the section for {url} in {path} is written in a way that cannot be moved", hint=_HINT)
    file_rewrite.rewrite_file(file_rewrite.Rewrite(place, before, after, ()))


def moved(text: bytes, url: str) -> bytes:
    """The text of a configuration file with the sections for `url` at its end."""
    wanted = url.encode("utf-8", "surrogateescape")
    others, ours, inside, goes_on = b"", b"", False, False
    for line in io.BytesIO(text):
        if not goes_on and _HEADER.match(line):
            header = _OURS.match(line)
            inside = header is not None and re.sub(rb"\\(.)", rb"\1", header[1]) == wanted
        whole = line if line.endswith(b"\n") else line + b"\n"
        others, ours = (others, ours + whole) if inside else (others + whole, ours)
        ending = line.rstrip(b"\r\n")  # an odd number of backslashes: the value goes on on the next line
        goes_on = (len(ending) - len(ending.rstrip(b"\\"))) % 2 == 1
    return others + ours if ours else text


def _read(text: bytes, env: Mapping[str, str]) -> list[bytes]:
    """Each `name LF value` in the text, as git reads it. Raises `SettingsError`."""
    done = git_config.run_git(env, "config", "--file", "-", "--no-includes", "--null", "--list", given=text)
    if done.returncode != 0:
        raise SettingsError("git cannot read that configuration", hint="see what it says to: git config --list")
    return done.stdout.split(b"\0")[:-1]
