"""The actions beside git's three, for the command line and the front ends: one function each.

Fields are `key=value` as git's own; an answer is such lines too, and a refusal is `error=` and `hint=`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import (
    client_credentials,
    expiry,
    matching,
    rejection,
    retention,
    revocation,
    status_views,
)
from git_credential_bitbucket.agent.agent import ACKNOWLEDGED, Lookup, error_answer
from git_credential_bitbucket.agent.deferred_answer import Deferred
from git_credential_bitbucket.agent.diagnosis import answer_why
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.errors import Error, InvalidRequest, UnknownCredential, VaultUnwritable, WrongKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.git_protocol import Request

    Verb = Callable[[Agent, dict[str, str], bytes], bytes | Deferred]

Answer = bytes | Deferred
Pairs = list[tuple[str, str]]

_NAMES = ("account", "bitbucket_username", "account_id")
"""What a credential's person goes by, as it can be said later."""


def control(agent: Agent, action: str, body: bytes, asked_path: Callable[[], str | None] = lambda: None) -> Answer:
    """Answer a verb whose fields are `body`. Never raises `Error`: it becomes the answer. `asked_path` as `get`'s."""
    try:
        if action not in VERBS:
            hint = "after an upgrade, run: git-credential-bitbucket daemon stop"
            raise InvalidRequest("this version has no such action", hint=hint)
        fields, _ = git_protocol.parse_fields(body)
        if action == "why" and not fields.get("asked_path"):
            fields["asked_path"] = asked_path() or ""
        return VERBS[action](agent, fields, body)
    except Error as exc:
        return error_answer(exc)


def _run(agent: Agent, work: Callable[[], Pairs | None]) -> Deferred:
    """Run a job, and acknowledge it with the pairs that it returns."""
    return agent.run_job(work, lambda pairs: git_protocol.emit(pairs or []))


def _status(agent: Agent, _fields: dict[str, str], _body: bytes) -> Answer:
    return agent.with_unlocked_vault(lambda _: status_views.status_view(agent))


def _explain(agent: Agent, fields: dict[str, str], body: bytes) -> Answer:
    """What a `get` for git's request would go through; `asked_path` is the repository if the request names none."""
    request = git_protocol.parse(body)
    agent.provider_of(request)
    return agent.with_unlocked_vault(
        lambda _: git_protocol.emit(status_views.explain_view(agent, request, fields.get("asked_path") or None))
    )


def _lock(agent: Agent, _fields: dict[str, str], _body: bytes) -> Answer:
    agent.lock("by hand")
    if not agent.credential_store.locked_by_person:
        raise Error("there is no vault yet", hint="the first login creates it: git-credential-bitbucket login")
    return ACKNOWLEDGED


