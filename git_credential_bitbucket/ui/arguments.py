"""What a person names on the command line: a host, a place on it, or one of the credentials that are kept.

Imports settings and providers for the list of hosts, scopes for what a place is, and asks the client for its list.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import hosts, scopes
from git_credential_bitbucket.client.shared_client import look
from git_credential_bitbucket.errors import Error, UnknownCredential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.agent.views import CredentialView
    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.ui.prompts import Terminal

_SEE = "see: git-credential-bitbucket status"
_LIKE = "write acme, acme/app, bitbucket.org/acme/app, or the URL that git uses"
_SSH = re.compile(
    r"(?:(?:git\+)?ssh(?:\+git)?://(?:[^@/]*@)?([^/:@]+)(?::[0-9]*)?/|[^@/:]+@([^/:@]+):)(?!/)(.+)", re.IGNORECASE
)
"""The two forms in which git writes an SSH address (git-fetch(1), GIT URLS)."""
_SSH_HOSTS = frozenset({hosts.CLOUD_HOST, "altssh.bitbucket.org"})
"""Where bitbucket.org's repositories are by SSH; the second on port 443 (Bitbucket's "Troubleshoot SSH issues")."""


@dataclass(frozen=True, slots=True)
class ScopeArgument:
    """A host and what of it is meant; `path` is None for all of it."""

    protocol: str
    host: str
    path: str | None = None

    @property
    def text(self) -> str:
        """As credentials keep it."""
        return scopes.scope_of(self.protocol, self.host, self.path)

    @property
    def url(self) -> str:
        """The host's address."""
        return f"{self.protocol}://{self.host}"

    def request(self) -> bytes:
        """As git asks for it."""
        pairs = [("protocol", self.protocol), ("host", self.host)]
        return git_protocol.emit([*pairs, ("path", self.path)] if self.path else pairs)


def parse(text: str, base: str = hosts.CLOUD_URL) -> ScopeArgument:
    """The place that `text` names: a URL, `HOST[/WORKSPACE[/REPOSITORY]]` or `WORKSPACE[/REPOSITORY]` (on `base`).

    An SSH address means the same repository by https. Raises `Error`; a URL with a password in it is refused without
    repeating it.
    """
    text = _by_https(text, base)
    first = text.partition("/")[0]
    if not first:
        raise Error("not a workspace or repository", hint=_LIKE)
    if "://" not in text:
        named_host = "." in first or ":" in first
        text = f"{hosts.CLOUD_PROTOCOL}://{text}" if named_host else f"{base}/{text}"
    try:
        parts = urlsplit(text)
        host, password = parts.netloc.rpartition("@")[2], parts.password
    except ValueError:
        raise Error("not a URL of a Bitbucket host", hint=_LIKE) from None
    if password:
        raise Error(
            "this URL contains a password, which is in your shell's history now",
            hint="revoke it, and remove it from git's configuration: git remote set-url",
        )
    if parts.scheme.lower() not in ("https", "http") or not host or " " in host or not text.isprintable():
        raise Error("not a URL of a Bitbucket host", hint=_LIKE)
    protocol = parts.scheme.lower()
    path = parts.path.strip("/")
    place = ScopeArgument(protocol, git_protocol.normalise_host(protocol, host), path or None)
    if path and place.text == ScopeArgument(place.protocol, place.host).text:
        raise Error("not a workspace or repository", hint=_LIKE)
    return place


def check_names(place: ScopeArgument) -> None:
    """Raise `Error` where a new place could never match: a title was typed instead of the name in the address."""
    if "*" in (place.path or ""):
        raise Error(
            "a scope has no wildcards: a URL does not show which project a repository is in",
            hint="write WORKSPACE, or WORKSPACE/REPOSITORY; for a project's token: --for WORKSPACE --project KEY",
        )
    if not all(map(scopes.is_name, place.text.split("/")[3:])):
        raise Error(
            "not a workspace or repository: its name in the URL has no spaces or special characters",
            hint=_LIKE,
        )


