"""What a request to REST is signed with, by whatever the environment or the holder has. Imports kinds and environment.

Here because the verb `token` and `BitbucketAuth` must never differ in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.client import environment
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_THE_ACCOUNT = f"set {environment.EMAIL} to the address of the account that the token is of"


def from_environment(env: Mapping[str, str]) -> dict[str, str] | None:
    """The environment's token as the holder's `token` tells a kept one; it goes before those, as for git.

    `variable` is where it stands. Raises `SettingsError` where it is unusable.
    """
    found = environment.token(env)
    if found is None:
        return None
    return {
        "kind": found.kind,
        "username": found.username,
        "account": found.account or "",
        "password": found.secret.reveal(),
        "variable": found.variable,
    }


def header(told: Mapping[str, str]) -> str:
    """The value of `Authorization` for REST. Raises `SettingsError` where what REST needs to know is not known."""
    cure = _NAME_THE_ACCOUNT if "variable" in told else kinds.LOGIN_WITH_EMAIL
    return kinds.rest_header(told["kind"], told.get("account") or None, Secret(told["password"]), cure)