def _unlock(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """With `key`: use it; without: look for it again non-interactively.

    What a person has locked is opened by a person (`person=1`), not by a key that lies in a caller's environment.
    """
    credential_store = agent.credential_store

    def work() -> None:
        if credential_store.locked_by_person and fields.get("person") != "1":
            credential_store.open()  # says so
        locked, credential_store.locked_by_person = credential_store.locked_by_person, False
        try:
            if "key" in fields:
                credential_store.vault.unlock(_key(fields))
            else:
                credential_store.open()
        except Error:
            credential_store.locked_by_person = locked
            raise

    return _run(agent, work)


def _rekey(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Re-encrypt the vault with the key in the fields, where `old_key` is the current one."""
    vault = agent.credential_store.vault

    def work() -> None:
        new_key, old_key = _key(fields), _key({"key": fields.get("old_key", ""), "source": "environment"})
        agent.credential_store.open()
        if vault.key is None or not vault.key.is_same(old_key):
            raise WrongKey(
                "the vault's key can be changed only with its current key", hint="unlock it with that key first"
            )
        vault.rekey(new_key)

    return _run(agent, work)


def _key(fields: dict[str, str]) -> Any:  # noqa: ANN401 - the vault's own key
    from git_credential_bitbucket.vault.key import Key  # lazy: only a person's unlock needs it

    return Key.from_record(fields)


def _add(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Store the credential of a login: `record` is one JSON object; with `memory=1`, in memory only.

    With `replaces=ID` it takes that one's place and id, and `previous` is the id that the old one has from then on.
    With `beside=1` it replaces none, and comes after those that work for its scope. Where another works and cannot be
    told apart from it, `unclear` is `replace`,
    `add`, or nothing: then nothing is stored, and `unclear=ID` is the answer.
    """
    try:
        record = json.loads(fields["record"])
        credential = retention.credential_from_login(record, agent.clock())
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidRequest("the record of the login is malformed") from None
    host = scopes.split_host(credential.place)
    if agent.find_provider(*host) is None:
        raise hosts.unconfigured_host(*host)

    policies: dict[str | None, Literal["replace", "add"]] = {"replace": "replace", "add": "add"}

    def work() -> Pairs:
        try:
            if (replaced := fields.get("replaces")) is not None:
                previous = retention.rotate(agent.credential_store, replaced, credential, agent.clock())
                return [("id", replaced), ("previous", previous)]
            kept = retention.add(
                agent.credential_store,
                credential,
                agent.clock(),
                memory=fields.get("memory") == "1",
                beside=fields.get("beside") == "1",
                unclear=policies.get(fields.get("unclear"), "ask"),
            )
        except retention.AccountUnclear as exc:
            return [("unclear", exc.credential_id)]
        except VaultUnwritable as exc:
            shown_once = (
                "; the new token was not stored, so save it elsewhere" if credential.kind in token_kinds.STATIC else ""
            )
            raise VaultUnwritable(exc.cause, hint=f"{exc.hint}{shown_once}") from exc
        return [("id", kept.id)]

    return _run(agent, work)


def _identify(agent: Agent, fields: dict[str, str], body: bytes) -> Answer:
    """Ask Bitbucket about each credential that `id[]` names, and store whose it is; `verdict[]` are JSON objects.

    With `repository`, a URL, what covers it is asked with as git does before it fetches.
    """
    index = agent.credential_store.index()
    named = map(index.get, git_protocol.parse_fields(body)[1].get("id[]", []))
    credentials = [one for one in named if one is not None]

    def work() -> Pairs:
        from git_credential_bitbucket.agent import live_check  # lazy: only a person's verbs ask

        found = live_check.ask_bitbucket(agent, credentials, fields.get("repository")).items()
        return [("verdict[]", json.dumps({"id": name, **told.view()}, separators=(",", ":"))) for name, told in found]

    return _run(agent, work)


def _repositories(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Ask Bitbucket which repositories are in the project of a credential, and store that; `repositories` has them."""
    one = agent.credential_store.index().get(_id(fields))
    project = None if one is None else one.project
    if one is None or project is None:
        raise UnknownCredential("there is no such credential for a project")

    def work() -> Pairs:
        from git_credential_bitbucket.bitbucket import rest  # lazy: only a person's verbs ask
        from git_credential_bitbucket.bitbucket.providers import Endpoint

        workspace = one.place.split("/")[3]
        provider = agent.find_provider(*scopes.split_host(one.place))
        endpoint = provider.endpoint if provider is not None else Endpoint.from_record(one.endpoint or {})
        names = rest.repositories_of(endpoint, one.kind, one.secret, workspace, project, rest.within_deadline)
        agent.credential_store.change(one.id, lambda _: {"repositories": names})
        return [("repositories", " ".join(names))]

    return _run(agent, work)


def _default(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Make a credential its scope's default."""
    return _run(agent, lambda: retention.set_default(agent.credential_store, _id(fields)))


def _remove(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Remove for good; with `revoke=1` Bitbucket is told afterwards, and `revoked` says what it answered."""

    def work() -> Pairs:
        is_told = fields.get("revoke") == "1"
        removed = retention.remove(agent.credential_store, _id(fields), agent.clock() if is_told else None)
        if not is_told:
            return [("revoked", revocation.NOTHING)]
        told = revocation.revoke(removed, agent.renewals.with_endpoint)
        is_queued = revocation.settle(agent.credential_store.vault, removed, is_over=told != revocation.UNKNOWN)
        return [("revoked", revocation.QUEUED if is_queued and told == revocation.UNKNOWN else told)]

    return _run(agent, work)


def _amend(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Change what a person enters: its person's names, its expiry `ends_at` (or empty), its `repositories`."""
    changes: dict[str, object] = {}
    if "ends_at" in fields:
        changes = {"ends_at": expiry.parse_expiry(fields["ends_at"]), "warned_at": None}
        agent.credential_store.forget_warning(_id(fields))
    if "repositories" in fields:
        changes["repositories"] = tuple(fields["repositories"].split())
    names = {name: fields[name] or None for name in _NAMES if name in fields}

    def work() -> None:
        agent.credential_store.change(_id(fields), lambda _: changes)
        if names:
            retention.set_names(agent.credential_store, _id(fields), names, agent.clock())

    return _run(agent, work)


def _restore(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    return _run(agent, lambda: retention.restore(agent.credential_store, _id(fields), agent.clock()))


def _refresh(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Renew now, whatever is left of the token; with `generation`, only if it is still that one that was rejected.

    With `by_hand=1` a person asks, and the pause after a failure is not kept. Answered with `pending=1` where Bitbucket
    has not answered yet: to ask again, without `by_hand`, is to go on waiting.
    """
    credential_id, by_hand = _id(fields), fields.get("by_hand") == "1"
    generation = fields.get("generation")
    return agent.with_unlocked_vault(
        lambda index: _refreshed(agent, index.get(credential_id), generation, by_hand=by_hand)
    )


def _refreshed(agent: Agent, credential: Credential | None, refused: str | None, *, by_hand: bool) -> Answer:
    if credential is None or not credential.is_obtainable:
        cause, hint = "there is no such credential that can be refreshed", None
        if credential is not None and credential.login_expired:
            cause, hint = credential.trouble or cause, credential.trouble_cure
        return error_answer(UnknownCredential(cause, hint=hint))
    if refused is not None:
        fresh = 0 <= agent.clock() - credential.minted_at < rejection.FRESH_REJECTION_S
        if str(credential.generation) != refused or fresh:
            return ACKNOWLEDGED
    job = agent.renewals.start(credential, by_hand=by_hand)
    generation, refresh_token = credential.generation, credential.refresh_token

    def resume() -> bytes:
        error = job.exception()
        if isinstance(error, Error):
            return error_answer(error)
        renewed = job.result()
        if renewed.generation == generation and not (renewed.is_fetched and not renewed.trouble):
            hint = renewed.trouble_cure or UnknownCredential.HINT
            return error_answer(Error(renewed.trouble or "a renewal was tried moments ago", hint=hint))
        rotated = "0" if renewed.refresh_token == refresh_token else "1"
        return git_protocol.emit([("ok", "1"), ("expires_at", str(int(renewed.expires_at or 0))), ("rotated", rotated)])

    return Deferred(job, resume, lambda: git_protocol.emit([("pending", "1")]))


def _token(agent: Agent, fields: dict[str, str], body: bytes) -> Answer:
    """The secret that `get` would answer, with what REST needs to know of it; `id` names one credential."""
    request = git_protocol.parse(body)
    agent.provider_of(request)

    def choose(index: Index) -> matching.Match:
        found = matching.find_candidates(index, request, lambda: fields.get("asked_path") or None)
        able = [c for c in found.candidates if fields.get("id") in (None, c.id) and not c.is_unsolicited]
        return matching.Match(found.repository, able, found.dropped)

    return agent.with_unlocked_vault(lambda index: agent.serve(Lookup(request, choose, _token_answer), index))


def _token_answer(credential: Credential, _request: Request) -> bytes:
    pairs = [
        ("id", credential.id),
        ("kind", credential.kind),
        ("generation", str(credential.generation)),
        ("username", credential.username),
        ("account", credential.account or ""),
        ("password", credential.secret.reveal()),
    ]
    if credential.expires_at is not None:
        pairs.append(("password_expiry_utc", str(int(credential.expires_at))))
    return git_protocol.emit(pairs)


def _warn(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """The warning of a credential's expiry, if it is due; with `hush=1` it is not shown there."""
    told = expiry.warning(agent.credential_store, _id(fields), agent.clock(), hush=fields.get("hush") == "1")
    return git_protocol.emit([("ok", "1"), *told])


def _backup_put(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Keep one `part` of a `batch` of what `migrate` took out of files, durably; what is older than 30 days goes."""
    credential_store, now = agent.credential_store, agent.clock()
    batch, part = _field(fields, "batch"), _field(fields, "part")

    def work() -> None:
        credential_store.open(create=True)
        with credential_store.transaction(memory=False) as tx:
            kept = retention.kept_backups(tx.content, now)
            tx.content["backups"] = [*kept, {"batch": batch, "at": now, "part": part}]

    return _run(agent, work)


def _backup_get(agent: Agent, _fields: dict[str, str], _body: bytes) -> Answer:
    """The newest `batch`, and each `part[]` in its order; an error where there is none."""

    def work() -> Pairs:
        agent.credential_store.open()
        kept = retention.kept_backups(agent.credential_store.vault.snapshot().content, agent.clock())
        if not kept:
            raise Error("there is nothing to undo", hint="backups made by migrate are stored for 30 days")
        batch: str = kept[-1]["batch"]
        return [("batch", batch), *(("part[]", one["part"]) for one in kept if one["batch"] == batch)]

    return _run(agent, work)


def _backup_drop(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Forget a `batch`: it was put back."""
    batch = _field(fields, "batch")

    def work() -> None:
        agent.credential_store.open()
        with agent.credential_store.transaction(memory=False) as tx:
            tx.content["backups"] = [one for one in tx.content.get("backups", ()) if one["batch"] != batch]

    return _run(agent, work)


def _grant(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    """Open a socket for a scope (`protocol`, `host`, `path`) for `expires` seconds, or for so many `uses`."""
    protocol = fields.get("protocol", "")
    host = git_protocol.normalise_host(protocol, fields.get("host", ""))
    if agent.find_provider(protocol, host) is None:
        raise hosts.unconfigured_host(protocol, host)
    grant = agent.grants.add(fields)
    return git_protocol.emit([("ok", "1"), ("socket", grant.socket), ("grant", grant.id)])


def _grant_list(agent: Agent, _fields: dict[str, str], _body: bytes) -> Answer:
    return git_protocol.emit([("ok", "1"), *(("grant[]", json.dumps(one)) for one in status_views.grant_views(agent))])


def _grant_revoke(agent: Agent, fields: dict[str, str], _body: bytes) -> Answer:
    agent.grants.end(fields.get("grant", ""))
    return ACKNOWLEDGED


def _field(fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise InvalidRequest(f"the request has no {name}")
    return fields[name]


def _id(fields: dict[str, str]) -> str:
    if not fields.get("id"):
        raise InvalidRequest("the request names no credential", hint=UnknownCredential.HINT)
    return fields["id"]


VERBS: dict[str, Verb] = {
    "add": _add,
    "amend": _amend,
    "backup-drop": _backup_drop,
    "backup-get": _backup_get,
    "backup-put": _backup_put,
    "default": _default,
    "explain": _explain,
    "grant": _grant,
    "grant-list": _grant_list,
    "grant-revoke": _grant_revoke,
    "identify": _identify,
    "lock": _lock,
    "mint": client_credentials.mint,
    "mint-erase": client_credentials.erase,
    "refresh": _refresh,
    "rekey": _rekey,
    "remove": _remove,
    "repositories": _repositories,
    "restore": _restore,
    "status": _status,
    "token": _token,
    "unlock": _unlock,
    "warn": _warn,
    "why": answer_why,
}
