"""Copies or moves a vault's credentials to another vault, whatever storage either of them is in.

A refresh token works once: of a login that two vaults could renew, both would soon have a spent one. So a copy leaves
such logins out, and a move has four steps, each durable before the next:

1. source: every record gets a mark, `moving`, with which no host renews a login; renewals under way are waited for
2. target: every record is written there with its mark, read back from the storage, decrypted and compared
3. source: all records are removed in one commit, which leaves the target's address, if nothing changed since step 2
4. target: the marks are removed, and older logins of the same accounts disabled; then the source notes that it is done

Of two moves at once one goes on, and the other ends with an error at a mark that is not its own.

So from 1 to 4 a login is renewed nowhere, and at each moment all of it is in one of the vaults. Cut off after a step,
`move` goes on: before step 3 with a new mark, after it with step 4. Where it fails before step 3, `abandon` takes the
marks of the source away; those in the target stay, and so what is there of a login is not renewed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.agent import matching, naming, retention
from git_credential_bitbucket.agent.credential import Credential, names_in
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.errors import Error, VaultBusy, VaultChanged, VaultDamaged
from git_credential_bitbucket.paths import typed
from git_credential_bitbucket.vault.storage.contract import copied, records_of
from git_credential_bitbucket.vault.storage.file import no_step
from git_credential_bitbucket.vault.vault import MOVED_ON, MOVED_TO, moved

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.vault.vault import Vault

    Step = Callable[[str], None]

STEPS = (
    *("contents-read", "source-marked", "source-settled"),
    *("target-written", "target-verified", "source-emptied", "target-released"),
)
"""The points of a move at which `step` is called, for tests that kill there."""
_MOVE = "move"
"""Where the source's content has the mark of its move, until that is complete."""
_QUEUES = ("revocations", "backups")
_TRIES = 5
"""How often step 2 is done again because another process changed the source meanwhile."""


class Transfer(NamedTuple):
    """What was written to the target, and what of that, or of the target, is disabled for a newer login there."""

    arrived: list[Credential]
    replaced: list[Credential]
    left_out: list[Credential]
    """Logins that a copy leaves where they are."""


def copy(source: Vault, target: Vault, now: float, step: Step = no_step) -> Transfer:
    """Write to the target what works in two vaults; the source is not changed. Raises the vaults' trouble, `Error`."""
    target.is_transferred = True
    records = _content(source).get("credentials", [])
    arriving = [record for record in records if record.get("refresh_token") is None]
    for record in arriving:
        record.pop("moving", None)
    replaced = _write(target, {"credentials": arriving}, frozenset(), now, step) if arriving else []
    return Transfer(_credentials(arriving), replaced, [one for one in _credentials(records) if one.refresh_token])


def move(source: Vault, target: Vault, to: str, now: float, step: Step = no_step) -> Transfer:
    """Move everything to the target, which has the address `to`, or complete a move that was cut off.

    Raises the vaults' trouble, and `Error` where that cannot be decided or done: then `abandon` is called for; but
    `VaultChanged` where another process is moving it.
    """
    source.is_transferred = target.is_transferred = True
    here = _content(source)
    if MOVED_TO in here:
        return _complete(source, target, to, here, set(), now, step)
    if source.snapshot().altered:
        raise VaultDamaged("records of the vault were altered on its server, and would be left there")
    there = _content(target)
    _check_is_no_source(there)
    merge(there, here, now)  # so that what cannot be decided changes nothing
    step("contents-read")
    mark = here.get(_MOVE)
    marks = {mark}
    for _ in range(_TRIES):
        former, mark = mark, f"{os.urandom(8).hex()} {to}"
        if (emptied := _mark(source, mark, former)) is not None:
            return _complete(source, target, to, emptied, marks, now, step)
        step("source-marked")
        _settle(source)
        here = _content(source)
        marks.add(mark)
        step("source-settled")
        if here.get(_MOVE) != mark:
            continue
        _write(target, here, marks, now, step)
        with source.transaction() as tx:
            is_unchanged = records_of(tx.content) == records_of(here)
            if is_unchanged:
                tx.content.clear()
                tx.content |= {MOVED_TO: to, _MOVE: mark}
                if source.storage.is_shared and "://" not in to:
                    tx.content[MOVED_ON] = os.uname().nodename
        if is_unchanged:
            step("source-emptied")
            return _release(source, target, {mark}, now, step, {record["id"] for record in here.get("credentials", ())})
    raise VaultBusy("the vault is changed again and again by other processes")


