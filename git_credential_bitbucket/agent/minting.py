"""The verb `mint`: a `get` by a caller's own OAuth consumer. Its credential is in memory only."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent import keeping, routing
from git_credential_bitbucket.agent.agent import Asking
from git_credential_bitbucket.agent.credential import Credential, digest
from git_credential_bitbucket.agent.deferred import Deferred, changed
from git_credential_bitbucket.agent.holdings import ENVIRONMENT
from git_credential_bitbucket.agent.why import or_why
from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.errors import RequestRefused
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.routing import Index

Record = dict[str, str | None]


def mint(agent: Agent, fields: dict[str, str], body: bytes) -> bytes | Deferred:
    """One credential for each consumer, host and way there. Where it brings nothing, the reason is the answer.

    `endpoint` is that way by the caller's configuration and environment: our own CA and proxy are those of whoever
    started us.
    """
    request = wire.parse(body)
    provider = agent.find_provider(request.protocol, request.host)
    if provider is None or request.protocol != "https":
        return b""
    client_id, secret = fields.get("client_id"), Secret(fields.get("client_secret", ""))
    if not client_id or not secret:
        raise RequestRefused("the verb needs an OAuth consumer's key and secret")
    endpoint = _endpoint(fields["endpoint"]) if "endpoint" in fields else provider.endpoint.to_record()
    host_place = routing.place_of(request.protocol, request.host, None)
    way = json.dumps(endpoint, sort_keys=True)
    credential_id = digest(Secret(f"{host_place}\n{client_id}\n{secret.reveal()}\n{way}"))
    credential = Credential(
        id=credential_id,
        kind=kinds.CLIENT_CREDENTIALS,
        place=host_place,
        secret=Secret(""),
        client_id=client_id,
        client_secret=secret,
        endpoint=endpoint,
        created_at=agent.clock(),
        origin=ENVIRONMENT,
    )

    def choose(index: Index) -> list[Credential]:
        found = index.get(credential_id)
        return [found] if found is not None else []

    def served() -> bytes | Deferred:
        answer = agent.serve(Asking(request, choose), agent.holdings.index())
        return changed(answer, partial(or_why, agent, credential_id))

    if agent.holdings.index().get(credential_id) is not None:
        return served()
    # A job: another consumer's renewal may hold the memory's lock for as long as Bitbucket takes.
    return Deferred(agent.submit(lambda: keeping.remember(agent.holdings, credential)), served)


def _endpoint(text: str) -> Record:
    """A caller's endpoint, as one JSON object. Raises `RequestRefused`, or `SettingsError` where something is amiss."""
    from git_credential_bitbucket.bitbucket.providers import Endpoint  # here, not above: git itself needs none of it

    try:
        return Endpoint.from_record(dict(json.loads(text))).to_record()
    except (TypeError, ValueError, RecursionError):
        raise RequestRefused("the endpoint is not readable") from None
