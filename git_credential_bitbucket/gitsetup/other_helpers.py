"""The other credential helpers for a host: one that stores gets every token that this program returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket import url_match
from git_credential_bitbucket.gitsetup.executable import is_this_program

if TYPE_CHECKING:
    from git_credential_bitbucket.git_config import GitConfig

_EFFECTS = {
    "store": "it writes every token to a file in plain text",
    "cache": "it keeps every token in memory",
    "oauth": "",
}
"""What known helpers do with a token that they are given; empty for one that stores nothing."""
_STORES = "it receives every token, and may store it"


@dataclass(frozen=True, slots=True)
class OtherHelper:
    """Another helper for the same host: its line, the file with it, and whether git asks it after this program."""

    value: str
    origin: str
    after: bool

    @property
    def summary(self) -> str:
        """What git asks and when, and the effect, in words that are safe to show."""
        where, effect = "before", "its answers come before the credentials stored here"
        if self.after:
            where, effect = "after", _effect(self.value)
        return f"git asks {shown_helper(self.value)} {where} this program ({self.origin}), and {effect}"


def other_helpers(read: GitConfig, url: str) -> list[OtherHelper]:
    """The other helpers for `url`, and for URLs below it that have their own lines."""
    found: dict[tuple[str, str], OtherHelper] = {}
    for asked in (url, *read.credential_urls()):
        if _host(asked) != _host(url):
            continue
        after = False
        for value, origin, scope in read.helpers(asked):
            if is_this_program(value):
                after = True
            elif not after or _effect(value):
                where = origin if scope != "command" else "command line or environment"
                found.setdefault((value, where), OtherHelper(value, where, after))
    return list(found.values())


def shown_helper(helper: str) -> str:
    """A `credential.helper` that is safe to show: of a shell command only the program, as it may contain a password."""
    if not helper.startswith("!"):
        return helper
    program = helper[1:].strip().partition(" ")[0]
    return f"!{program} …" if program.replace("/", "").replace("-", "").replace("_", "").isalnum() else "!…"


def reset_after(read: GitConfig) -> str:
    """The file with the last empty helper line, which is the effective one."""
    resets = [e.origin for e in read.entries("credential", "helper") if not e.value]
    return resets[-1] if resets else "git's configuration"


def _host(url: str) -> tuple[str, str, str] | None:
    found = url_match.normalise(url)
    return None if found is None else (found.scheme, found.host, found.port)


def _effect(helper: str) -> str:
    word = helper.partition(" ")[0].rpartition("/")[2].removeprefix("git-credential-")
    return _EFFECTS.get(word, _STORES)
