"""Which repository the asking git works on, read from /proc. A hint for choosing among one host's credentials, no more.

git leaves the path out of a request unless `credential.useHttpPath` is set, but the process that asks descends from
`git remote-https REMOTE URL` (or `git clone URL`, or a hook such as `git-lfs pre-push REMOTE URL`). Linux only:
elsewhere, and for a peer in another pid namespace, nothing is found and the request is answered as it stands.
"""

import os
from urllib.parse import unquote, urlsplit

from git_credential_bitbucket.wire import normalise_host

MAX_ANCESTORS = 12
"""Relay, shell, git, transport and porcelain are five or six; an editor's tree above them tells nothing."""
MAX_CMDLINE_BYTES = 65536


def asked_path(pid: int, protocol: str, host: str) -> str | None:
    """The path in the nearest URL for `protocol` and `host` (normalised) among the words of `pid` and its ancestors."""
    for _ in range(MAX_ANCESTORS):
        if pid <= 1:
            return None
        found = _path_in(_arguments(pid), protocol, host)
        if found is not None:
            return found
        pid = _parent(pid)
    return None


def _path_in(arguments: list[str], protocol: str, host: str) -> str | None:
    if not arguments or not _is_git(arguments[0]):
        return None
    for argument in arguments[1:]:
        if not argument.startswith(f"{protocol}://"):
            continue
        try:
            url = urlsplit(argument)
        except ValueError:  # an address such as https://[ is not ours to judge
            continue
        if normalise_host(protocol, url.netloc.rpartition("@")[2]) == host:
            return unquote(url.path.strip("/"), errors="surrogateescape") or None
    return None


def _is_git(program: str) -> bool:
    name = os.path.basename(program)
    return name == "git" or name.startswith("git-")


def _arguments(pid: int) -> list[str]:
    raw = _read(f"/proc/{pid}/cmdline")
    return [os.fsdecode(argument) for argument in raw.split(b"\0")]


def _parent(pid: int) -> int:
    """The parent's pid, 0 where there is none."""
    # The second field is the program's name, with spaces and brackets as it pleases: count from its end (proc(5)).
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_CMDLINE_BYTES) or b""
    except OSError:  # it has ended, or there is no /proc
        return b""
