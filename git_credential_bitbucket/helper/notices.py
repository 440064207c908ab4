"""Notices after a `store` or a used token: it expires soon, is in memory only, or how it was stored."""

import os

from git_credential_bitbucket import config, git_config, git_protocol
from git_credential_bitbucket.client import interactivity, messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error, SettingsError

KEPT = {
    "memory": (
        "the secret is stored in memory only: there is no key to encrypt it",
        "it is lost when the daemon stops; to store it encrypted, run: git-credential-bitbucket login",
    ),
    "beside": (
        "a working credential for the same scope stays in use; the new one was stored as a fallback",
        "to use the new one instead, run: git-credential-bitbucket login; to see both: git-credential-bitbucket status",
    ),
    "bound": (
        "no one was asked for this secret, so it was stored for the username and path of this request only",
        "to use it for other repositories, run: git-credential-bitbucket login",
    ),
}
"""How a secret that git just stored was kept, with the hint."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE = "GIT_CREDENTIAL_BITBUCKET_WARN"
"""1: warnings in CI as well; 0: no warnings."""


def is_wanted(env: "MutableMapping[str, str]") -> bool:
    """Whether warnings are printed: as the variable says, else unless this is a CI job."""
    by_default = not interactivity.is_ci(env)
    try:
        git_config.adopt(env)
        return config.is_on(env, VARIABLE, default=by_default)
    except SettingsError as exc:  # git's request is done all the same
        messages.warning(exc.cause, exc.hint)
        return by_default


def print_notices(acknowledgement: bytes, client: AgentClient) -> None:
    """Print the notices in an acknowledgement; the text of a `warn` is requested first and counts as shown then.

    Where warnings are off, the daemon is told so, and sends none for a while.
    """
    said = dict(git_protocol.parse_pairs(acknowledgement))
    if (kept := KEPT.get(said.get("kept", ""))) is not None:
        messages.warning(*kept)
    credential_id = said.get("warn")
    if credential_id is None:
        return
    wanted = is_wanted(os.environ)
    fields = [("id", credential_id), *([] if wanted else [("hush", "1")])]
    try:
        told = dict(git_protocol.parse_pairs(client.reply("warn", git_protocol.emit(fields))))
    except Error:  # git's request is done, and the next command warns
        return
    if "warning" in told:
        messages.warning(told["warning"], told.get("hint"))
