"""Owns what the stand-in's own tests share: git with a credential, requests without surprises."""

import shlex
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.fake_bitbucket.client import FakeBitbucket
from tests.running import Runner

API_TOKEN_USERNAME = "x-bitbucket-api-token-auth"
TOKEN_USERNAME = "x-token-auth"

Configure = Callable[[str, str], None]


@pytest.fixture
def credential(run: Runner) -> Configure:
    """Makes git answer with that username and secret, as a helper would."""

    def configure(username: str, secret: str) -> None:
        body = f"echo username={shlex.quote(username)}; echo password={shlex.quote(secret)};"
        run("git", "config", "--global", "credential.helper", f"!f() {{ test $1 = get && {{ {body} }}; }}; f")

    return configure


@pytest.fixture
def http(bitbucket: FakeBitbucket) -> Iterator[requests.Session]:
    """A session that trusts the stand-in and nothing in the environment."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = bitbucket.ca_file
        yield session
