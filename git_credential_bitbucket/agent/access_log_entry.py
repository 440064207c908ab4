"""The access log's entry for a request and its answer: scope, id and outcome, never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential

OPERATIONS = frozenset(
    {
        *("get", "store", "erase", "token", "mint", "mint-erase"),
        *("add", "amend", "default", "identify", "remove", "restore", "refresh", "repositories"),
        *("grant", "grant-revoke"),
        *("lock", "unlock", "rekey", "exit"),
    }
)
"""Logged actions: those that return a secret or change something. Queries of the state are not logged."""

GITS = frozenset({"get", "store", "erase", "mint", "mint-erase"})
"""Actions of git and its front ends. Only the secret identifies their credential: `id` and `replaces` are no
part of them, and the caller that is logged could send any value."""
MAX_CHARACTERS = 1000
"""The longest scope or id that is logged: a caller may make them as long as a request."""


def entry(agent: Agent, action: str, body: bytes, reply: bytes) -> dict[str, Any]:
    """One line's content: operation, outcome, and where they are known the scope and the credential's id."""
    told: dict[str, Any] = {"operation": action}
    try:
        asked, _ = git_protocol.parse_fields(body)
        request = git_protocol.parse(body) if "host" in asked else None
    except Error:
        return {**told, "outcome": "refused"}
    answered = dict(git_protocol.parse_pairs(reply))
    told["outcome"] = _outcome(action, answered)
    named = answered.get("id") or ("" if action in GITS else asked.get("id", ""))
    scope = None if request is None else scopes.scope_of(request.protocol, request.host, request.path)
    text = answered.get("password") or asked.get("password") or asked.get("credential")
    credential = _named(agent, named, text, scope)
    if scope is not None:
        told["scope"] = scope[:MAX_CHARACTERS]
    elif credential is not None:
        told["scope"] = credential.place
    if credential is not None or named:
        told["credential"] = named[:MAX_CHARACTERS] if credential is None else credential.id
    if asked.get("replaces") and action not in GITS:
        told["replaces"] = asked["replaces"][:MAX_CHARACTERS]
    return told


def _outcome(action: str, answered: Mapping[str, str]) -> str:
    if "error" in answered:
        return "refused"
    if action in {"get", "token", "mint"}:
        return "given" if answered.get("password") else "nothing"
    if action == "exit":
        return "asked"
    return "done" if "ok" in answered else "refused"


def _named(agent: Agent, named: str, text: str | None, scope: str | None) -> Credential | None:
    """The credential that was meant: by its id, or as the one for `scope` that has or had the secret."""
    if named:
        return agent.credential_store.index().get(named)
    if not text:
        return None
    minted = None if agent.consumers is None else agent.consumers.credential_store.with_secret(text, scope)
    return minted or agent.credential_store.with_secret(text, scope)
