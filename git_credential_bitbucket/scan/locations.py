"""The files that may hold secrets: git's configuration, other helpers' files, shell profiles, a work tree.

Owns the names of these locations and how a file is read: never a device, a pipe or a link that a repository brought.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from git_credential_bitbucket import files, git_protocol
from git_credential_bitbucket.bitbucket import hosts as our_hosts
from git_credential_bitbucket.errors import system_reason
from git_credential_bitbucket.scan import found_secret, patterns, safe_git
from git_credential_bitbucket.scan.found_secret import SecretFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from git_credential_bitbucket.git_config import GitConfig
    from git_credential_bitbucket.scan.safe_git import Repository

MAX_FILE_BYTES = 32 << 20
"""Larger files are counted and not looked at."""
_SHELL_FILES = (
    *(".profile", ".bash_profile", ".bash_login", ".bashrc", ".bash_aliases", ".bash_history"),
    *(".zshenv", ".zprofile", ".zshrc", ".zlogin", ".zsh_history", ".kshrc", ".cshrc", ".tcshrc", ".login"),
    *(".pam_environment", ".config/fish/config.fish", ".local/share/fish/fish_history", ".config/nushell/env.nu"),
)
_SHELL_FOLDERS = (".config/environment.d", ".config/fish/conf.d", ".bashrc.d", ".zshrc.d")
_CI_FILES = frozenset(
    {
        *("bitbucket-pipelines.yml", "bitbucket-pipelines.yaml", "Jenkinsfile", ".gitlab-ci.yml", ".travis.yml"),
        *("azure-pipelines.yml", ".drone.yml", ".woodpecker.yml"),
    }
)
_OBJECTS = re.compile("[0-9a-f]{2}|info|pack")
_NETRC_NAMES = frozenset({".netrc", "_netrc"})
_GCM_SECRET = ".credential"
_BY_NAME = {".git-credentials": found_secret.GIT_CREDENTIALS, ".npmrc": found_secret.NPMRC}
_BY_NAME |= dict.fromkeys(_NETRC_NAMES, found_secret.NETRC)


@dataclass(frozen=True, slots=True)
class Location:
    """A file to look at, and what it is. `foreign` is one of a repository, where links are not followed."""

    path: str
    source: str
    foreign: bool = False


@dataclass(slots=True)
class Search:
    """What was found, and what was not looked at and why: for each reason its number. `seen` are the paths so far."""

    hosts: tuple[str, ...] = patterns.CLOUD_HOSTS
    findings: list[SecretFinding] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def skip(self, reason: str, count: int = 1) -> None:
        """Count what was left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count


def hosts(read: GitConfig) -> tuple[str, ...]:
    """bitbucket.org's names, and those of the hosts that git's configuration names as Bitbucket."""
    return tuple(dict.fromkeys([*patterns.CLOUD_HOSTS, *(host for _, host in our_hosts.configured_hosts(read))]))


def personal_locations(env: Mapping[str, str], read: GitConfig) -> list[Location]:
    """The files of a home directory that are known to hold secrets."""
    home = env.get("HOME", "").rstrip("/")
    config = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    locations = [Location(path, found_secret.GIT_CONFIG) for path in safe_git.config_files(env)]
    stores = [f"{home}/.git-credentials", f"{config}/git/credentials", *_store_files(read, home)]
    locations += [Location(path, found_secret.GIT_CREDENTIALS) for path in stores]
    locations += [
        Location(path, found_secret.NETRC)
        for path in (f"{home}/.netrc", f"{home}/_netrc", env.get("found_secret.NETRC", ""))
        if path
    ]
    locations += [
        Location(f"{home}/.npmrc", found_secret.NPMRC),
        *(Location(f"{home}/{name}", found_secret.SHELL) for name in _SHELL_FILES),
    ]
    for folder in (f"{home}/{name}" for name in _SHELL_FOLDERS):
        locations += [Location(f"{folder}/{name}", found_secret.SHELL) for name in _listed(folder)]
    # git-credential-manager's plain-text store (its docs/credstores.md): service/host/account.credential
    for folder, _, names in os.walk(f"{home}/.gcm/store"):
        locations += [
            Location(f"{folder}/{name}", found_secret.KEYRING) for name in sorted(names) if name.endswith(_GCM_SECRET)
        ]
    return list(dict.fromkeys(location for location in locations if os.path.lexists(location.path)))


def repository_locations(repository: Repository, env: Mapping[str, str], known: list[Location]) -> list[Location]:
    """Its configuration, as far as it is not the person's."""
    paths = {location.path for location in known}
    files = [path for path in safe_git.config_files(env, repository) if path not in paths and os.path.lexists(path)]
    return [Location(path, found_secret.GIT_CONFIG, foreign=True) for path in files]


