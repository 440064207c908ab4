"""What `migrate` took out of files, kept in the vault for thirty days, so that it can be put back.

A backup is what the caller says, as JSON, in parts of one batch. Its verbs are jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import rejection
from git_credential_bitbucket.errors import Error, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.credential_store import CredentialStore

    Pairs = list[tuple[str, str]]

KEPT_S = rejection.KEPT_DISABLED_S


def put(credential_store: CredentialStore, fields: dict[str, str], now: float) -> Pairs:
    """Keep one `part` of a `batch`, durably; what is older than thirty days goes."""
    batch, part = _field(fields, "batch"), _field(fields, "part")
    credential_store.open(create=True)
    with credential_store.transaction(memory=False) as tx:
        kept = [one for one in tx.content.get("backups", ()) if now - one["at"] < KEPT_S]
        tx.content["backups"] = [*kept, {"batch": batch, "at": now, "part": part}]
    return []


def get(credential_store: CredentialStore, fields: dict[str, str], now: float) -> Pairs:
    """The newest `batch`, and each `part[]` in its order. Raises `Error` where there is none."""
    del fields
    credential_store.open()
    kept = [one for one in credential_store.vault.snapshot().content.get("backups", ()) if now - one["at"] < KEPT_S]
    if not kept:
        raise Error("there is nothing to undo", hint="backups made by migrate are stored for 30 days")
    batch: str = kept[-1]["batch"]
    return [("batch", batch), *(("part[]", one["part"]) for one in kept if one["batch"] == batch)]


def drop(credential_store: CredentialStore, fields: dict[str, str], now: float) -> Pairs:
    """Forget a `batch`: it was put back."""
    del now
    batch = _field(fields, "batch")
    credential_store.open()
    with credential_store.transaction(memory=False) as tx:
        tx.content["backups"] = [one for one in tx.content.get("backups", ()) if one["batch"] != batch]
    return []


def _field(fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise InvalidRequest(f"the request has no {name}")
    return fields[name]


VERBS: dict[str, Callable[[CredentialStore, dict[str, str], float], Pairs]] = {
    "backup-put": put,
    "backup-get": get,
    "backup-drop": drop,
}
