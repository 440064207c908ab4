"""Changes to the stored credentials: what git stores, logins, rejections, removal, restoring."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from git_credential_bitbucket.agent import expiry, matching, rejection, renewal_schedule, revocation
from git_credential_bitbucket.agent.credential import (
    UNSOLICITED,
    UNTROUBLED,
    Credential,
    binds_account,
    check_not_moving,
    is_valid_record,
    update,
)
from git_credential_bitbucket.agent.credential_store import record_in
from git_credential_bitbucket.agent.revocation import RETRY_S
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import Error, KeyringUnavailable, LoginFailed, VaultLocked
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.agent.credential_store import CredentialStore
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.git_protocol import Request

FOREIGN_TOKEN_LIFETIME_S = 2 * 60 * 60
"""How long an OAuth token that another helper got is taken to live where nothing is said: Bitbucket's own 7200 s."""
SWEPT_EVERY_S = 3600.0
MAX_UNSOLICITED = 64
MAX_UNSOLICITED_BYTES = 256 * 1024
"""How many such secrets are kept, and how large they are together, with their usernames and paths; the oldest go first.
Any repository may name some in its `.gitmodules`, and each write of the vault would cost more for each."""


_UNBLOCKED = dict.fromkeys(("set_aside_at", "set_aside_why", "replaced_by", "suspect_until", "suspensions"))
_RESTORED: dict[str, object] = {**_UNBLOCKED, "rejections": (), **UNTROUBLED}


class Stored(NamedTuple):
    """A secret that git says works, and how it came: what a `store` means depends on it.

    It is asked for where an open miss precedes it, or where `approves` says that `git credential approve` runs: a
    person's answer to a prompt, or a script's own decision. Everything else may come from a URL, a redirect or another
    helper. With a `lifetime_s` it is kept in memory only, and so long.
    """

    request: Request
    asked_path: Callable[[], str | None] = lambda: None
    is_solicited: bool = False
    approves: Callable[[], bool] = lambda: False
    lifetime_s: float | None = None

    @property
    def is_intended(self) -> bool:
        """Whether it is stored as a login would be."""
        return self.is_solicited or self.approves()

    def is_of(self, credential: Credential) -> bool:
        """Whether this `store` of a secret that `credential` has is about that one, and changes nothing."""
        named = (self.request.username, self.request.path)
        if credential.kind == token_kinds.UNKNOWN and (credential.typed_username, credential.typed_path) != named:
            return False
        return not (credential.is_unsolicited and self.is_intended)


def new_id() -> str:
    """A credential's id: short, random, and told to git in `state[]`."""
    return os.urandom(6).hex()


def store_from_git(credential_store: CredentialStore, stored: Stored, now: float) -> Credential:
    """Store a secret from git, under the kind that its prefix tells. A job.

    Asked for: an API token is a person's, so it serves the host; an access token the repository that it was stored for
    (`login --for` widens it). It replaces only the same person's of that kind and scope; beside others it comes after
    those that work. Unasked, it is bound to exactly its username and path, also in an empty vault. Secrets of unknown
    kind follow git's own contract: they replace what has the same path and username (unasked, only what was unasked).

    Where there is no vault and no key, it goes to memory, and the acknowledgement says so (`expiry.storage_note`).
    Raises `Error` where it is unasked and too large to be kept.
    """
    request, is_asked = stored.request, stored.is_intended
    is_passing = request.is_ephemeral or stored.lifetime_s is not None
    memory = is_passing or _must_be_memory(credential_store)
    credential = _from_git(stored, now, is_asked=is_asked)
    if is_passing:
        credential_store.set_note_count(credential.id, expiry.MAX_NOTES)  # it said itself that it is not to be kept
    with credential_store.transaction(memory=memory) as tx:
        records = tx.content.setdefault("credentials", [])
        _remove_outdated(tx.content, now)
        if not is_asked:
            _make_room(records, _size(credential.to_record()))
        elif credential.kind != token_kinds.UNKNOWN:
            records[:] = [r for r in records if not _is_bound_copy(r, credential)]
        if credential.typed_username is not None:
            _replace_by_contract(records, credential, now)
        else:
            replaced = [r for r in records if _is_same_login(r, credential)]
            for record in replaced:
                disable(record, now, "replaced by a newer one", credential.id)
            is_default = any(r.get("is_default") for r in replaced)
            credential = credential._replace(is_default=is_default, is_fallback=_has_working(records, credential, now))
        records.append(credential.to_record())
    return credential


