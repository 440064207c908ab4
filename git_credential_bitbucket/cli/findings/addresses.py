"""Secrets and names where they do not belong: in the addresses that git's configuration holds, in headers, in ~/.netrc.

Never shows an address with its secret, and never removes a secret: it may be the only copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import hosts, kinds
from git_credential_bitbucket.cli import app, asked, beforehand, gitconfig
from git_credential_bitbucket.cli.findings.finding import NOTE, OK, WRONG, Finding, Mend
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.cli.asked import Url
    from git_credential_bitbucket.cli.findings.finding import Scene
    from git_credential_bitbucket.settings import Entry

CHECK = "addresses"
_VALUES = (("remote", "url"), ("remote", "pushurl"), ("submodule", "url"))
_BASES = (("url", "insteadOf"), ("url", "pushInsteadOf"))
_TOKEN_NAMES = frozenset({kinds.ACCESS_TOKEN_USERNAME, kinds.API_TOKEN_USERNAME})


def look(scene: Scene) -> Iterator[Finding]:
    """All addresses that lead to a Bitbucket, and what git sends without asking."""
    found = [finding for entry, text in _addresses(scene) for finding in _of_address(scene, entry, text)]
    origin = beforehand.header(scene.url, scene.here)
    if origin is not None:
        cause = f"git sends an Authorization header of http.extraHeader with every request ({origin})"
        found.append(Finding(CHECK, NOTE, cause, "remove it, unless your CI system put it there for this job"))
    if beforehand.in_netrc(scene.url, scene.env):
        cause = "~/.netrc has an entry for this host, in the clear, and git sends it before it asks anybody"
        found.append(Finding(CHECK, WRONG, cause, f"remove that entry{_migrate()}"))
    yield from found
    if not found:
        yield Finding(CHECK, OK, "no secret in an address, a header or ~/.netrc")


def _addresses(scene: Scene) -> Iterator[tuple[Entry, str]]:
    for section, key in _VALUES:
        yield from ((entry, entry.value) for entry in scene.here.entries(section, key))
    for section, key in _BASES:
        yield from ((entry, entry.url) for entry in scene.here.entries(section, key) if entry.url)


def _of_address(scene: Scene, entry: Entry, text: str) -> Iterator[Finding]:
    url = _on_bitbucket(scene, text)
    if url is None:
        return
    where = f"{_named(entry)} ({entry.origin})"
    if url.has_password or asked.is_secret(url.username or ""):
        cure = f"revoke it and take it out{_migrate()}"
        yield Finding(CHECK, WRONG, f"there is a secret in the address of {where}: {url.shown}", cure)
    elif url.username in _TOKEN_NAMES:
        cause = f"{url.username} is written into the address of {where}; which name is right depends on the token"
        cure = f"type: git remote set-url {entry.url} {_without_name(text)}"
        yield Finding(CHECK, NOTE, cause, cure, _renamed(scene, entry, text))


def _on_bitbucket(scene: Scene, text: str) -> Url | None:
    try:
        url = asked.take_apart(text)
    except Error:  # git refuses it
        return None
    if url is None:
        return None
    # Over http, too: a secret in it is as bad.
    return url if hosts.is_ours(scene.trusted, "https", url.host) else None


def _named(entry: Entry) -> str:
    if entry.section == "url":
        return f"url.….{entry.key}"
    return f"{entry.section} {entry.url}"


def _renamed(scene: Scene, entry: Entry, text: str) -> Mend | None:
    same = [e for e in scene.here.entries(entry.section, entry.key) if (e.origin, e.url) == (entry.origin, entry.url)]
    if entry.section == "url" or len(same) != 1:
        return None
    name = f"{entry.section}.{entry.url}.{entry.key}"
    command = ["config", "--file", scene.path(entry.origin), name, _without_name(text)]
    return Mend(f"took the name out of the address of {_named(entry)}", lambda: gitconfig.run([command], scene.env))


def _without_name(text: str) -> str:
    protocol, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{protocol}://{authority.rpartition('@')[2]}{slash}{path}"


def _migrate() -> str:
    return ": git-credential-bitbucket migrate" if app.knows("migrate") else ""
