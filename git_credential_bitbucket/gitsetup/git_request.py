"""What git would ask its helpers about a URL, and where that URL comes from: by git's own rules, and by git itself.

Runs git in the current directory only to read its configuration; nothing that a repository brings is executed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from git_credential_bitbucket import git_config, git_protocol
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.config import git_bool
from git_credential_bitbucket.errors import Error, SettingsError
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.ui import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.git_config import GitConfig

MAX_NAME_CHARACTERS = 64
"""Bitbucket's names have at most 62, an email address may be a little longer; OAuth tokens have hundreds."""
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as git takes it apart (credential.c, credential_from_url); `has_password` is all that is said of one."""

    protocol: str
    host: str
    path: str
    username: str | None
    has_password: bool

    @property
    def base(self) -> str:
        """The host's address, as sections of git's configuration name it."""
        return f"{self.protocol}://{self.host}"

    @property
    def shown(self) -> str:
        """Without a password, fit for a terminal."""
        named = self.username is not None or self.has_password
        name = f"{shown_name(self.username or '')}{':…' if self.has_password else ''}@" if named else ""
        return git_protocol.printable(f"{self.protocol}://{name}{self.host}/{self.path}".rstrip("/"), 1000)


@dataclass(frozen=True, slots=True)
class Asked:
    """git's question: `path` only where git sends it."""

    protocol: str
    host: str
    path: str | None
    username: str | None

    def pairs(self) -> list[tuple[str, str]]:
        """As git writes it."""
        pairs = [("protocol", self.protocol), ("host", self.host)]
        if self.path is not None:
            pairs.append(("path", self.path))
        if self.username is not None:
            pairs.append(("username", self.username))
        return pairs


def question(url: Url, here: GitConfig) -> Asked:
    """What git asks about `url` by the configuration `here`."""
    whole = f"{url.base}/{url.path}"
    username = url.username or here.credential(whole, "username") or None
    return Asked(url.protocol, url.host, url.path if url.path and sends_path(here, whole) else None, username)


def sends_path(here: GitConfig, url: str) -> bool:
    """Whether git names the path of `url` to its helpers by the configuration `here`."""
    return git_bool(here.credential(url, "useHttpPath") or "") is True


def is_secret(name: str) -> bool:
    """Whether what stands where a username belongs is a token: its prefix tells, or that no name is so long."""
    return token_kinds.recognise(name) != token_kinds.UNKNOWN or len(name) > MAX_NAME_CHARACTERS


def shown_name(name: str) -> str:
    """A username, unless it is a token."""
    return Secret(name).masked() if is_secret(name) else name


def take_apart(text: str) -> Url | None:
    """A web address; None for any other kind (ssh, a path), about which git asks no helper. Raises `Error`."""
    if not text.lower().startswith(_WEB):
        return None
    protocol, _, rest = text.partition("://")
    authority, _, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    name, colon, _ = userinfo.partition(":")
    pieces = [_decoded(piece) for piece in (name, host, path.partition("?")[0].partition("#")[0])]
    if not pieces[1] or any(c < " " or c == "\x7f" for piece in pieces for c in piece):
        raise Error("git rejects this URL: it has no host, or contains control characters", hint="see: git remote -v")
    protocol = protocol.lower()
    host = git_protocol.normalise_host(protocol, pieces[1])
    return Url(protocol, host, pieces[2].strip("/"), pieces[0] if at else None, bool(colon))


def named(text: str) -> Url | None:
    """The URL that a person gives: as `take_apart`, or a place on Bitbucket such as `acme/app`. Raises `Error`."""
    if text.lower().startswith(_WEB):
        arguments.parse(text)  # refuses what holds a password, or names no workspace and no repository
        return take_apart(text)
    if "://" in text or ("@" in text and ":" in text):
        return None
    place = arguments.parse(text)
    arguments.check_names(place)
    return Url(place.protocol, place.host, place.path or "", None, has_password=False)


def remote(env: Mapping[str, str], folder: str) -> str | None:
    """The address that git would fetch from in `folder`, `insteadOf` applied; None where there is none.

    The remote of the current branch, else `origin`. git answers it from its configuration alone: neither a hook nor
    a pager nor an alias of the repository's runs.
    """
    try:
        done = git_config.run_git(env, "--no-pager", "ls-remote", "--get-url", folder=folder)
    except SettingsError:
        return None
    text = os.fsdecode(done.stdout).removesuffix("\n")
    return text if done.returncode == 0 and text else None


def folder_here() -> str:
    """The current directory, or the root where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _decoded(text: str) -> str:
    return unquote_to_bytes(os.fsencode(text)).decode("utf-8", "surrogateescape")
