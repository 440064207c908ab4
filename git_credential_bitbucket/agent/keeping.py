"""How a credential enters and leaves what is kept: typed at git's prompt, from a log-in, removed, restored."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import freshness, judgement, ledger, routing
from git_credential_bitbucket.agent.credential import Credential, is_sound, update
from git_credential_bitbucket.agent.holdings import record_in
from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.errors import KeyringUnavailable, LoginFailed, VaultLocked
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.agent.holdings import Holdings
    from git_credential_bitbucket.agent.routing import Index
    from git_credential_bitbucket.wire import Request

IN_RESERVE = "it came while another worked"
FOREIGN_TOKEN_LIFE_S = 2 * 60 * 60
"""How long an OAuth token that another helper got is taken to live where nothing is said: Bitbucket's own 7200 s."""


def new_id() -> str:
    """A credential's id: short, random, and told to git in `state[]`."""
    return os.urandom(6).hex()


def keep_typed(
    holdings: Holdings, request: Request, now: float, asked_path: Callable[[], str | None] = lambda: None
) -> Credential:
    """Keep a secret that a person typed at git's prompt, under the kind its prefix tells. A job.

    An API token is a person's, so it serves the host; an access token the repository it was typed for, of which
    `asked_path` tells where git does not (`login --for` widens it): else the next repository's token would take its
    place. A secret of unknown kind only what it was typed for. Where no vault and no key is to be had, it is kept
    in memory, and the acknowledgement says so (`ledger.noted`).

    git stores what stands in a URL, too, and a repository's .gitmodules may name any. So it takes no place from one in
    good standing: it is for that repository alone then, or else set aside. Beside another account's API token it
    answers who asks by its username, and nobody else.
    """
    password = request.password or ""
    kind = kinds.recognise(password)
    path = None if kind == kinds.API_TOKEN else request.path
    if kind == kinds.ACCESS_TOKEN and routing.place_of("", "", path) == routing.place_of("", "", None):
        path = asked_path()
    expiry: float | None = request.password_expiry_utc
    if kind == kinds.UNKNOWN and request.username == kinds.ACCESS_TOKEN_USERNAME and expiry is None:
        expiry = now + FOREIGN_TOKEN_LIFE_S
    credential = Credential(
        id=new_id(),
        kind=kind,
        place=routing.place_of(request.protocol, request.host, path),
        secret=Secret(password),
        account=request.username if kind == kinds.API_TOKEN and request.username != kinds.API_TOKEN_USERNAME else None,
        typed_username=request.username if kind == kinds.UNKNOWN else None,
        typed_path=request.path if kind == kinds.UNKNOWN else None,
        created_at=now,
        last_used_at=now,
        minted_at=now,
        expires_at=expiry,
        origin="git",
    )
    own = routing.place_of(request.protocol, request.host, request.path or asked_path())
    return keep(holdings, credential, now, memory=_must_be_memory(holdings), narrower=own)


def _must_be_memory(holdings: Holdings) -> bool:
    try:
        holdings.open(create=True)
    except (VaultLocked, KeyringUnavailable):
        if holdings.vault.state != "absent" or holdings.locked_by_person:
            raise
        return True
    return False


def keep(
    holdings: Holdings,
    credential: Credential,
    now: float,
    *,
    memory: bool = False,
    replaces: str | None = None,
    narrower: str | None = None,
) -> Credential:
    """Write a credential down; what it replaces is set aside for thirty days, for tokens are shown only once. A job.

    With `replaces`, the id of one that is kept, it takes the place of that and of no other, and lies where that lies.
    With `narrower`, it replaces none in good standing: it is kept for that place instead, or set aside.
    Raises `UnknownCredential`, `LoginFailed` if it is the same secret.
    """
    if replaces is not None:
        memory = holdings.vault_of(replaces) is holdings.memory
    if not memory:
        holdings.open(create=True)
    with holdings.transaction(memory=memory) as tx:
        records = tx.content.setdefault("credentials", [])
        _sweep(tx.content, now)
        if replaces is not None and Credential.from_record(record_in(tx, replaces)).has_secret(credential.secret):
            raise LoginFailed("this is the token that is kept already", hint="make a new one, and give that")
        if narrower is not None:
            credential = _beside(records, credential, narrower, now)
            if credential.set_aside_at is not None:
                records[:] = [record for record in records if not _is_same_aside(credential, record)]
                records.append(credential.to_record())
                return credential
        for record in list(records):
            if replaces is None and (record["place"], record["kind"]) != (credential.place, credential.kind):
                continue  # before it is read: of ten thousand, all but one or two end here
            old = Credential.from_record(record)
            if old.id == replaces if replaces is not None else _replaces(credential, old):
                if old.has_secret(credential.secret) or _can_be_had_again(old):
                    records.remove(record)
                else:
                    _set_aside(record, now, "replaced by a newer one", credential.id)
        records.append(credential.to_record())
    return credential


def _beside(records: list[Record], credential: Credential, narrower: str, now: float) -> Credential:
    """`credential` where it takes no place from one in good standing: as it is, for `narrower`, or set aside."""
    for placed in (credential, replace(credential, place=narrower)):
        if (standing := _standing(records, placed, now)) is None:
            rivals = _rivals(records, placed, now)
            return replace(placed, typed_username=placed.account) if rivals else placed
        credential = replace(credential, set_aside_at=now, set_aside_why=IN_RESERVE, replaced_by=standing.id)
    return credential


