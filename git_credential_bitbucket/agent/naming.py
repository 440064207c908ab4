"""A credential's name for people: its kind in words, its scope without the scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.agent.credential import Credential

MAX_NAMED = 5
"""So many are named where there may be any number."""


def kind_label(kind: token_kinds.Kind) -> str:
    """The kind in words."""
    return {
        token_kinds.API_TOKEN: "API token",
        token_kinds.ACCESS_TOKEN: "access token",
        token_kinds.PERSONAL_TOKEN: "personal token",
        token_kinds.OAUTH: "OAuth login",
        token_kinds.CLIENT_CREDENTIALS: "OAuth consumer",
        token_kinds.JWT_BEARER: "Connect app",
        token_kinds.APP_PASSWORD: "app password",
    }.get(kind, "secret")


def shown_scope(credential: Credential) -> str:
    """A credential's scope without the scheme, safe to show."""
    scope = credential.place.partition("://")[2]
    if credential.project is not None:
        scope = f"{scope.rpartition('/')[0]} (project {credential.project})"
    return git_protocol.printable(scope)


def shown_source(credential: Credential) -> str:
    """The reference to the source of a credential's secret, safe to show; empty where it has none."""
    return git_protocol.printable(credential.source or "", 300)


def describe(credential: Credential) -> str:
    """A credential in a sentence: its kind and scope."""
    return f"the {kind_label(credential.kind)} for {shown_scope(credential)}"


def login_command(scope: str) -> str:
    """What logs in to the host of a scope."""
    return f"git-credential-bitbucket login{hosts.host_option(*scopes.split_host(scope))}"


def rotate_command(credential_id: str) -> str:
    """What puts a new token in the place of one that a person made."""
    return f"git-credential-bitbucket rotate {credential_id}"


def new_token_hint(credential_id: str, source: str | None) -> str:
    """How to replace such a token, which is stored, or fetched from `source`."""
    then = f"and put it where it is fetched from: {source}" if source else f"then run: {rotate_command(credential_id)}"
    return f"create a new token, {then}"


def names_of(credentials: Sequence[Credential]) -> str:
    """Some by name and id, and the number of the rest."""
    named = [f"{describe(one)} ({one.id})" for one in credentials[:MAX_NAMED]]
    return ", ".join(named) + (f" and {len(credentials) - MAX_NAMED} more" if len(credentials) > MAX_NAMED else "")
