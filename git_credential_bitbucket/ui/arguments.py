"""Scopes and credentials named on the command line: parsed, and looked up among the stored ones."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import hosts, scopes
from git_credential_bitbucket.client.shared_client import query
from git_credential_bitbucket.errors import Error, UnknownCredential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.bitbucket.providers import Provider

_STATUS_HINT = "see: git-credential-bitbucket status"
_SCOPE_HINT = "write acme, acme/app, bitbucket.org/acme/app, or the URL that git uses"
_SSH = re.compile(
    r"(?:(?:git\+)?ssh(?:\+git)?://(?:[^@/]*@)?([^/:@]+)(?::[0-9]*)?/|[^@/:]+@([^/:@]+):)(?!/)(.+)", re.IGNORECASE
)
"""The two forms in which git writes an SSH address (git-fetch(1), GIT URLS)."""
_SSH_HOSTS = frozenset({hosts.CLOUD_HOST, "altssh.bitbucket.org"})
"""Where bitbucket.org's repositories are by SSH; the second on port 443 (Bitbucket's "Troubleshoot SSH issues")."""


@dataclass(frozen=True, slots=True)
class ScopeArgument:
    """A scope named on the command line: a host, and WORKSPACE[/REPOSITORY] or None as `path`."""

    protocol: str
    host: str
    path: str | None = None

    @property
    def text(self) -> str:
        """The scope's URL, as in a credential's record."""
        return scopes.scope_of(self.protocol, self.host, self.path)

    @property
    def url(self) -> str:
        """The host's address."""
        return f"{self.protocol}://{self.host}"

    def request(self) -> bytes:
        """The scope as a request of git's credential protocol."""
        pairs = [("protocol", self.protocol), ("host", self.host)]
        return git_protocol.emit([*pairs, ("path", self.path)] if self.path else pairs)


def parse_scope(text: str, base: str = hosts.CLOUD_URL) -> ScopeArgument:
    """The scope that `text` names: a URL, `HOST[/WORKSPACE[/REPOSITORY]]` or `WORKSPACE[/REPOSITORY]` (on `base`).

    An SSH address means the same repository by https. Raises `Error`; the error for a URL with a password does not
    repeat it.
    """
    text = _ssh_as_https(text, base)
    first = text.partition("/")[0]
    if not first:
        raise Error("not a workspace or repository", hint=_SCOPE_HINT)
    if "://" not in text:
        named_host = "." in first or ":" in first
        text = f"{hosts.CLOUD_PROTOCOL}://{text}" if named_host else f"{base}/{text}"
    try:
        parts = urlsplit(text)
        host, password = parts.netloc.rpartition("@")[2], parts.password
    except ValueError:
        raise Error("not a URL of a Bitbucket host", hint=_SCOPE_HINT) from None
    if password:
        hint = "revoke it, and remove it from git's configuration: git remote set-url"
        raise Error("this URL contains a password, which is in your shell's history now", hint=hint)
    if parts.scheme.lower() not in ("https", "http") or not host or " " in host or not text.isprintable():
        raise Error("not a URL of a Bitbucket host", hint=_SCOPE_HINT)
    protocol = parts.scheme.lower()
    path = parts.path.strip("/")
    scope = ScopeArgument(protocol, git_protocol.normalise_host(protocol, host), path or None)
    if path and scope.text == ScopeArgument(scope.protocol, scope.host).text:
        raise Error("not a workspace or repository", hint=_SCOPE_HINT)
    return scope


def requested_scope(one: CredentialView) -> ScopeArgument:
    """A scope that a request for this credential can name: a project's has no URL, so one of its repositories."""
    if one["project"] is None:
        return parse_scope(one["url"])
    return parse_scope("/".join([one["url"].rpartition("/")[0], *one["repositories"][:1]]))


def check_scope(scope: ScopeArgument) -> None:
    """Raise `Error` for a scope that could never match: a wildcard, or a title instead of the name in the URL."""
    if "*" in (scope.path or ""):
        hint = "write WORKSPACE, or WORKSPACE/REPOSITORY; for a project's token: --for WORKSPACE --project KEY"
        raise Error("a scope has no wildcards: a URL does not show which project a repository is in", hint=hint)
    if not all(map(scopes.is_name, scope.text.split("/")[3:])):
        cause = "not a workspace or repository: its name in the URL has no spaces or special characters"
        raise Error(cause, hint=_SCOPE_HINT)


def parse_ssh(text: str) -> ScopeArgument | None:
    """The scope of the same repository by https, of an SSH address; None for another text, or one that is malformed."""
    try:
        return parse_scope(text) if _SSH.fullmatch(text) else None
    except Error:
        return None


