"""Tells what a person should know of a token that just worked: that it ends soon, is in memory only, or how it is kept.

Whether it is time to, the client knows.
"""

import os

from git_credential_bitbucket import config, git_config, git_protocol
from git_credential_bitbucket.client import interactivity, messages
from git_credential_bitbucket.client.agent_client import AgentClient
from git_credential_bitbucket.errors import Error, SettingsError

BESIDE_HINT = (
    "to use the new one instead, run: git-credential-bitbucket login; to see both: git-credential-bitbucket status"
)
BOUND_HINT = "to use it for other repositories, run: git-credential-bitbucket login"
MEMORY_HINT = "it is lost when the daemon stops; to store it encrypted, run: git-credential-bitbucket login"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE = "GIT_CREDENTIAL_BITBUCKET_WARN"
"""Set to 1, warnings are told in a build as well; set to 0, nowhere."""


def is_wanted(env: "MutableMapping[str, str]") -> bool:
    """Whether warnings are to be told here: what the variable says, else everywhere but in a build (`CI`)."""
    by_default = not interactivity.is_ci(env)
    try:
        git_config.adopt(env)
        return config.is_on(env, VARIABLE, default=by_default)
    except SettingsError as exc:  # what git asked for is done all the same
        messages.warning(exc.cause, exc.hint)
        return by_default


def print_notices(acknowledgement: bytes, client: AgentClient) -> None:
    """Say what an acknowledgement has to say; for `warn`, ask for the words first: they count as told then.

    Where they are not wanted the client learns that, and does not send the next git here for a while.
    """
    said = dict(git_protocol.parse_pairs(acknowledgement))
    if said.get("kept") == "memory":
        messages.warning("the secret is stored in memory only: there is no key to encrypt it", MEMORY_HINT)
    if said.get("kept") == "beside":
        what = "a working credential for the same scope stays in use; the new one was stored as a fallback"
        messages.warning(what, BESIDE_HINT)
    if said.get("kept") == "bound":
        what = "no one was asked for this secret, so it was stored for the username and path of this request only"
        messages.warning(what, BOUND_HINT)
    credential_id = said.get("warn")
    if credential_id is None:
        return
    wanted = is_wanted(os.environ)
    fields = [("id", credential_id), *([] if wanted else [("hush", "1")])]
    try:
        told = dict(git_protocol.parse_pairs(client.reply("warn", git_protocol.emit(fields))))
    except Error:  # what git asked for is done, and the next command will tell
        return
    if "warning" in told:
        messages.warning(told["warning"], told.get("hint"))
