"""A `get` by the OAuth consumer in the environment: its token is minted by the holder, into memory.

The holder learns how the caller reaches the host, for its own CA and proxy are those of whoever started it.
"""

import json
import os

from git_credential_bitbucket import settings, wire
from git_credential_bitbucket.bitbucket import hosts, providers
from git_credential_bitbucket.client import environment
from git_credential_bitbucket.client.ask import Holder
from git_credential_bitbucket.errors import SettingsError
from git_credential_bitbucket.front import unanswered


def answer(request: wire.Request, data: bytes, client: environment.Client, holder: Holder) -> bytes:
    """The answer; where it is empty, the reason has been told. The consumer goes before the vault, as a token does.

    Nobody is asked, for it is not a person's. Raises an `Error`.
    """
    endpoint = endpoint_of(request)
    fields = [("client_id", client.id), ("client_secret", client.secret.reveal())]
    if endpoint is not None:
        fields.append(("endpoint", json.dumps(endpoint)))
    body = wire.emit(fields) + data
    reply = asked(request, body, client, holder)
    for mend in (unanswered.taken_back, unanswered.known_here):
        if not reply and mend(unanswered.reason(data, holder), holder):
            reply = asked(request, body, client, holder)
    if not reply:
        unanswered.tell_reason(unanswered.reason(data, holder))
    return reply


def asked(request: wire.Request, body: bytes, client: environment.Client, holder: Holder) -> bytes:
    """What the holder answers. Raises an `Error`."""
    if holder.in_process:
        # Nobody here remembers that the token before this one was rejected as soon as it was minted.
        environment.check(request, client, os.environ)
    return holder.answer("mint", body)


def endpoint_of(request: wire.Request) -> dict[str, str | None] | None:
    """Where the host's endpoints are for this caller, and how they are reached; None where nothing names the host."""
    try:
        read = settings.read(os.environ)
    except SettingsError:
        if not hosts.is_cloud(request.protocol, request.host):
            raise
        read = None
    found = providers.find(read, request.protocol, request.host, os.environ)
    return None if found is None else found.endpoint.to_record()
