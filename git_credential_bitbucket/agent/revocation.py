"""Tells Bitbucket that a log-in which was removed here is over: best effort, and the truth about the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.errors import Error

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.credential import Credential

REVOKED, REFUSED, UNTOLD, NOTHING = "yes", "no", "unknown", "nothing"
"""What became of it: Bitbucket took it, refused it, gave no answer that tells, or there was nothing to revoke."""


def revoke(credential: Credential) -> str:
    """Revoke what an OAuth log-in holds; one of the words above. A job: may take as long as Bitbucket does.

    The endpoint is undocumented. It is given the refresh token, with which the access tokens of the same grant go
    (RFC 7009, section 2.1). A token that a person made is only theirs to revoke, on Bitbucket's page.
    """
    token = credential.refresh_token or credential.secret
    if credential.kind not in kinds.RENEWABLE or not token or credential.endpoint is None or not credential.client_id:
        return NOTHING
    # here, not above: requests costs 100 ms, and only a log-out revokes
    from git_credential_bitbucket.bitbucket import oauth
    from git_credential_bitbucket.bitbucket.providers import Endpoint

    try:
        taken = oauth.revoke(
            Endpoint.from_record(credential.endpoint), credential.client_id, credential.client_secret, token
        )
    except Error:  # an endpoint that may not be used: it is removed here all the same
        return UNTOLD
    return {True: REVOKED, False: REFUSED, None: UNTOLD}[taken]