def abandon(source: Vault) -> None:
    """Have the source renew its logins again, unless its credentials are in the target already."""
    source.is_transferred = True
    with source.transaction() as tx:
        if MOVED_TO not in tx.content and tx.content.pop(_MOVE, None) is not None:
            _unmark(tx.content.get("credentials", ()))


def merge(content: Record, arriving: Record, now: float) -> list[Credential]:
    """Add the credentials of `arriving` to a vault's `content`; returns those that are disabled for a newer login.

    Of two logins of one account for one scope the newer one is used; marked records wait for step 4 with that. Raises
    `Error` where neither is newer.
    """
    records = content.setdefault("credentials", [])
    own = {record["id"]: record for record in records}
    logins: dict[object, list[Record]] = {}
    for record in records:
        logins.setdefault(_login(record), []).append(record)
    brought = {record["id"] for record in arriving.get("credentials", ())}
    replaced = []
    for record in map(copied, arriving.get("credentials", ())):
        if (known := own.get(record["id"])) is not None:
            if _is_later(record, known):
                known.clear()
                known.update(record)
            continue
        if record.get("moving") is None:
            rivals = [r for r in logins.get(_login(record), ()) if r["id"] not in brought and _is_rival(r, record)]
            if any(_secret(rival) == _secret(record) for rival in rivals):
                continue  # it is there under another id
            replaced += [_disable_older(rival, record, now) for rival in rivals]
        if record.get("is_default") and any(r.get("is_default") and r["place"] == record["place"] for r in records):
            del record["is_default"]
        records.append(record)
    for name in _QUEUES:
        if more := [one for one in arriving.get(name, ()) if one not in content.get(name, ())]:
            content[name] = [*content.get(name, ()), *more]
    return replaced


def _disable_older(rival: Record, record: Record, now: float) -> Credential:
    before, after = rival.get("created_at", 0.0), record.get("created_at", 0.0)
    if before == after:
        described = naming.describe(Credential.from_record(record))
        hint = "remove one of the two first: git-credential-bitbucket logout"
        raise Error(f"both vaults have {described}, and neither is newer", hint=hint)
    older, newer = (rival, record) if before < after else (record, rival)
    if older.pop("is_default", False):
        newer["is_default"] = True
    retention.disable(older, now, "replaced by a newer one", newer["id"])
    return Credential.from_record(older)


def _mark(source: Vault, mark: str, former: str | None) -> Record | None:
    """Step 1: no renewal begins from here on, for each record has another generation, and a mark in it.

    Returns the content where another process has emptied it. Raises `VaultChanged` where its mark is not the `former`
    one any more: another process is moving it.
    """
    with source.transaction() as tx:
        if MOVED_TO in tx.content:
            return tx.content
        if tx.content.get(_MOVE) != former:
            raise VaultChanged("another process is moving this vault", hint="wait for it, or run the command again")
        tx.content[_MOVE] = mark
        for record in tx.content.get("credentials", ()):
            if record.get("moving") not in (None, former):
                cause = "credentials were being moved to this vault, and that is not complete"
                raise Error(cause, hint="run again, where that was begun: git-credential-bitbucket vault move TO")
            record["moving"] = mark
    return None


def _settle(source: Vault) -> None:
    """Wait for renewals that began before the mark. Raises `VaultBusy` where one was cut off, here or on any host."""
    for credential in filter(lambda one: one.refresh_token is not None, _credentials(_records(source))):
        for _ in range(_TRIES):
            try:
                with source.lease(credential.id) as lease:
                    elsewhere = None if lease.elsewhere is None else lease.elsewhere.generation
                    now = next((r["generation"] for r in _records(source) if r["id"] == credential.id), None)
                    if now is not None and now in (lease.interrupted, elsewhere):
                        raise VaultBusy(
                            f"the renewal of {naming.describe(credential)} was cut off or has not ended",
                            hint=f"run: git-credential-bitbucket refresh {credential.id}, then this again",
                        )
                break
            except VaultChanged:  # another host has just ended one
                continue


