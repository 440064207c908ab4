"""A login as requested by options or by git, passed to the flow that obtains the credential."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from git_credential_bitbucket import secret_sources
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.ui import arguments, output

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.status_views import CredentialView
    from git_credential_bitbucket.bitbucket import token_kinds
    from git_credential_bitbucket.bitbucket.providers import Provider
    from git_credential_bitbucket.ui.prompts import Prompter


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """One login. `path` is WORKSPACE[/REPOSITORY], None for the whole host; `ends_at` is in epoch seconds.

    After `lifetime_s` it is removed here, even if Bitbucket would still accept it. `names` are other names of its
    account. `on_conflict` says what to do if a stored credential may be the same account's: `add`, `replace`, or ask.

    `project` is a key in the workspace `path`, and `repositories` are the names of its repositories as the person gave
    them. `near` is the repository that git is working on, if git asks. `replaces` is the credential that
    is rotated. `source` is the reference that the secret is fetched from (`secret_sources`). Without `verify` Bitbucket
    is not asked about a token; why it did not say is left in `unverified`.
    """

    kind: token_kinds.Kind
    provider: Provider
    path: str | None = None
    project: str | None = None
    repositories: tuple[str, ...] = ()
    near: str = ""
    account: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    on_conflict: str | None = None
    ends_at: float | None = None
    lifetime_s: float | None = None
    memory: bool = False
    replaces: CredentialView | None = None
    source: str | None = None
    verify: bool = True
    unverified: list[str] = field(default_factory=list)
    force: bool = False
    paste: bool = False
    no_browser: bool = False
    implicit: bool = False

    @property
    def scope(self) -> str:
        """The scope's URL, as in a credential's record."""
        return scopes.scope_of(self.provider.protocol, self.provider.host, self.path)

    def fetched(self) -> secret_sources.Value | None:
        """What its source holds now; None where it has none. Raises `SourceFailed`."""
        return None if self.source is None else secret_sources.fetch(self.source, os.environ, self.scope)

    @property
    def near_url(self) -> str | None:
        """The URL of the repository that git is working on; None if not known."""
        return f"{self.provider.protocol}://{self.provider.host}/{self.near}" if "/" in self.near else None

    def warn(self, prompter: Prompter, text: str) -> None:
        """Warn: in the dialogue if there is one, else on stderr."""
        if prompter.terminal is not None:
            prompter.say(f"Note: {text}{'' if text.endswith('?') else '.'}", style="yellow")
        else:
            output.warn(text)


def path_on_host(provider: Provider, text: str) -> str:
    """WORKSPACE[/REPOSITORY] of `text`, which may be a URL of `provider`'s host too. Raises `Error`."""
    scope = arguments.parse_scope(text, f"{provider.protocol}://{provider.host}")
    if (scope.protocol, scope.host) != (provider.protocol, provider.host):
        raise Error("this scope is on another host", hint="name the host: --host URL")
    arguments.check_scope(scope)
    names = scope.text.split("/", 3)[3:]
    if not names or "{" in text:
        raise Error("not a workspace or repository", hint="write WORKSPACE or WORKSPACE/REPOSITORY")
    return names[0]


def project_key(text: str) -> str:
    """`text`, if it is a project key. Raises `Error`."""
    from git_credential_bitbucket.bitbucket import rest  # lazy: few tokens are a project's

    if not rest.is_project_key(text):
        raise Error("not a project key", hint="it has letters and digits only, as in the project's URL: WEB")
    return text


def repository_names(provider: Provider, workspace: str, text: str) -> tuple[str, ...]:
    """The names in a comma- or space-separated list of a workspace's repositories. Raises `Error`."""
    found = [word.removeprefix(f"{workspace}/") for word in text.replace(",", " ").split()]
    if any("/" in name for name in found):
        raise Error("not a list of repositories", hint="give their names only, comma-separated: app,api")
    return tuple(dict.fromkeys(path_on_host(provider, f"{workspace}/{name}").partition("/")[2] for name in found))