def _by_https(text: str, base: str) -> str:
    ssh = _SSH.fullmatch(text)
    if ssh is None:
        return text
    host = (ssh[1] or ssh[2]).lower()
    if host == urlsplit(base).hostname:
        return f"{base}/{ssh[3]}"
    return f"{hosts.CLOUD_URL if host in _SSH_HOSTS else f'{hosts.CLOUD_PROTOCOL}://{host}'}/{ssh[3]}"


def provider(url: str) -> Provider:
    """The host at `url`, if it is one of ours. Raises `SettingsError` with the setting that makes it one."""
    from git_credential_bitbucket.bitbucket.providers import find_now  # lazy: most verbs name no host

    place = parse(url if "://" in url else f"{hosts.CLOUD_PROTOCOL}://{url}")
    found = find_now(os.environ, place.protocol, place.host)
    if found is None:
        raise hosts.unconfigured_host(place.protocol, place.host)
    return found


def credentials_in(answer: list[tuple[str, str]]) -> list[CredentialView]:
    """The credentials in an answer to `status`."""
    return [json.loads(value) for key, value in answer if key == "credential[]"]


def stored() -> list[CredentialView]:
    """The credentials that are at hand. Raises `Error` with the vault's trouble where that leaves none."""
    found, trouble = _at_hand()
    if not found and trouble is not None:
        raise trouble
    return found


def select(what: str | None) -> list[CredentialView]:
    """All that is kept, or what of it `what` names. Raises `UnknownCredential` where that is nothing.

    While the vault is not at hand, only an id in memory can be told; all else is an `Error` with the vault's trouble.
    """
    found, trouble = _at_hand()
    if trouble is not None and what not in [one["id"] for one in found]:
        raise trouble
    return found if what is None else find_named(found, what)


def _at_hand() -> tuple[list[CredentialView], Error | None]:
    answer = look("status")
    told = dict(answer)
    trouble = Error(told["trouble"], hint=told.get("hint") or None) if "trouble" in told else None
    return credentials_in(answer), trouble


def find_named(credentials: Sequence[CredentialView], word: str) -> list[CredentialView]:
    """Those that `word` names: the one with this id, else all of this account, else all for exactly this scope.

    Raises `Error`.
    """
    if by_id := [one for one in credentials if one["id"] == word]:
        return by_id
    if "/" not in word and (by_account := [one for one in credentials if word.lower() in names(one)]):
        return by_account
    scope = scope_of(word)
    found = [one for one in credentials if one["url"] == scope]
    if not found:
        raise UnknownCredential("no stored credential has this id, this account or exactly this scope", hint=_SEE)
    return found


def scope_of(text: str) -> str:
    """The scope that a person names, as credentials keep it; a project's is written `acme/{WEB}`. Raises `Error`."""
    workspace, brace, key = text.partition("/{")
    if brace and key.endswith("}"):
        return scopes.project_scope(parse(workspace).text, key[:-1])
    return parse(text).text


def offered_for(url: str) -> list[CredentialView]:
    """What is kept for exactly a scope and could be its default: neither disabled nor bound to one request."""
    return [one for one in stored() if one["url"] == url and one["state"] != "disabled" and one["bound_to"] is None]


def names(one: CredentialView) -> set[str]:
    """Every name of a credential's account, in lower case."""
    return {name.lower() for name in (one["account"], one["bitbucket_username"], one["account_id"]) if name}


def select_one(found: Sequence[CredentialView], terminal: Terminal | None, what: str) -> CredentialView:
    """The one that is meant: asked for at a terminal, else `Error` with the list."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownCredential(f"no credential is stored {what}", hint=_SEE)
    lines = [one_line(one) for one in found]
    if terminal is None:
        raise Error(
            f"several credentials are stored {what}: {'; '.join(lines)}",
            hint="name one by its id, the last word of each",
        )
    terminal.say(f"Several credentials are stored {what}:")
    return found[terminal.choose("Which one", lines)]


def one_line(one: CredentialView) -> str:
    """A credential in one line, its id last."""
    account = f" of {one['account']}" if one["account"] else ""
    return git_protocol.printable(f"{one['kind']} for {one['scope']}{account}, {one['state']}, {one['id']}")
