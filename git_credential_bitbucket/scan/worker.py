"""The child that looks through a share of a repository's objects: `git cat-file --batch` in, findings out.

Started by history with git's command as its arguments and the objects' ids on standard input, which git reads. It
writes a JSON object a line: what it found, and from time to time how many objects it has seen. The pipe is private.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TextIO

from git_credential_bitbucket.scan import patterns

_TELL_EVERY = 2000
MATCH_FIELDS = ("form", "kind", "certain", "account", "protocol", "host", "path", "product", "name")
"""The fields of a match that are reported beside its secret; its position in the object is not needed."""
_PIPE_BYTES = 1 << 20


def main() -> None:
    """Look at every object that git hands over."""
    request = json.loads(sys.argv[1])
    hosts = tuple(request["hosts"])
    out = open(1, "w", encoding="ascii", closefd=False)  # noqa: SIM115 - it is standard output
    command, pipe, null = [*request["git"], "cat-file", "--batch", "--buffer"], subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, cwd="/", stdin=0, stdout=pipe, stderr=null, bufsize=_PIPE_BYTES) as git:
        stream = git.stdout
        seen = 0
        while stream is not None and (header := stream.readline()):
            words = header.split()
            if len(words) != 3:  # noqa: PLR2004 - `id type size`; or `id missing`
                continue
            content = stream.read(int(words[2]) + 1)[:-1]
            seen += 1
            if patterns.may_contain_secret(content, hosts):
                _tell(words[0].decode(), words[1].decode(), content, hosts, out)
            if seen % _TELL_EVERY == 0:
                _write({"seen": seen}, out)
        _write({"seen": seen, "done": True}, out)
    out.flush()
    os._exit(git.returncode and 1)  # the interpreter's shutdown takes longer than a small share


def _tell(name: str, kind: str, content: bytes, hosts: tuple[str, ...], out: TextIO) -> None:
    if patterns.is_binary(content):
        content = content[: patterns.MAX_BINARY_BYTES]
    # lines of a commit's or tag's message are counted without what git keeps before it
    before = 0 if kind == "blob" else content.partition(b"\n\n")[0].count(b"\n") + 2
    for match in patterns.scan(content, hosts):
        found = {
            "object": name,
            "type": kind,
            "line": max(match.line - before, 1),
            "match": {**{name: getattr(match, name) for name in MATCH_FIELDS}, "secret": match.secret.reveal()},
        }
        _write(found, out)


def _write(document: dict[str, object], out: TextIO) -> None:
    print(json.dumps(document), file=out, flush="seen" in document)
