"""The verb `mint`: a `get` by the OAuth consumer in a caller's environment. Its tokens have a store of their own.

That is an agent of their own, over memory only: nobody but who has the consumer is told of them or given one.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import matching
from git_credential_bitbucket.agent.agent import Agent, Lookup
from git_credential_bitbucket.agent.credential import Credential, digest
from git_credential_bitbucket.agent.deferred import Deferred, changed
from git_credential_bitbucket.agent.diagnosis import or_why
from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.errors import RequestRefused
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.git_protocol import Request

Endpoint = dict[str, str | None]


def mint(agent: Agent, fields: dict[str, str], body: bytes) -> bytes | Deferred:
    """One credential for each consumer, host and way there. Where it brings nothing, the reason is the answer.

    `endpoint` is that way by the caller's configuration and environment: our own CA and proxy are those of whoever
    started us.
    """
    request = git_protocol.parse(body)
    provider = agent.find_provider(request.protocol, request.host)
    if provider is None or request.protocol != "https":
        return b""
    client_id, secret = fields.get("client_id"), Secret(fields.get("client_secret", ""))
    if not client_id or not secret:
        raise RequestRefused("the verb needs an OAuth consumer's key and secret")
    endpoint = _endpoint(fields["endpoint"]) if "endpoint" in fields else provider.endpoint.to_record()
    consumer = _of_consumer(request, client_id, secret, endpoint, agent.clock())
    if agent.consumers is None:
        agent.consumers = Agent(
            Vault(MemoryStorage()),
            Vault(MemoryStorage()),
            agent.find_provider,
            lambda _: None,
            agent.submit,
            agent.clock,
            submit_renewal=agent.submit_renewal,
        )
    store = agent.consumers

    def choose(index: Index) -> matching.Match:
        found = index.get(consumer.id)
        return matching.Match(matching.repository_of(request), [found] if found is not None else [], [])

    def served() -> bytes | Deferred:
        answer = store.serve(Lookup(request, choose), store.holdings.index())
        return changed(answer, partial(or_why, store, consumer.id))

    if store.holdings.index().get(consumer.id) is not None:
        return served()
    # A job: another consumer's renewal may hold the memory's lock for as long as Bitbucket takes.
    return Deferred(store.submit(lambda: _add(store, consumer)), served)


def _of_consumer(request: Request, client_id: str, secret: Secret, endpoint: Endpoint, now: float) -> Credential:
    """The consumer as a credential, its first token yet to be minted."""
    host = scopes.place_of(request.protocol, request.host, None)
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
    with store.holdings.vault.transaction() as tx:
        records = tx.content.setdefault("credentials", [])
        if any(record["id"] == consumer.id for record in records):
            return
        new = consumer.to_record()
        same = ("place", "client_id", "endpoint")
        records[:] = [*(old for old in records if any(old[field] != new[field] for field in same)), new]


def _endpoint(text: str) -> Endpoint:
    """A caller's endpoint, as one JSON object. Raises `RequestRefused`, or `SettingsError` where something is amiss."""
    from git_credential_bitbucket.bitbucket import providers  # lazy: git's own operations need none of it

    try:
        return providers.Endpoint.from_record(dict(json.loads(text))).to_record()
    except (TypeError, ValueError, RecursionError):
        raise RequestRefused("the endpoint is not readable") from None
