"""What to say where no credential is kept: a consumer's other half is not set, or nobody can log in, for it is a build.

Imports os, environment and interactivity.
"""

import os

from git_credential_bitbucket.client import environment, interactivity
from git_credential_bitbucket.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IN_A_BUILD = "give the job a token, as a secret variable: BITBUCKET_ACCESS_TOKEN or BITBUCKET_API_TOKEN"


def add_hint(why: "Mapping[str, str]") -> Problem:
    """What is wrong by a client's answer to `why`, as this process's environment has it."""
    cause, hint = why.get("error", "there is no credential"), why.get("hint")
    if why.get("state") != "none":
        return Problem(cause, hint)
    return environment.unusable(os.environ) or Problem(cause, hint if "damaged" in why else in_a_build() or hint)


def in_a_build() -> str | None:
    """What can be done instead of a login in a build, where nobody could; None elsewhere."""
    return IN_A_BUILD if interactivity.is_build(os.environ) else None
