"""Credentials for tests, with secrets made at run time."""

from __future__ import annotations

import secrets
from typing import Any

from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.retention import new_id
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.secret import Secret

HOST = "https://bitbucket.org"


def a_credential(place: str = HOST, kind: str = token_kinds.API_TOKEN, **fields: object) -> Credential:
    """A credential of `kind` for `place`, with a secret nobody has seen before."""
    prefix = {token_kinds.API_TOKEN: "ATATT", token_kinds.ACCESS_TOKEN: "ATCTT"}.get(kind, "")
    values: dict[str, Any] = {
        "id": new_id(),
        "secret": Secret(prefix + secrets.token_urlsafe(60)),
        "kind": kind,
        "place": place,
    }
    return Credential(**values | fields)


def an_oauth_login(place: str = HOST, *, minted_at: float = 0.0, life: float = 7200.0, **fields: object) -> Credential:
    """An OAuth login whose access token was minted at `minted_at` and lives `life` seconds."""
    values: dict[str, Any] = {
        "minted_at": minted_at,
        "expires_at": minted_at + life,
        "refresh_token": Secret(secrets.token_urlsafe(40)),
        "client_id": "consumer",
        "client_secret": Secret(secrets.token_urlsafe(20)),
        "endpoint": {},
    }
    return a_credential(place, token_kinds.OAUTH, **values | fields)
