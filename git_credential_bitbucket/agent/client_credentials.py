"""The verb `mint`: a `get` by the OAuth consumer in a caller's environment. Its tokens have a store of their own.

That is an agent of their own, over memory in a daemon: only a caller with the same consumer is given one.
In-process it is over a file in the runtime directory, so that one job's many commands share one token. The file is
sealed with a key that the consumer's secret gives; where there can be no such file, each process has its own token.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.agent import matching
from git_credential_bitbucket.agent.agent import Agent, Lookup
from git_credential_bitbucket.agent.credential import Credential, digest
from git_credential_bitbucket.agent.deferred_answer import Deferred, map_answer, wait_for
from git_credential_bitbucket.agent.diagnosis import or_diagnosis
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import Error, InvalidRequest, NewerVault, VaultDamaged, WrongKey
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.git_protocol import Request

Endpoint = dict[str, str | None]

KEPT_S = 2 * 3600.0
"""How long a shared token's files are kept after their last change: as long as Bitbucket's tokens live."""
_PREFIX = "minted-"
"""What the names of their folders begin with."""


def mint(agent: Agent, fields: dict[str, str], body: bytes) -> bytes | Deferred:
    """One credential for each consumer, host and way there. Where it brings nothing, the reason is the answer.

    `endpoint` is that way as the caller has it: the daemon's own CA and proxy are those of who started it.
    """
    asked = _asked(agent, fields, body)
    if asked is None:
        return b""
    request, consumer = asked
    if agent.consumers_dir is None:
        agent.consumers = agent.consumers or _store(agent, Vault(MemoryStorage()))
        return _answer(agent.consumers, request, consumer)
    for _ in range(2):
        agent.consumers = store = _shared(agent, agent.consumers_dir, consumer)
        if store.credential_store.index().get(consumer.id) is None and not _is_ready(
            agent.consumers_dir, agent.clock()
        ):
            break
        answer = wait_for(_answer(store, request, consumer))  # in-process: no other request waits
        trouble = store.renewals.troubles.get(consumer.id) or store.credential_store.trouble
        if trouble is None and store.credential_store.index().get(consumer.id) is not None:
            return answer
        if not isinstance(trouble, (VaultDamaged, NewerVault, WrongKey)):
            break  # no room, or a renewal that another process does not end
        _discard(agent.consumers_dir, _folder(consumer))
    agent.consumers = _store(agent, Vault(MemoryStorage()))
    return _answer(agent.consumers, request, consumer)


def erase(agent: Agent, fields: dict[str, str], body: bytes) -> bytes | Deferred:
    """Judge the rejection of a consumer's token that processes share; empty where they share no such token."""
    asked = _asked(agent, fields, body)
    if asked is None or agent.consumers_dir is None:
        return b""
    request, consumer = asked
    agent.consumers = store = _shared(agent, agent.consumers_dir, consumer)
    shared = store.credential_store.index().get(consumer.id)
    secret = Secret(request.secret or "")
    if shared is None or not (not secret or shared.has_secret(secret) or shared.had_secret(secret)):
        return b""
    return store.erase(request)


def _asked(agent: Agent, fields: dict[str, str], body: bytes) -> tuple[Request, Credential] | None:
    """Git's request and the consumer that is to answer it; None for a host that is not ours."""
    request = git_protocol.parse(body)
    provider = agent.find_provider(request.protocol, request.host)
    if provider is None or request.protocol != "https":
        return None
    client_id, secret = fields.get("client_id"), Secret(fields.get("client_secret", ""))
    if not client_id or not secret:
        raise InvalidRequest("the request lacks the OAuth consumer's key or secret")
    endpoint = _endpoint(fields["endpoint"]) if "endpoint" in fields else provider.endpoint.to_record()
    return request, _of_consumer(request, client_id, secret, endpoint, agent.clock())


