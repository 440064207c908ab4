"""Access tokens for the OAuth consumer in the environment, obtained by the daemon and kept in memory.

The daemon is told how the caller reaches the host: its own CA and proxy are those of the process that started it.
"""

import json
import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import providers
from git_credential_bitbucket.client import environment_tokens, messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error


def mint(
    request: git_protocol.Request, data: bytes, consumer: environment_tokens.EnvironmentCredential, client: AgentClient
) -> bytes:
    """The answer to git's `get`; empty where there is none. Raises an `Error`."""
    environment_tokens.check_product(consumer, request.base, os.environ)
    if client.in_process:
        # Where processes share no token, only the marker remembers that a new one was rejected.
        environment_tokens.check(consumer, request.base, os.environ)
    return client.answer("mint", _fields(request, consumer) + data)


def erase(
    request: git_protocol.Request, data: bytes, consumer: environment_tokens.EnvironmentCredential, client: AgentClient
) -> bool:
    """Report a rejection; returns whether it was recorded where processes share the token, and a new one comes next."""
    try:
        return bool(client.answer("mint-erase", _fields(request, consumer) + data))
    except Error as exc:
        messages.trace(f"erase: {exc.cause}")
        return False


def _fields(request: git_protocol.Request, consumer: environment_tokens.EnvironmentCredential) -> bytes:
    provider = providers.find_now(os.environ, request.protocol, request.host)
    fields = [("client_id", consumer.client_id or ""), ("client_secret", consumer.secret.reveal())]
    if provider is not None:
        fields.append(("endpoint", json.dumps(provider.endpoint.to_record())))
    return git_protocol.emit(fields)
