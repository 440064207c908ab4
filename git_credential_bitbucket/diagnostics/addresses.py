"""Secrets and names where they do not belong: in the addresses that git's configuration holds, in headers, in ~/.netrc.

Never shows an address with its secret, and never removes a secret: it may be the only copy.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.diagnostics.finding import NOTE, OK, WRONG, Finding, Fix
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import config_writer, git_behaviour, git_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.diagnostics.finding import Scene
    from git_credential_bitbucket.git_config import Entry
    from git_credential_bitbucket.gitsetup.git_request import Url

_TAKE_OUT = "have it taken out: git-credential-bitbucket migrate; what that leaves, take out by hand"
CHECK = "addresses"
STRANGERS = "foreign addresses"
_VALUES = (("remote", "url"), ("remote", "pushurl"), ("submodule", "url"))
_BASES = (("url", "insteadOf"), ("url", "pushInsteadOf"))
_TOKEN_NAMES = frozenset({token_kinds.ACCESS_TOKEN_USERNAME, token_kinds.API_TOKEN_USERNAME})


def look(scene: Scene) -> Iterator[Finding]:
    """All addresses that lead to a Bitbucket, and what git sends without asking."""
    found = [finding for entry, text in _addresses(scene) for finding in _of_address(scene, entry, text)]
    origin = git_behaviour.header(scene.url, scene.here)
    if origin is not None:
        cause = f"git sends an Authorization header of http.extraHeader with every request ({origin})"
        found.append(Finding(CHECK, NOTE, cause, "remove it, unless your CI system put it there for this job"))
    if git_behaviour.in_netrc(scene.url, scene.env):
        cause = "~/.netrc has an entry for this host, in plain text, and git sends it before it asks anybody"
        found.append(Finding(CHECK, WRONG, cause, _TAKE_OUT))
    yield from found
    if not found:
        yield Finding(CHECK, OK, "no secret in an address, a header or ~/.netrc")
    yield _of_strangers(scene)


def _of_strangers(scene: Scene) -> Finding:
    """Whether git takes an address with a password from anybody, a repository's `.gitmodules` included (git 2.37)."""
    if (scene.trusted.value("transfer.credentialsInUrl") or "").lower() == "die":
        return Finding(STRANGERS, OK, "git refuses addresses with a password")
    cause = "git uses addresses with a password, also those that a repository's .gitmodules names"
    hint = "to have it refuse them (git 2.37): git config --global transfer.credentialsInUrl die"
    limit = "it does not stop a redirect to such an address, nor git-lfs, which reads .lfsconfig"
    return Finding(STRANGERS, NOTE, cause, f"{hint}; {limit}")


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
    if url.has_password or git_request.is_secret(url.username or ""):
        hint = "revoke it and take it out: git-credential-bitbucket migrate"
        yield Finding(CHECK, WRONG, f"there is a secret in the address of {where}: {url.shown}", hint)
    elif url.username in _TOKEN_NAMES:
        cause = f"{url.username} is written into the address of {where}; which name is right depends on the token"
        yield Finding(CHECK, NOTE, cause, _hint(scene, entry, text), _renamed(scene, entry, text))


def _on_bitbucket(scene: Scene, text: str) -> Url | None:
    try:
        url = git_request.take_apart(text)
    except Error:  # git refuses it
        return None
    if url is None:
        return None
    # Over http, too: a secret in it is as bad.
    return url if hosts.is_bitbucket(scene.trusted, "https", url.host) else None


def _named(entry: Entry) -> str:
    if entry.section == "url":
        return f"url.….{entry.key}"
    return f"{entry.section} {entry.url}"


def _hint(scene: Scene, entry: Entry, text: str) -> str:
    """What to type in this directory, so that the address is in its place without the name."""
    if entry.scope == "command":
        return "take it out where it is set: git's option -c, or GIT_CONFIG_… in the environment"
    address = _without_name(text)
    old = [config_writer.pattern(text)] if len(_alike(scene, entry)) > 1 else []
    if entry.section == "remote" and entry.scope == "local":
        push = ["--push"] if entry.key == "pushurl" else []
        return f"type: {shlex.join(['git', 'remote', 'set-url', *push, entry.url or '', address, *old])}"
    if entry.section == "url":  # there the address is the section's name
        words = ["--rename-section", f"url.{entry.url}", f"url.{address}"]
    else:
        words = [f"{entry.section}.{entry.url}.{entry.key}", address, *old]
    return f"type: git config --file {_typed(scene, entry.origin)} {shlex.join(words)}"


def _typed(scene: Scene, origin: str) -> str:
    """A file's path for a shell; the home directory as the ~ that the report makes of it, which must not be quoted."""
    path, home = scene.path(origin), scene.env.get("HOME", "").rstrip("/") + "/"
    return f"~/{shlex.quote(path.removeprefix(home))}" if path.startswith(home) else shlex.quote(path)


def _alike(scene: Scene, entry: Entry) -> list[Entry]:
    same = scene.here.entries(entry.section, entry.key)
    return [e for e in same if (e.origin, e.url) == (entry.origin, entry.url)]


def _renamed(scene: Scene, entry: Entry, text: str) -> Fix | None:
    if entry.section == "url" or entry.scope == "command" or len(_alike(scene, entry)) != 1:
        return None
    name = f"{entry.section}.{entry.url}.{entry.key}"
    command = ["config", "--file", scene.path(entry.origin), name, _without_name(text)]
    return Fix(f"took the name out of the address of {_named(entry)}", lambda: config_writer.run([command], scene.env))


def _without_name(text: str) -> str:
    protocol, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{protocol}://{authority.rpartition('@')[2]}{slash}{path}"