def _is_same_aside(credential: Credential, record: Record) -> bool:
    if record.get("set_aside_at") is None or (record["place"], record["kind"]) != (credential.place, credential.kind):
        return False
    return Credential.from_record(record).has_secret(credential.secret)


def _standing(records: list[Record], new: Credential, now: float) -> Credential | None:
    """What `new` would replace although nothing speaks against it, and nobody could have it again."""
    for record in records:
        if (record["place"], record["kind"]) == (new.place, new.kind):
            old = Credential.from_record(record)
            is_missed = not (old.has_secret(new.secret) or _can_be_had_again(old) or old.expires_at is not None)
            if is_missed and _replaces(new, old) and judgement.in_good_standing(old, now):
                return old
    return None


def _rivals(records: list[Record], new: Credential, now: float) -> bool:
    """Whether there is an API token of another account in good standing for the place of `new`."""
    if new.kind != kinds.API_TOKEN:
        return False
    others = (Credential.from_record(r) for r in records if (r["place"], r["kind"]) == (new.place, new.kind))
    return any(new.account != old.account and judgement.in_good_standing(old, now) for old in others)


def is_in_reserve(index: Index, credential: Credential, now: float) -> bool:
    """Whether a credential is set aside in favour of one that is in good standing still."""
    other = index.get(credential.replaced_by) if credential.replaced_by and credential.set_aside_at else None
    return other is not None and judgement.in_good_standing(other, now)


def _can_be_had_again(old: Credential) -> bool:
    """Whether nobody misses it: it is minted by a consumer, or was to last two hours (OAuth's implicit grant)."""
    return old.kind in kinds.MINTED or (old.kind == kinds.OAUTH and old.refresh_token is None)


def _set_aside(record: Record, now: float, why: str, by: str) -> None:
    update(record, set_aside_at=now, set_aside_why=why, suspect_until=None, replaced_by=by)


def _replaces(new: Credential, old: Credential) -> bool:
    """Whether both, of one kind and for one place, would answer the same requests for the same account."""
    if old.set_aside_at is not None and not old.has_secret(new.secret):
        return False
    if new.kind in kinds.MINTED and (new.client_id, new.subject) != (old.client_id, old.subject):
        return False
    same_account = new.account == old.account or None in (new.account, old.account)
    same_typed = (new.typed_username, new.typed_path) == (old.typed_username, old.typed_path)
    return same_account and (same_typed or new.kind != kinds.UNKNOWN)


def _sweep(content: Record, now: float) -> None:
    """Forget what has been set aside, and what `migrate` took out of files, thirty days ago.

    Unless the clock has made those days up since the last look.
    """
    looked_at, content["swept_at"] = content.get("swept_at", now), now
    if 0 <= now - looked_at < judgement.KEPT_ASIDE_S:
        kept = [r for r in content["credentials"] if now - (r.get("set_aside_at") or now) < judgement.KEPT_ASIDE_S]
        content["credentials"][:] = kept
        if "backups" in content:
            content["backups"] = [one for one in content["backups"] if now - one["at"] < judgement.KEPT_ASIDE_S]


def remove(holdings: Holdings, credential_id: str) -> Credential:
    """Remove a credential for good (`logout`). A job. Raises `UnknownCredential`."""
    with holdings.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        tx.content["credentials"].remove(record)
        return Credential.from_record(record)


def restore(holdings: Holdings, credential_id: str, now: float) -> Credential:
    """Offer a credential again that was set aside or is suspect. A job. Raises `UnknownCredential`.

    What it had been set aside for changes places with it: else that, being newer, would still be the one that answers.
    """
    with holdings.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        for other in tx.content["credentials"]:
            if other["id"] == record.get("replaced_by") and other.get("set_aside_at") is None:
                _set_aside(other, now, "the one before it was restored", credential_id)
        return update(
            record,
            set_aside_at=None,
            set_aside_why=None,
            replaced_by=None,
            suspect_until=None,
            rejections=(),
            failures=0,
            refusals=0,
            retry_at=None,
            refresh_rejected=False,
            login_expired=False,
            trouble=None,
            trouble_cure=None,
        )


def from_login(record: Record, now: float) -> Credential:
    """A credential as a log-in hands it over: without an id, its lifetimes in seconds from now.

    Raises `KeyError`, `TypeError` or `ValueError` where the record is none.
    """
    record = {"id": new_id(), "created_at": now, "minted_at": now, **record}
    if (lifetime := record.pop("lifetime", None)) is not None:
        record["forget_at"] = now + float(lifetime)
    expires_in = record.pop("expires_in", None)
    if not is_sound(record | {"expires_at": expires_in if expires_in is not None else record.get("expires_at")}):
        raise ValueError("a field of the record does not hold what it should")
    if not all(0 <= (record.get(name) or 0) < ledger.MAX_END for name in ("ends_at", "forget_at")):
        raise ValueError("an end has no date")
    if expires_in is None and record["kind"] in kinds.RENEWABLE and "expires_at" not in record:
        expires_in = freshness.ASSUMED_LIFE_S
    credential = Credential.from_record(record)
    return credential if expires_in is None else replace(credential, expires_at=now + expires_in)
