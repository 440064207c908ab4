"""What is at hand, as it may be shown: every credential without its secret, and the state of the vault."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent import freshness, judgement
from git_credential_bitbucket.agent.naming import NAMED, shown_place
from git_credential_bitbucket.agent.why import of_credential
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.vault import damage

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential


def of_agent(agent: Agent) -> list[tuple[str, str]]:
    """The answer to `action=status`: the vault's state and a JSON object for each credential."""
    index = agent.holdings.index()
    pairs = of_vault(agent)
    now = agent.clock()
    stated = sorted((of_credential_at(c, agent, now) for c in index), key=lambda c: (c["place"], c["kind"], c["id"]))
    return [*pairs, *(("credential[]", json.dumps(one, separators=(",", ":"))) for one in stated)]


def of_vault(agent: Agent) -> list[tuple[str, str]]:
    """The vault's state, as of the last look at it, what is wrong with it, and what damage it has been through."""
    trouble = agent.holdings.trouble
    pairs = [("vault", _state(agent))]
    if trouble is not None:
        pairs += [("trouble", trouble.cause), ("cure", trouble.hint or "")]
    notice = damage.notice(agent.holdings.vault)
    if notice is not None:
        pairs += [("damaged", notice.path), ("damage", notice.cause), ("damage_cure", notice.cure)]
    return pairs


def _state(agent: Agent) -> str:
    """As `Vault.state`; but where there is only a key yet, and no file, a person has no vault.

    `unreadable` where not even that can be seen (a directory under the vault's name, say); the trouble tells why.
    """
    vault = agent.holdings.vault
    if agent.holdings.locked_by_person:
        return "locked"
    try:
        return "absent" if vault.state == "open" and vault.place.stamp() is None else vault.state
    except Error:
        return "unreadable"


def of_credential_at(credential: Credential, agent: Agent, now: float, repository: str = "") -> dict[str, object]:
    """One credential for `status`, or for a request about `repository`; times are epoch seconds."""
    reason = of_credential(credential, now, repository)
    limit = None if reason else _limit(credential, now)
    ends = credential.expires_at if credential.secret else None
    return {
        "id": credential.id,
        "place": shown_place(credential),
        "url": wire.printable(credential.place),
        "kind": credential.kind,
        "account": credential.account,
        "bitbucket_username": credential.bitbucket_username,
        "account_id": credential.account_id,
        "username": credential.username,
        "default": credential.is_default,
        "bound_to": _bound_to(credential),
        "suspended_for": [
            wire.printable(scope.partition("://")[2]) for scope in judgement.suspended_scopes(credential, now)
        ],
        "secret": credential.secret.masked() if credential.secret else None,
        "state": reason[0] if reason else "ready",
        "why": reason[1] if reason else limit and limit[0],
        "cure": reason[2] if reason else limit and limit[1],
        "scopes": list(credential.scopes),
        "created_at": credential.created_at,
        "last_used_at": agent.holdings.last_used(credential),
        "expires_at": ends,
        "expires_in": None if ends is None else int(ends - now),
        "ends_at": credential.ends_at,
        "forget_at": credential.forget_at,
        "renewed_at": credential.minted_at if credential.renewable else None,
        "renewal_due_at": freshness.renewal_due_at(credential) if credential.renewable else None,
        "trouble": credential.trouble,
        "trouble_cure": credential.trouble_cure,
        "origin": credential.origin,
        "memory": agent.holdings.is_in_memory(credential.id),
    }


def _limit(credential: Credential, now: float) -> tuple[str, str] | None:
    """For what alone a credential that is offered is not, or is, and what to do about it."""
    if credential.is_bound:
        return f"answers only {_bound_to(credential)}", "to have it used for everything, log in with it"
    scopes = judgement.suspended_scopes(credential, now)
    if not scopes:
        return None
    named = ", ".join(wire.printable(scope.partition("://")[2]) for scope in scopes[:NAMED])
    cure = f"check that it has access there; now: git-credential-bitbucket restore {credential.id}"
    return f"suspended for {named}, which rejected it", cure


def _bound_to(credential: Credential) -> str | None:
    """The username, and the path if there is one, that alone is answered with what git stored unasked."""
    if not credential.is_bound:
        return None
    path = f" at {credential.typed_path}" if credential.typed_path else ""
    return wire.printable(f"{credential.typed_username}{path}")
