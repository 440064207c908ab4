"""Owns a look at what is kept, by the verb that tells it to programs."""

import json
from typing import Any

from tests.running import Runner


def listed(run: Runner) -> list[dict[str, Any]]:
    """The credentials as `status --json` states them."""
    document = json.loads(run("git-credential-bitbucket", "status", "--json").stdout)
    credentials: list[dict[str, Any]] = document["credentials"]
    return credentials
