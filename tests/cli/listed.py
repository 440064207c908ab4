"""Owns a look at what is kept, by the verb that tells it to programs."""

from typing import Any

from tests.cli.schemas import validated
from tests.running import Runner


def listed(run: Runner) -> list[dict[str, Any]]:
    """The credentials as `status --json` states them."""
    document = validated("status", run("git-credential-bitbucket", "status", "--json").stdout)
    credentials: list[dict[str, Any]] = document["credentials"]
    return credentials
