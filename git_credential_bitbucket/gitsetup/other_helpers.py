"""Who else git asks about a host, by its effective list of helpers: one that stores is handed every token of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket import url_match
from git_credential_bitbucket.gitsetup.executable import means_us

if TYPE_CHECKING:
    from git_credential_bitbucket.git_config import GitConfig

_EFFECTS = {
    "store": "it writes every token to a file in plain text",
    "cache": "it keeps every token in memory",
    "oauth": "",
}
"""What helpers do with what they are told; one that stores nothing does no harm behind ours."""
_STORES = "it receives every token, and may store it"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another helper for the same host: its line, the file that it stands in, whether it is asked after us."""

    value: str
    origin: str
    after: bool

    @property
    def effect(self) -> str:
        """What comes of it, for people."""
        if not self.after:
            return "its answers come before the credentials stored here"
        return _effect(self.value)


def neighbours(read: GitConfig, url: str) -> list[Neighbour]:
    """The other helpers for `url`, and for addresses below it that have lines of their own; ours need not be there."""
    found: dict[tuple[str, str], Neighbour] = {}
    for asked in (url, *read.credential_urls()):
        if _host(asked) != _host(url):
            continue
        after = False
        for value, origin, scope in read.helpers(asked):
            if means_us(value):
                after = True
            elif not after or _effect(value):
                where = origin if scope != "command" else "command line or environment"
                found.setdefault((value, where), Neighbour(value, where, after))
    return list(found.values())


def shown_helper(helper: str) -> str:
    """A value of `credential.helper` as it may be shown: of a shell command only the program, for people write
    passwords into those.
    """
    if not helper.startswith("!"):
        return helper
    program = helper[1:].strip().partition(" ")[0]
    return f"!{program} …" if program.replace("/", "").replace("-", "").replace("_", "").isalnum() else "!…"


def reset_after(read: GitConfig) -> str:
    """The file of the last empty helper line, which is the one that counts."""
    resets = [e.origin for e in read.entries("credential", "helper") if not e.value]
    return resets[-1] if resets else "git's configuration"


def _host(url: str) -> tuple[str, str, str] | None:
    found = url_match.normalise(url)
    return None if found is None else (found.scheme, found.host, found.port)


def _effect(helper: str) -> str:
    word = helper.partition(" ")[0].rpartition("/")[2].removeprefix("git-credential-")
    return _EFFECTS.get(word, _STORES)
