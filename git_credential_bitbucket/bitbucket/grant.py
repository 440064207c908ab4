"""What a token endpoint grants, as plain values. Imports Secret only."""

from dataclasses import dataclass

from git_credential_bitbucket.secret import Secret


@dataclass(frozen=True, slots=True)
class Grant:
    """What Bitbucket granted. `expires_in` is in seconds from now, None if it did not say; then it is
    short.

    `refresh_token` is None if none came: client credentials are minted again, and without rotation the old
    one stays.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_in: int | None
    scopes: tuple[str, ...]