def tree_locations(top: str, inner: list[str], *, is_bare: bool = False) -> Iterator[Location]:
    """Every file below a folder, without git's own: `.git`, and the objects of a bare repository.

    The other files of that may be anybody's: three empty ones make any folder one, also in a clone. A repository within
    (a clone, a submodule, a bare one) is not entered: its folder is added to `inner`.
    """
    if not os.path.isdir(top):
        yield Location(top, _source(top), foreign=True)
        return
    for folder, folders, names in safe_git.walk(top):
        if folders is None:
            yield Location(folder, found_secret.SOURCE, foreign=True)  # which cannot be read, and is counted as that
            continue
        within = {name for name in folders if _is_repository(f"{folder}/{name}")}
        inner += sorted(os.path.join(folder, name) for name in within)
        objects = {name for name in folders if is_bare and folder == f"{top}/objects" and _OBJECTS.fullmatch(name)}
        folders[:] = sorted({*folders} - {".git"} - within - objects)
        for name in sorted(names):
            if name != ".git":
                path = os.path.join(folder, name)
                yield Location(path, _source(path), foreign=True)


def _is_repository(folder: str) -> bool:
    """Whether a folder looks like a work tree's top or a bare repository (gitrepository-layout); links are not."""
    if os.path.basename(folder) == ".git" or os.path.islink(folder):
        return False
    bare = all(os.path.exists(f"{folder}/{name}") for name in ("HEAD", "objects", "refs"))
    return bare or os.path.lexists(f"{folder}/.git")


def scan_location(location: Location, search: Search) -> None:
    """Add what is found in a file, or count why it was not looked at. A file is looked at once."""
    if location.path in search.seen:
        return
    search.seen.add(location.path)
    try:
        text = content(location)
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ELOOP):
            search.skip(f"unreadable ({system_reason(exc)})")
        return
    if text is None:
        search.skip("larger than 32 MiB")
        return
    search.findings += scan_text(text, location, search.hosts)


def scan_text(text: bytes, location: Location, hosts: tuple[str, ...]) -> list[SecretFinding]:
    """What is found in a file's content."""
    if location.path.endswith(_GCM_SECRET) and location.source == found_secret.KEYRING:
        return _in_gcm_file(text, location, hosts)
    is_bitbucket = "bitbucket" in location.path.lower()
    if not is_bitbucket and not patterns.may_contain_secret(text, hosts):
        return []
    if patterns.is_binary(text):
        text = text[: patterns.MAX_BINARY_BYTES]
    netrc = location.source == found_secret.NETRC or os.path.basename(location.path) in _NETRC_NAMES
    return [
        SecretFinding(match=match, source=location.source, path=location.path, line=match.line)
        for match in patterns.scan(text, hosts, netrc=netrc, is_bitbucket=is_bitbucket)
    ]


def content(location: Location) -> bytes | None:
    """A regular file's bytes; empty where it is none, None where it is too large. Raises `OSError`."""
    # A link in a repository leads out of it.
    return files.read(location.path, MAX_FILE_BYTES, follow=not location.foreign)


def _source(path: str) -> str:
    name = os.path.basename(path)
    if name in _CI_FILES or "/.github/workflows/" in path or "/.circleci/" in path:
        return found_secret.CI
    if name == ".env" or name.startswith(".env.") or name.endswith(".env"):
        return found_secret.ENVIRONMENT
    return _BY_NAME.get(name, found_secret.SOURCE)


def _store_files(read: GitConfig, home: str) -> list[str]:
    """The files of `git credential-store --file`, from the lines that configure it, which git gives to the shell."""
    found = []
    for entry in read.entries("credential", "helper"):
        try:
            words = shlex.split(entry.value.replace("--file=", "--file "))
        except ValueError:  # an unclosed quote
            continue
        if any(word.endswith("store") for word in words[:3]) and "--file" in words[:-1]:
            path = words[words.index("--file") + 1]
            found.append(re.sub(r"^(~|\$HOME|\$\{HOME\})(?=/)", lambda _: home, path))
    return found


def _in_gcm_file(text: bytes, location: Location, hosts: tuple[str, ...]) -> list[SecretFinding]:
    """The secret is the first line; the others say `service=https://HOST` and `account=NAME`."""
    secret, _, rest = text.partition(b"\n")
    told = dict(git_protocol.parse_pairs(rest))
    host = told.get("service", "").partition("://")[2].partition("/")[0].rpartition("@")[2].lower()
    if host not in hosts:
        return []
    match = patterns.stored(secret, told.get("account") or None, host)
    return [SecretFinding(match=match, source=location.source, path=location.path, line=1)] if match else []


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