def _from_git(stored: Stored, now: float, *, is_asked: bool) -> Credential:
    request = stored.request
    password, path = request.password or "", None
    kind = token_kinds.recognise_with(password, request.username)
    is_bound = kind == token_kinds.UNKNOWN or not is_asked
    if kind == token_kinds.ACCESS_TOKEN and not is_bound:
        path = request.path
        if scopes.names_no_repository(path):
            path = stored.asked_path()
    expiry: float | None = request.password_expiry_utc
    if kind == token_kinds.UNKNOWN and request.username == token_kinds.ACCESS_TOKEN_USERNAME and expiry is None:
        expiry = now + FOREIGN_TOKEN_LIFETIME_S
    is_personal = kind in (token_kinds.API_TOKEN, token_kinds.PERSONAL_TOKEN) and not is_bound
    is_named = is_personal and request.username not in token_kinds.TOKEN_USERNAMES
    return Credential(
        id=new_id(),
        kind=kind,
        place=scopes.scope_of(request.protocol, request.host, path),
        secret=Secret(password),
        account=request.username if is_named else None,
        bitbucket_username=request.username if is_named and kind == token_kinds.PERSONAL_TOKEN else None,
        typed_username=request.username if is_bound else None,
        typed_path=request.path if is_bound else None,
        created_at=now,
        last_used_at=now,
        minted_at=now,
        expires_at=expiry,
        forget_at=None if stored.lifetime_s is None else now + stored.lifetime_s,
        origin="git" if is_asked else UNSOLICITED,
    )


def _make_room(records: list[Record], size: int) -> None:
    """Remove the oldest unasked records until one of `size` fits. Raises `Error` where it never will."""
    if size > MAX_UNSOLICITED_BYTES // 16:
        hint = "to store it, run: git-credential-bitbucket login"
        raise Error("an unsolicited secret, its username or its path is too large to be stored", hint=hint)
    unasked = sorted((r for r in records if r.get("origin") == UNSOLICITED), key=lambda r: r.get("created_at", 0.0))
    while unasked and (len(unasked) >= MAX_UNSOLICITED or size + sum(map(_size, unasked)) > MAX_UNSOLICITED_BYTES):
        records.remove(unasked.pop(0))


def _size(record: Record) -> int:
    return sum(len(record.get(name) or "") for name in ("secret", "typed_username", "typed_path", "place"))


def _is_bound_copy(record: Record, credential: Credential) -> bool:
    return record["secret"] == credential.secret.reveal() and Credential.from_record(record).is_bound


def _replace_by_contract(records: list[Record], new: Credential, now: float) -> None:
    """The entry with the same username and path makes room; of unknown kind, it returns if the new one is rejected.

    What was solicited is not replaced by what is unsolicited.
    """
    key = (new.kind, new.typed_username, new.typed_path)
    host = scopes.host_of(new.place)
    for record in [r for r in records if (r["kind"], r.get("typed_username"), r.get("typed_path")) == key]:
        if scopes.host_of(record["place"]) != host or binds_account(record):
            continue
        if new.is_unsolicited and record.get("set_aside_at") is None and record.get("origin") != UNSOLICITED:
            continue
        if new.is_bound or record.get("set_aside_at") is not None or record["secret"] == new.secret.reveal():
            records.remove(record)
        else:
            disable(record, now, "replaced by a newer one", new.id)


def _is_same_login(record: Record, new: Credential) -> bool:
    """Whether a record is the same person's of the same kind and scope, and is not disabled."""
    if (record["place"], record["kind"]) != (new.place, new.kind) or record.get("set_aside_at") is not None:
        return False
    old = Credential.from_record(record)
    return not old.is_bound and matching.is_same_person(old.names, new.names)


def _has_working(records: list[Record], new: Credential, now: float) -> bool:
    """Whether another credential works for the scope of `new`."""
    same = (Credential.from_record(record) for record in records if record["place"] == new.place)
    return any(one.kind != token_kinds.UNKNOWN and rejection.is_in_good_standing(one, now) for one in same)


def apply_rejection(
    credential_store: CredentialStore, credential_id: str, named: Secret | None, now: float, repository: str
) -> None:
    """Judge the rejection of a credential by `repository`, unless its secret is not the `named` one any more. A job.

    Of unknown kind and stored unasked, what it had replaced returns.
    """
    with credential_store.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        credential = Credential.from_record(record)
        if named is not None and not credential.has_secret(named):
            return
        changes = rejection.on_rejection(credential, now, repository)
        update(record, **changes)
        if changes and credential.kind == token_kinds.UNKNOWN and credential.origin == UNSOLICITED:
            for other in tx.content["credentials"]:
                if other.get("replaced_by") == credential_id:
                    update(other, set_aside_at=None, set_aside_why=None, replaced_by=None)


def _must_be_memory(credential_store: CredentialStore) -> bool:
    try:
        credential_store.open(create=True)
    except (VaultLocked, KeyringUnavailable):
        if credential_store.vault.state != "absent" or credential_store.locked_by_person:
            raise
        return True
    return False


