"""A `get` by the OAuth consumer in the environment, and what can be mended where it brings nothing."""

from git_credential_bitbucket import wire
from git_credential_bitbucket.client import client_credentials
from git_credential_bitbucket.client.ask import Holder
from git_credential_bitbucket.client.environment import EnvironmentCredential
from git_credential_bitbucket.front import unanswered


def get(request: wire.Request, data: bytes, consumer: EnvironmentCredential, holder: Holder) -> bytes:
    """The answer; where it is empty, the reason has been told. The consumer goes before the vault, as a token does.

    Nobody is asked, for it is not a person's. Raises an `Error`.
    """

    def mint() -> bytes:
        return client_credentials.mint(request, data, consumer, holder)

    reply = mint()
    for mend in (unanswered.taken_back, unanswered.known_here):
        if not reply and mend(unanswered.reason(data, holder), holder):
            reply = mint()
    if not reply:
        unanswered.tell_reason(unanswered.reason(data, holder))
    return reply