def _ssh_as_https(text: str, base: str) -> str:
    ssh = _SSH.fullmatch(text)
    if ssh is None:
        return text
    host = (ssh[1] or ssh[2]).lower()
    if host == urlsplit(base).hostname:
        return f"{base}/{ssh[3]}"
    return f"{hosts.CLOUD_URL if host in _SSH_HOSTS else f'{hosts.CLOUD_PROTOCOL}://{host}'}/{ssh[3]}"


def find_provider(url: str) -> Provider:
    """The configured host at `url`. Raises `SettingsError` with the setting that configures it."""
    from git_credential_bitbucket.bitbucket.providers import find_now  # lazy: most verbs name no host

    scope = parse_scope(url if "://" in url else f"{hosts.CLOUD_PROTOCOL}://{url}")
    found = find_now(os.environ, scope.protocol, scope.host)
    if found is None:
        raise hosts.unconfigured_host(scope.protocol, scope.host + scopes.context_of(scope.path or ""))
    return found


def credentials_in(answer: list[tuple[str, str]]) -> list[CredentialView]:
    """The credentials in a reply to `status`."""
    return [json.loads(value) for key, value in answer if key == "credential[]"]


def stored_credentials() -> list[CredentialView]:
    """The credentials that can be read. Raises `Error` with the vault's problem if that leaves none."""
    found, trouble = _readable_credentials()
    if not found and trouble is not None:
        raise trouble
    return found


def select_credentials(what: str | None) -> list[CredentialView]:
    """All stored credentials, or those that `what` names. Raises `UnknownCredential` if there are none.

    While the vault cannot be read, only an id in memory is found; all else is an `Error` with the vault's problem.
    """
    found, trouble = _readable_credentials()
    if trouble is not None and what not in [one["id"] for one in found]:
        raise trouble
    return found if what is None else find_named(found, what)


def _readable_credentials() -> tuple[list[CredentialView], Error | None]:
    answer = query("status")
    status = dict(answer)
    trouble = Error(status["trouble"], hint=status.get("hint") or None) if "trouble" in status else None
    return credentials_in(answer), trouble


def find_named(credentials: Sequence[CredentialView], word: str) -> list[CredentialView]:
    """The credentials that `word` names: by id, else by account, else by exact scope. Raises `Error`."""
    if by_id := [one for one in credentials if one["id"] == word]:
        return by_id
    if "/" not in word and (by_account := [one for one in credentials if word.lower() in account_names(one)]):
        return by_account
    scope = parse_scope_url(word)
    found = [one for one in credentials if one["url"] == scope]
    if not found:
        raise UnknownCredential("no stored credential has exactly this id, account or scope", hint=_STATUS_HINT)
    return found


def parse_scope_url(text: str) -> str:
    """The URL of a scope named on the command line; a project's is written `acme/{WEB}`. Raises `Error`."""
    workspace, brace, key = text.partition("/{")
    if brace and key.endswith("}"):
        return scopes.project_scope(parse_scope(workspace).text, key[:-1])
    return parse_scope(text).text


def default_candidates(url: str) -> list[CredentialView]:
    """Credentials for exactly this scope that can be its default: neither disabled nor bound to one request."""
    return [
        one
        for one in stored_credentials()
        if one["url"] == url and one["state"] != "disabled" and one["bound_to"] is None
    ]


def account_names(one: CredentialView) -> set[str]:
    """All names of a credential's account, in lower case."""
    return {name.lower() for name in (one["account"], one["bitbucket_username"], one["account_id"]) if name}


def select_one(found: Sequence[CredentialView], what: str) -> CredentialView:
    """The one that the user chooses at the terminal. Raises `Error` with the list if the command is non-interactive."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownCredential(f"no credential is stored {what}", hint=_STATUS_HINT)
    from git_credential_bitbucket.ui import prompts  # lazy: the one-file program has none

    lines = [describe(one) for one in found]
    terminal = prompts.interactive_terminal()
    if terminal is None:
        hint = "give the id of one: the last word of each"
        raise Error(f"several credentials are stored {what}: {'; '.join(lines)}", hint=hint)
    terminal.say(f"Several credentials are stored {what}:")
    return found[terminal.choose("Which one", lines)]


def describe(one: CredentialView) -> str:
    """A credential in one line, with its id last."""
    return git_protocol.printable(f"{title(one)}, {one['state']}, {one['id']}")


def title(one: CredentialView) -> str:
    """A credential's kind in words, its scope, and its account where that is known."""
    from git_credential_bitbucket.agent.naming import kind_label  # lazy: the one-file program has none

    return f"{kind_label(one['kind'])} for {one['scope']}{of_account(one)}"


def of_account(one: Mapping[str, object]) -> str:
    """` of ACCOUNT`, to follow what is said of a credential; empty where its account is not known."""
    return f" of {one['account']}" if one["account"] else ""
