"""The request that git would send its helpers for a URL, and the URL of the repository here.

git is run in the current directory only to read its configuration; nothing from a repository is executed.
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


MAX_NAME_CHARACTERS = 64
"""Bitbucket's names have at most 62, an email address may be a little longer; OAuth tokens have hundreds."""
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as git parses it (credential.c, credential_from_url); of a password only `has_password` is kept."""

    protocol: str
    host: str
    path: str
    username: str | None
    has_password: bool

    @property
    def base(self) -> str:
        """The host's URL, as in sections of git's configuration."""
        return f"{self.protocol}://{self.host}"

    @property
    def shown(self) -> str:
        """The URL without a password, printable."""
        has_userinfo = self.username is not None or self.has_password
        name = f"{shown_name(self.username or '')}{':…' if self.has_password else ''}@" if has_userinfo else ""
        return git_protocol.printable(f"{self.protocol}://{name}{self.host}/{self.path}".rstrip("/"), 1000)


def request_for(url: Url, here: git_config.GitConfig) -> dict[str, str]:
    """The lines that git sends its helpers for `url` with the configuration `here`."""
    whole = f"{url.base}/{url.path}"
    lines = {"protocol": url.protocol, "host": url.host, "path": url.path if sends_path(here, whole) else ""}
    lines["username"] = url.username or here.credential(whole, "username") or ""
    return {key: value for key, value in lines.items() if value}


def sends_path(here: git_config.GitConfig, url: str) -> bool:
    """Whether git sends its helpers the path of `url` with the configuration `here`."""
    return git_bool(here.credential(url, "useHttpPath") or "") is True


def is_secret(name: str) -> bool:
    """Whether a username in a URL is a token, by its prefix or its length."""
    return token_kinds.recognise(name) != token_kinds.UNKNOWN or len(name) > MAX_NAME_CHARACTERS


def shown_name(name: str) -> str:
    """A username, unless it is a token."""
    return Secret(name).masked() if is_secret(name) else name


def parse_url(text: str) -> Url | None:
    """A web URL, parsed; None for others (ssh, a path), for which git asks no helper. Raises `Error`."""
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


def parse_argument(text: str) -> Url | None:
    """A URL given on the command line: as `parse_url`, or a scope such as `acme/app`. Raises `Error`."""
    if text.lower().startswith(_WEB):
        arguments.parse_scope(text)  # raises for a password, or if it is not a workspace or repository
        return parse_url(text)
    if "://" in text or ("@" in text and ":" in text):
        return None
    scope = arguments.parse_scope(text)
    arguments.check_scope(scope)
    return Url(scope.protocol, scope.host, scope.path or "", None, has_password=False)


def remote(env: Mapping[str, str], folder: str) -> str | None:
    """The URL that git would fetch from in `folder`, after `insteadOf`; None if there is none.

    The remote of the current branch, else `origin`. git reads only its configuration: no hook, pager or alias of the
    repository runs.
    """
    try:
        done = git_config.run_git(env, "--no-pager", "ls-remote", "--get-url", folder=folder)
    except SettingsError:
        return None
    text = os.fsdecode(done.stdout).removesuffix("\n")
    return text if done.returncode == 0 and text else None


def folder_here() -> str:
    """The current directory; the root directory if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _decoded(text: str) -> str:
    return unquote_to_bytes(os.fsencode(text)).decode("utf-8", "surrogateescape")