def _answer(store: Agent, request: Request, consumer: Credential) -> bytes | Deferred:
    repository = matching.repository_of(request)

    def choose(index: Index) -> matching.Match:
        found = index.get(consumer.id)
        return matching.Match(repository, [found] if found is not None else [], [])

    def served() -> bytes | Deferred:
        answer = store.serve(Lookup(request, choose), store.credential_store.index())
        return map_answer(answer, partial(or_diagnosis, store, consumer.id, repository))

    if store.credential_store.index().get(consumer.id) is not None:
        return served()
    # A job: another consumer's renewal may hold the memory's lock for as long as Bitbucket takes.
    return Deferred(store.submit(lambda: _add(store, consumer)), served)


def _store(agent: Agent, vault: Vault) -> Agent:
    return Agent(
        vault,
        Vault(MemoryStorage()),
        agent.find_provider,
        lambda _: None,
        agent.submit,
        agent.clock,
        submit_renewal=agent.submit_renewal,
    )


def _shared(agent: Agent, directory: str, consumer: Credential) -> Agent:
    """A store for one consumer alone, in a file that only who has the consumer's secret can open.

    Its lease is what makes one of many processes ask Bitbucket, while the others wait for the answer.
    """
    from git_credential_bitbucket.vault import key_sources  # lazy: a daemon shares nothing by files
    from git_credential_bitbucket.vault.storage.file import FileStorage  # lazy: as above

    secret = consumer.client_secret or Secret("")
    key = key_sources.from_secret(secret, f"minted tokens of {consumer.id}")
    return _store(agent, Vault(FileStorage(f"{directory}/{_folder(consumer)}/token"), key))


def _folder(consumer: Credential) -> str:
    return f"{_PREFIX}{consumer.id}"


def _discard(directory: str, *folders: str) -> None:
    """Remove the files of consumers; what cannot be removed stays."""
    for folder in folders:
        import shutil  # lazy: only for what is damaged, or of no use any more

        shutil.rmtree(f"{directory}/{folder}", ignore_errors=True)


def _is_ready(directory: str, now: float) -> bool:
    """Whether there is a private directory to share tokens in; rid of those that have ended."""
    try:
        paths.make_private_dir(directory)
        entries = [entry for entry in os.scandir(directory) if entry.name.startswith(_PREFIX)]
        _discard(directory, *(entry.name for entry in entries if abs(now - entry.stat().st_mtime) > KEPT_S))
    except (OSError, Error):
        return False
    return True


def _of_consumer(request: Request, client_id: str, secret: Secret, endpoint: Endpoint, now: float) -> Credential:
    """The consumer as a credential, its first token yet to be minted."""
    host = scopes.scope_of(request.protocol, request.host, None)
    way = json.dumps(endpoint, sort_keys=True)
    return Credential(
        id=digest(Secret(f"{host}\n{client_id}\n{secret.reveal()}\n{way}")),
        kind=token_kinds.CLIENT_CREDENTIALS,
        place=host,
        secret=Secret(""),
        client_id=client_id,
        client_secret=secret,
        endpoint=endpoint,
        created_at=now,
        origin="environment",
    )


def _add(store: Agent, consumer: Credential) -> None:
    """Put a consumer into the store, in the place of the same one with another secret. A job.

    Where many ask at once, all but the first find it there, and what was minted for it meanwhile.
    """
    with store.credential_store.vault.transaction() as tx:
        records = tx.content.setdefault("credentials", [])
        if any(record["id"] == consumer.id for record in records):
            return
        new = consumer.to_record()
        same = ("place", "client_id", "endpoint")
        records[:] = [*(old for old in records if any(old[field] != new[field] for field in same)), new]


def _endpoint(text: str) -> Endpoint:
    """A caller's endpoint, as one JSON object. Raises `InvalidRequest`, or `SettingsError` where something is amiss."""
    from git_credential_bitbucket.bitbucket import providers  # lazy: git's own operations need none of it

    try:
        return providers.Endpoint.from_record(dict(json.loads(text))).to_record()
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest("the endpoint is malformed") from None
