"""Tells that a token ends soon, after a command of git's that worked with it; whether it is time, the holder knows."""

import os

from git_credential_bitbucket import wire
from git_credential_bitbucket.client import person, tell
from git_credential_bitbucket.client.ask import Holder, pairs
from git_credential_bitbucket.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "GIT_CREDENTIAL_BITBUCKET_WARN"
"""Set to 1, warnings are told in a build as well; set to 0, nowhere."""


def is_wanted(env: "Mapping[str, str]") -> bool:
    """Whether warnings are to be told here: what the variable says, else everywhere but in a build (`CI`)."""
    asked = env.get(VARIABLE, "").lower()
    return asked not in person.NO if asked else not person.is_build(env)


def tell_of(acknowledgement: bytes, holder: Holder) -> None:
    """Ask for the words about the credential that an acknowledgement names, and say them: they count as told then.

    Where they are not wanted the holder learns that, and does not send the next git here for a while.
    """
    credential_id = dict(pairs(acknowledgement)).get("warn")
    if credential_id is None:
        return
    wanted = is_wanted(os.environ)
    fields = [("id", credential_id), *([] if wanted else [("hush", "1")])]
    try:
        told = dict(pairs(holder.reply("warn", wire.emit(fields))))
    except Error:  # what git asked for is done, and the next command will tell
        return
    if "warning" in told:
        tell.warning(told["warning"], told.get("hint"))