def add(
    credential_store: CredentialStore,
    credential: Credential,
    now: float,
    *,
    memory: bool = False,
    beside: bool = False,
    unclear: Literal["replace", "add", "ask"] = "replace",
) -> Credential:
    """Write a credential down; what it replaces is disabled for thirty days, for tokens are shown only once. A job.

    It replaces the same account's of its kind and scope; `unclear` says what becomes of those that cannot be told
    apart from it. With `beside`, it replaces none, and comes after those that work for its scope.
    Raises `AccountUnclear` where a person is to be asked.
    """
    if not memory:
        credential_store.open(create=True)
    with credential_store.transaction(memory=memory) as tx:
        records = tx.content.setdefault("credentials", [])
        _remove_outdated(tx.content, now)
        if beside:
            credential = credential._replace(is_fallback=_has_working(records, credential, now))
        for record in [] if beside else list(records):
            if (record["place"], record["kind"]) != (credential.place, credential.kind):
                continue  # before it is read: of ten thousand, all but one or two end here
            old = Credential.from_record(record)
            relation = _relation(credential, old, now)
            if relation == "unclear" and unclear == "ask":
                raise AccountUnclear(old.id)
            if relation == "same" or (relation == "unclear" and unclear == "replace"):
                credential = credential._replace(is_default=credential.is_default or old.is_default)
                if old.has_secret(credential.secret) or _is_recoverable(old):
                    records.remove(record)
                else:
                    disable(record, now, "replaced by a newer one", credential.id)
        records.append(credential.to_record())
    return credential


def rotate(credential_store: CredentialStore, credential_id: str, new: Credential, now: float) -> str:
    """Put a new token in the place of one that is kept, under its id; returns the id that the old one has now. A job.

    The old one is disabled for thirty days. Raises `UnknownCredential`, `LoginFailed` if it is the same secret.
    """
    with credential_store.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        old = Credential.from_record(record)
        if old.source is not None:
            hint = "put the new one there: it is then fetched from there"
            raise LoginFailed("its secret is not stored here, but fetched from its source", hint=hint)
        if old.has_secret(new.secret):
            raise LoginFailed("this token is already stored", hint="create a new one and enter that")
        kept = new._replace(
            id=old.id,
            generation=old.generation + 1,
            superseded=old.superseding(),
            account=new.account or old.account,
            bitbucket_username=new.bitbucket_username or old.bitbucket_username,
            account_id=new.account_id or old.account_id,
            place=old.place,
            project=old.project,
            repositories=old.repositories,
            is_default=old.is_default,
        )
        previous = new_id()
        update(record, id=previous)
        disable(record, now, "replaced by a newer one", kept.id)
        tx.content["credentials"].append(kept.to_record())
        _remove_outdated(tx.content, now)
    return previous


class AccountUnclear(Error):
    """A credential of the same kind and scope works, and may be the same account's."""

    def __init__(self, credential_id: str) -> None:
        """`credential_id` is the one that is kept."""
        super().__init__("both tokens may belong to the same account", hint="log in again with --add or --replace")
        self.credential_id = credential_id


def set_names(credential_store: CredentialStore, credential_id: str, names: dict[str, str | None], now: float) -> None:
    """Note whose a credential is; an older login of the same account, kind and scope is replaced by it. A job."""
    with credential_store.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        named = update(record, **names)
        for other in tx.content["credentials"]:
            old = Credential.from_record(other) if other is not record and _is_same_login(other, named) else None
            if old is not None and named.names and old.created_at <= named.created_at and named.set_aside_at is None:
                disable(other, now, "replaced by a newer one", credential_id)
                named = update(record, is_default=named.is_default or old.is_default)
                update(other, is_default=False)


def set_default(credential_store: CredentialStore, credential_id: str) -> None:
    """Make a credential its scope's default, instead of any other. A job. Raises `UnknownCredential`."""
    with credential_store.vault_of(credential_id).transaction() as tx:
        chosen = record_in(tx, credential_id)
        for record in tx.content["credentials"]:
            if record["place"] == chosen["place"] and (record is chosen or record.get("is_default")):
                update(record, is_default=record is chosen)


def is_fallback(index: Index, credential: Credential, now: float) -> bool:
    """Whether a credential is disabled in favour of one that is in good standing still."""
    other = index.get(credential.replaced_by) if credential.replaced_by and credential.set_aside_at else None
    return other is not None and rejection.is_in_good_standing(other, now)


def _is_recoverable(old: Credential) -> bool:
    """Whether it can be had again or was to last two hours: client credentials, OAuth's implicit grant."""
    is_implicit = old.kind == token_kinds.OAUTH and old.refresh_token is None
    return old.is_fetched or is_implicit or old.kind in token_kinds.MINTED