def _write(target: Vault, arriving: Record, marks: Container[str | None], now: float, step: Step) -> list[Credential]:
    """Step 2, and a copy: what `merge` returns. `marks` are those of this move; what it no longer brings is removed.

    Raises `VaultDamaged` where it cannot be read back.
    """
    ids = {record["id"] for record in arriving.get("credentials", ())}
    with target.transaction() as tx:
        _check_is_no_source(tx.content, arriving.get(_MOVE))
        for name in (MOVED_TO, MOVED_ON):
            tx.content.pop(name, None)
        _take(tx.content, lambda one: one["id"] not in ids and one["moving"] in marks)
        replaced = merge(tx.content, arriving, now)
        written = {record["id"]: copied(record) for record in tx.content["credentials"] if record["id"] in ids}
    step("target-written")
    found = {} if target.key is None else target.storage.read_back(target.key)
    if any(found.get(name) != record for name, record in written.items()):
        hint = "the source still has everything; run the command again"
        raise VaultDamaged(f"the vault {target.storage.shown} did not give back what was written to it", hint=hint)
    step("target-verified")
    return replaced


def _complete(
    source: Vault, target: Vault, to: str, here: Record, marks: set[str | None], now: float, step: Step
) -> Transfer:
    """What is left of a move after step 3, which another process may have done; `marks` are this one's.

    Raises `VaultMoved` where that was to another vault.
    """
    if here[MOVED_TO] == to and here.get(MOVED_ON) in (None, os.uname().nodename):
        return _release(source, target, marks | {here.get(_MOVE)}, now, step)
    raise moved(here)


def _release(
    source: Vault,
    target: Vault,
    marks: Container[str | None],
    now: float,
    step: Step,
    ids: Container[str] = (),
) -> Transfer:
    """Step 4. Another process, whose move to this target came to nothing, may have put its mark on those with `ids`."""
    with target.transaction() as tx:
        arrived = _take(tx.content, lambda one: one["moving"] in marks or one["id"] in ids)
        _unmark(arrived)
        replaced = merge(tx.content, {"credentials": arrived}, now)
    step("target-released")
    with source.transaction() as tx:
        if MOVED_TO in tx.content:
            tx.content.pop(_MOVE, None)
    return Transfer(_credentials(arrived), replaced, [])


def _take(content: Record, is_meant: Callable[[Record], bool]) -> list[Record]:
    """Remove the marked records that are meant from a vault's content, and return them."""
    records = content.setdefault("credentials", [])
    taken = [one for one in records if "moving" in one and is_meant(one)]
    records[:] = [one for one in records if "moving" not in one or not is_meant(one)]
    return taken


def _check_is_no_source(content: Record, mark: str | None = None) -> None:
    """Raise `Error` where the target is itself being moved: it is the source, if it has its `mark`."""
    if _MOVE in content and content[_MOVE] == mark:
        raise Error("the source and the target are the same vault", hint="name another file, server or ?vault=NAME")
    if _MOVE in content:
        hint = f"complete it there first: git-credential-bitbucket vault move {typed(content[_MOVE].partition(' ')[2])}"
        raise Error("a move from the target to another vault is not complete", hint=hint)


def _unmark(records: Iterable[Record]) -> None:
    for record in records:
        record.pop("moving", None)


def _content(vault: Vault) -> Record:
    """The content as it is stored now, also on a server; free to be changed."""
    with vault.transaction() as tx:
        return tx.content


def _records(vault: Vault) -> list[Record]:
    found: list[Record] = vault.snapshot().content.get("credentials", [])
    return found


def _credentials(records: Iterable[Record]) -> list[Credential]:
    return [Credential.from_record(record) for record in records]


def _login(record: Record) -> object:
    """What two records of one login have in common, beside their person."""
    names = ["place", "project", "kind", "typed_username", "typed_path"]
    names += ["client_id", "subject"] if record["kind"] in token_kinds.MINTED else []
    return tuple(record.get(name) for name in names)


def _secret(record: Record) -> object:
    field = "client_secret" if record["kind"] in token_kinds.MINTED else "secret"
    return record.get("source") or record.get("refresh_token") or record.get(field)


def _is_rival(one: Record, other: Record) -> bool:
    """Whether only the newer of two records with the same `_login` is to be used."""
    if one.get("set_aside_at") is not None or other.get("set_aside_at") is not None:
        return False
    return matching.is_same_person(names_in(one)[0], names_in(other)[0])


def _is_later(record: Record, known: Record) -> bool:
    """Whether an arriving record takes the place of the target's own with its id."""
    age, known_age = ((one["generation"], one.get("created_at", 0.0)) for one in (record, known))
    if record.get("moving") is None:
        return bool(age > known_age)
    return "moving" in known or bool(age > known_age or (age == known_age and record.get("refresh_token")))
