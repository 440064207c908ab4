"""A `get` by the OAuth consumer in the environment, and what can be mended where it brings nothing."""

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import client_credentials
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.client.environment import EnvironmentCredential
from git_credential_bitbucket.helper import no_credential


def get(request: git_protocol.Request, data: bytes, consumer: EnvironmentCredential, client: AgentClient) -> bytes:
    """The answer; where it is empty, the reason has been told. The consumer goes before the vault, as a token does.

    Nobody is asked, for it is not a person's. Raises an `Error`.
    """

    def mint() -> bytes:
        return client_credentials.mint(request, data, consumer, client)

    reply = mint()
    for mend in (no_credential.taken_back, no_credential.known_here):
        if not reply and mend(no_credential.reason(data, client), client):
            reply = mint()
    if not reply:
        no_credential.tell_reason(no_credential.reason(data, client))
    return reply