def disable(record: Record, now: float, why: str, by: str) -> None:
    """Have a record offered no more, in favour of the one whose id is `by`."""
    update(record, set_aside_at=now, set_aside_why=why, suspect_until=None, replaced_by=by)


def _relation(new: Credential, old: Credential, now: float) -> Literal["same", "other", "unclear"]:
    """Whether two of one kind and scope are one login, those of two accounts, or cannot be told apart.

    Access tokens have no account, and of a login without a name the account is unknown; one that does not work any
    more is replaced all the same.
    """
    if old.has_secret(new.secret) or (new.source is not None and new.source == old.source):
        return "same"
    if old.set_aside_at is not None or old.is_bound:
        return "other"
    if new.kind in token_kinds.MINTED:
        return "same" if (new.client_id, new.subject) == (old.client_id, old.subject) else "other"
    if new.names and old.names:
        return "same" if new.names & old.names else "other"
    return "unclear" if rejection.is_in_good_standing(old, now) and not _is_recoverable(old) else "same"


def _remove_outdated(content: Record, now: float) -> None:
    """Forget what has been disabled, and what `migrate` took out of files, thirty days ago.

    Unless the clock has made those days up since the last look.
    """
    looked_at = content.get("swept_at", now)
    if not 0 < now - looked_at < SWEPT_EVERY_S:  # seldom: of two hosts that change it at once, one is refused
        content["swept_at"] = now
    if 0 <= now - looked_at < rejection.KEPT_DISABLED_S:
        kept = [r for r in content["credentials"] if now - (r.get("set_aside_at") or now) < rejection.KEPT_DISABLED_S]
        content["credentials"][:] = kept
        if "backups" in content:
            content["backups"] = kept_backups(content, now)


def kept_backups(content: Record, now: float) -> list[Record]:
    """What `migrate` took out of files within the last thirty days."""
    return [one for one in content.get("backups", ()) if now - one["at"] < rejection.KEPT_DISABLED_S]


def remove(credential_store: CredentialStore, credential_id: str, revoked_at: float | None = None) -> Credential:
    """Remove a credential for good (`logout`). A job. Raises `UnknownCredential`, `VaultBusy`.

    With `revoked_at`, the revocation of its refresh token is queued in the same write, unless it is in memory only.
    """
    vault = credential_store.vault_of(credential_id)
    with vault.transaction() as tx:
        record = record_in(tx, credential_id)
        removed = Credential.from_record(record)
        if revoked_at is not None:
            check_not_moving(removed)
        tx.content["credentials"].remove(record)
        if revoked_at is not None and vault is credential_store.vault:
            revocation.queue(tx.content, removed, removed.refresh_token, revoked_at, retry_at=revoked_at + RETRY_S)
        return removed


def restore(credential_store: CredentialStore, credential_id: str, now: float) -> None:
    """Offer a credential again that was disabled or suspended. A job. Raises `UnknownCredential`.

    What it had been disabled for changes places with it: else that, being newer, would still be the one that answers.
    """
    if credential_store.is_configured(credential_id):
        credential_store.change(credential_id, lambda _: _RESTORED)
        return
    with credential_store.vault_of(credential_id).transaction() as tx:
        record = record_in(tx, credential_id)
        for other in tx.content["credentials"]:
            if other["id"] == record.get("replaced_by") and other.get("set_aside_at") is None:
                disable(other, now, "the previous one was restored", credential_id)
        credential_store.forget_rejection(credential_id)
        update(record, **_RESTORED)


def credential_from_login(record: Record, now: float) -> Credential:
    """A credential as a login hands it over: without an id, its lifetimes in seconds from now.

    Raises `KeyError`, `TypeError`, `ValueError` or `OverflowError` where the record is none.
    """
    record = {"id": new_id(), "created_at": now, "minted_at": now, **record}
    if (lifetime := record.pop("lifetime", None)) is not None:
        record["forget_at"] = now + float(lifetime)
    expires_in = record.pop("expires_in", None)
    if not is_valid_record(record | {"expires_at": expires_in if expires_in is not None else record.get("expires_at")}):
        raise ValueError("a field of the record has a wrong type")
    if not all(0 <= (record.get(name) or 0) < expiry.MAX_EXPIRY for name in ("ends_at", "forget_at")):
        raise ValueError("an expiry is out of range")
    if expires_in is None and record["kind"] in token_kinds.RENEWABLE and "expires_at" not in record:
        expires_in = renewal_schedule.ASSUMED_LIFETIME_S
    credential = Credential.from_record(record)
    return credential if expires_in is None else credential._replace(expires_at=now + expires_in)
