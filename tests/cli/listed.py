"""Owns what the tests of many verbs do with the vault: keep a login in it, and look at what is kept."""

from typing import Any

from tests.cli.schemas import validated
from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner


def listed(run: Runner) -> list[dict[str, Any]]:
    """The credentials as `status --json` states them."""
    document = validated("status", run("git-credential-bitbucket", "status", "--json").stdout)
    credentials: list[dict[str, Any]] = document["credentials"]
    return credentials


def keep_consumer(run: Runner, bitbucket: FakeBitbucket) -> str:
    """A login that can be renewed and revoked; returns what was said."""
    consumer = bitbucket.add_consumer()
    words = ("login", "--client-credentials", "--host", bitbucket.url)
    return run("git-credential-bitbucket", *words, stdin=f"{consumer.key}\n{consumer.secret}\n").stdout
