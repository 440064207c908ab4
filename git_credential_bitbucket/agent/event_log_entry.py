"""The life-cycle log's entries: logins, rotations and the like, with the credential that each was about.

Never a secret. A `get` tells nothing here: what happens a few times in a credential's life is found years later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import revocation
from git_credential_bitbucket.agent.access_log_entry import MAX_CHARACTERS
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential

    Entry = dict[str, Any]

_EVENTS = {
    "add": "login",
    "default": "switch",
    "remove": "logout",
    "restore": "restore",
    "erase": "disable",
    "amend": "disable",
    "identify": "disable",
    "lock": "lock",
    "unlock": "unlock",
    "rekey": "rekey",
}
"""The event that an action is, or may end in: only some rejections, and names that are learnt, disable a credential."""
_DISABLE = "disable"


class PendingAction(NamedTuple):
    """An action before it is done: what it is about goes with a logout, and is another one after a restore."""

    action: str
    credential_id: str
    is_rotation: bool
    credential: Credential | None
    at: float
    is_locked: bool


def begin(agent: Agent, action: str, body: bytes) -> PendingAction | None:
    """What to remember of an action; None where it is no event."""
    if action not in _EVENTS:
        return None
    try:
        fields, _ = git_protocol.parse_fields(body)
    except Error:
        return None
    index = agent.credential_store.index()
    credential_id, replaced = fields.get("id", ""), fields.get("replaces")
    found = index.get(credential_id or replaced or "")
    if action == "erase":
        found = agent.credential_store.named_in(body)
    is_rotation, is_locked = action == "add" and replaced is not None, agent.credential_store.trouble is not None
    return PendingAction(action, credential_id, is_rotation, found, agent.clock(), is_locked)


def entries(agent: Agent, begun: PendingAction, reply: bytes) -> Iterator[Entry]:
    """The events that an action was, by its reply: none where it was refused, or changed nothing of the kind.

    None either where there is no vault: what is in memory only leaves nothing on a disk.
    """
    answered = dict(git_protocol.parse_pairs(reply))
    if "ok" not in answered or "unclear" in answered or not _has_vault(agent):
        return
    before, index = begun.credential, agent.credential_store.index()
    subject = index.get(answered.get("id") or begun.credential_id or (before.id if before else "")) or before
    event = "rotate" if begun.is_rotation else _EVENTS[begun.action]
    if event != _DISABLE and (event != "unlock" or begun.is_locked):
        yield entry(event, subject)
    if answered.get("revoked") == revocation.REVOKED:
        yield entry("revoke", subject)
    if subject is None:
        return
    for credential in [subject] if begun.action == "erase" else index.replaced_by(subject.id):
        if (credential.set_aside_at or 0.0) >= begun.at and credential.kind != token_kinds.UNKNOWN:
            yield entry(_DISABLE, credential)


def _has_vault(agent: Agent) -> bool:
    storage = agent.credential_store.vault.storage
    try:
        return storage.durability() != "process" and storage.watch() is not None
    except Error:
        return False


def transfer_entry(event: str, source: str, target: str, count: int) -> Entry:
    """That `count` credentials were copied or moved from one vault's address to another's."""
    return {"event": event, "from": source[:MAX_CHARACTERS], "to": target[:MAX_CHARACTERS], "credentials": count}


def entry(event: str, credential: Credential | None) -> Entry:
    """An event, and the credential that it was about."""
    if credential is None:
        return {"event": event}
    why = {"why": credential.set_aside_why} if event == _DISABLE else {}
    return {
        "event": event,
        "credential": credential.id,
        "kind": credential.kind,
        "account": (credential.account or "")[:MAX_CHARACTERS] or None,
        "scope": credential.place[:MAX_CHARACTERS],
        **why,
    }
