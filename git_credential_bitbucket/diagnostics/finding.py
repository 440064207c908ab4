"""What `doctor` finds, and the context in which it looks: the environment, the directory, the host that it is about."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config
from git_credential_bitbucket.bitbucket import hosts
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.gitsetup import git_request
from git_credential_bitbucket.ui import output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


OK, NOTE, WRONG = "ok", "note", "wrong"
"""How bad it is: nothing, worth knowing, or to be fixed; the last makes the exit code 1."""

_USERINFO = re.compile(r"(://[^/\s:@%]*(?::|%3[Aa]))[^/\s]*@")
_IN_QUERY = re.compile(r"([?&](?:pass[a-z]*|pwd|user=[^&\s:%]*(?::|%3[Aa]))=?)[^&\s]+")
_TOKENS = re.compile(r"(ATATT|ATCTT|ATBB|BBDC-)[A-Za-z0-9_=+/-]{8,}")


@dataclass(frozen=True, slots=True)
class Fix:
    """A repair that loses nothing, so that `--fix` may make it unasked. `summary` is printed once it is done."""

    summary: str
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `check` is its name, `hint` what a person can do about it."""

    check: str
    level: str
    text: str
    hint: str | None = None
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class DoctorContext:
    """Where it is looked. `here` is git's configuration in the directory, `trusted` what of it this program obeys."""

    env: Mapping[str, str]
    folder: str
    url: git_request.Url
    here: git_config.GitConfig
    trusted: git_config.GitConfig

    @property
    def whole(self) -> str:
        """The address as git's configuration is matched against it."""
        return f"{self.url.base}/{self.url.path}"

    @property
    def host_option(self) -> str:
        """What `configure` and `login` need besides, to mean this host."""
        return hosts.host_option(self.url.protocol, self.url.host)

    def path(self, origin: str) -> str:
        """The whole path of a file as git names it: from the top of the work tree, wherever in that it is asked."""
        folder = self.folder
        while not os.path.lexists(os.path.join(folder, origin)) and folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
        return os.path.join(folder, origin)


def context_for(env: Mapping[str, str], text: str | None) -> DoctorContext:
    """The context for `text`, or the remote of the repository here if it is on Bitbucket, or bitbucket.org.

    Raises `SettingsError` where git's configuration cannot be read, `Error` for an address that is none of ours.
    """
    folder = git_request.folder_here()
    trusted, here = git_config.read(env), git_config.read_repository(env, folder)
    url = git_request.parse_argument(text) if text is not None else _remote(env, folder, trusted)
    if url is None:
        raise Error("that is not an https URL", hint="see: git remote -v")
    if not hosts.find_product(trusted, url.protocol, url.host):
        raise hosts.unconfigured_host(url.protocol, url.host)
    return DoctorContext(env, folder, url, here, trusted)


def safe(text: str, env: Mapping[str, str]) -> str:
    """`text` fit for a bug report: the home directory as ~, and no secret, should one have got so far."""
    return _TOKENS.sub(r"\1…", _IN_QUERY.sub(r"\1…", _USERINFO.sub(r"\1…@", output.abbreviate_home(text, env))))


def _remote(env: Mapping[str, str], folder: str, trusted: git_config.GitConfig) -> git_request.Url | None:
    text = git_request.remote(env, folder)
    try:
        url = git_request.parse_url(text) if text is not None else None
    except Error:  # git refuses it, too
        url = None
    if url is None or not hosts.find_product(trusted, url.protocol, url.host):
        return git_request.parse_url(hosts.CLOUD_URL)
    return url
