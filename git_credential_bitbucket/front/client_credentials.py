"""A `get` by the OAuth consumer in the environment: its token is minted by the holder, into memory.

The holder learns how the caller reaches the host, for its own CA and proxy are those of whoever started it.
"""

import json
import os

from git_credential_bitbucket import wire
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import environment
from git_credential_bitbucket.client.ask import Holder
from git_credential_bitbucket.client.environment import EnvironmentCredential
from git_credential_bitbucket.front import unanswered


def get(request: wire.Request, data: bytes, consumer: EnvironmentCredential, holder: Holder) -> bytes:
    """The answer; where it is empty, the reason has been told. The consumer goes before the vault, as a token does.

    Nobody is asked, for it is not a person's. Raises an `Error`.
    """
    provider = providers.find_now(os.environ, request.protocol, request.host)
    fields = [("client_id", consumer.client_id or ""), ("client_secret", consumer.secret.reveal())]
    if provider is not None:
        fields.append(("endpoint", json.dumps(provider.endpoint.to_record())))
    body = wire.emit(fields) + data

    def mint() -> bytes:
        if holder.in_process:
            # Nobody here remembers that the token before this one was rejected as soon as it was minted.
            environment.check(consumer, request.base, os.environ)
        return holder.answer("mint", body)

    reply = mint()
    for mend in (unanswered.taken_back, unanswered.known_here):
        if not reply and mend(unanswered.reason(data, holder), holder):
            reply = mint()
    if not reply:
        unanswered.tell_reason(unanswered.reason(data, holder))
    return reply
