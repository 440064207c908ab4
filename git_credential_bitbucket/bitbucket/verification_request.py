"""How to ask a host about a secret: the one place where Cloud and Data Center part."""

from functools import partial
from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import data_center, hosts, rest, token_kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.bitbucket.providers import Endpoint
    from git_credential_bitbucket.secret import Secret


def prepare_verification(
    endpoint: "Endpoint", kind: str, email: str | None, secret: "Secret", repository: str | None = None
) -> "Callable[[], rest.Verdict]":
    """What asks Bitbucket about a secret: as git does where a `repository` (a scope) is known, else by REST."""
    if endpoint.product == hosts.DATA_CENTER:
        return partial(data_center.verify, endpoint, kind, secret, repository)
    if repository is not None and token_kinds.git_username(kind):
        return partial(rest.verify_for_git, endpoint, repository, kind, secret)
    return partial(rest.verify, endpoint, kind, email, secret)
