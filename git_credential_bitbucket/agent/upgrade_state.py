"""The state that is on no disk, from one agent to the next when the program is upgraded under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.agent.renewal import answer_of_0_1_0

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.agent import Agent


def export_state(agent: Agent) -> dict[str, Any]:
    """The key, what is in memory only, and what is not written down yet, as JSON can hold them."""
    key = agent.credential_store.vault.key
    return {
        "memory": agent.credential_store.memory.snapshot().content,
        "key": key.to_record() if key is not None else None,
        "locked_by_person": agent.credential_store.locked_by_person,
        "locked_how": agent.credential_store.locked_how,
        "noted": agent.credential_store.pending_notes(),
        "unwritten": agent.renewals.unwritten,
        **agent.grants.export(),
    }


def import_state(agent: Agent, state: dict[str, Any]) -> None:
    """Go on with what a predecessor handed over. Raises what `Vault.unlock` raises, with all else taken over."""
    from git_credential_bitbucket.vault.key import Key  # lazy: an upgrade needs it, a start does not

    with agent.credential_store.transaction(memory=True) as tx:
        tx.content.update(state["memory"])
        # 0.1.0 kept there what it had minted for consumers in callers' environments, which is theirs alone.
        records = tx.content.get("credentials", [])
        records[:] = [record for record in records if record.get("origin") != "environment"]
    agent.credential_store.locked_by_person = state["locked_by_person"]
    if "noted" in state:  # a predecessor from before it said so has none to give
        agent.credential_store.locked_how = state["locked_how"]
        agent.credential_store.add_notes(state["noted"])
    if "grants" in state:  # as above
        agent.grants.restore(state)
    for credential_id, held in state["unwritten"].items():
        agent.renewals.unwritten[credential_id] = held if "answer" in held else answer_of_0_1_0(held)
    # The last, for the vault may have another key by now, or not be readable at this moment.
    if state["key"] is not None:
        agent.credential_store.vault.unlock(Key.from_record(state["key"]))
