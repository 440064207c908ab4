"""A `get` by the OAuth consumer in the environment: its token is minted by the holder, into memory.

The holder learns how the caller reaches the host, for its own CA and proxy are those of whoever started it.
"""

import json
import os

from git_credential_bitbucket import wire
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import environment
from git_credential_bitbucket.client.ask import Holder
from git_credential_bitbucket.front import unanswered


def answer(request: wire.Request, data: bytes, client: environment.Client, holder: Holder) -> bytes:
    """The answer; where it is empty, the reason has been told. The consumer goes before the vault, as a token does.

    Nobody is asked, for it is not a person's. Raises an `Error`.
    """
    provider = providers.find_now(os.environ, request.protocol, request.host)
    fields = [("client_id", client.id), ("client_secret", client.secret.reveal())]
    if provider is not None:
        fields.append(("endpoint", json.dumps(provider.endpoint.to_record())))
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
