"""Requests without a daemon and without the vault's key.

A daemon is unlocked once, a command each time. A secret that git got is marked (`secret_markers`), so that git's
`store` of it, by another process, is recognised and needs no key.
"""

import os

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import hosts, token_kinds
from git_credential_bitbucket.client import messages, secret_markers
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error, InsecurePath, VaultLocked
from git_credential_bitbucket.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLES = ("GIT_CREDENTIAL_BITBUCKET_KEY", "GIT_CREDENTIAL_BITBUCKET_KEY_FILE")


def has_key() -> bool:
    """Whether the environment or git's configuration names the vault's key."""
    from git_credential_bitbucket import git_config  # lazy: it runs git, and only a locked vault makes it necessary

    git_config.adopt(os.environ)
    return any(map(os.environ.get, KEY_VARIABLES))


def store_or_erase(operation: str, request: git_protocol.Request, data: bytes, client: AgentClient) -> bytes:
    """The reply to a `store` or `erase`. Raises an `Error` where a secret is not stored."""
    try:
        return client.answer(operation, data)
    except Error as exc:
        if operation != "store" or not client.in_process or not is_locked(data, client):
            raise
        if is_given(request):
            messages.trace("store: the secret comes from the vault, so nothing is stored")
            return b""
        host = hosts.host_option(request.protocol, request.host)
        hint = exc.hint if has_key() else f"to store it, run: git-credential-bitbucket login{host}"
        raise VaultLocked(f"the secret was not stored: {exc.cause}", hint=hint) from exc


def is_locked(data: bytes, client: AgentClient) -> bool:
    """Whether the vault is locked."""
    return dict(git_protocol.parse_pairs(client.reply("why", data))).get("state") == "locked"


def mark_given(request: git_protocol.Request, given: bytes) -> None:
    """Mark the token for which the vault was just unlocked; without a mark, git's `store` of it warns."""
    told = dict(git_protocol.parse_pairs(given))
    if told.get("username") not in token_kinds.TOKEN_USERNAMES:
        return  # a password, which might be guessed from a digest
    try:
        secret_markers.mark(os.environ, request.base, Secret(told["password"]), secret_markers.GIVEN)
    except InsecurePath:
        return


def is_given(request: git_protocol.Request) -> bool:
    """Whether git stores a token that it got from the vault."""
    if request.password is None:
        return False
    return secret_markers.is_marked(os.environ, request.base, Secret(request.password), secret_markers.GIVEN)


def locked_hint(request: git_protocol.Request, why: "Mapping[str, str]", client: AgentClient) -> str:
    """The hint where no prompt for the key is possible; `unlock` would need a daemon."""
    if has_key():
        return why.get("hint", "")
    if client.replaces_daemon:
        setting = f"'credential.{request.protocol}://{request.host}.provider'"
        return f"to let the daemon answer, which may have the key, run: git config --global {setting} bitbucket"
    return "run the command at a terminal, or run: git-credential-bitbucket rekey --to key-file --key-file FILE"
