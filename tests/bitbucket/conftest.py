"""Where the stand-in is, as the package knows it, and a consumer there."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket.bitbucket.providers import Endpoint
from git_credential_bitbucket.secret import Secret
from tests.bitbucket.strange import Strange
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.sandbox import endpoint_of


@pytest.fixture
def endpoint(bitbucket: FakeBitbucket) -> Endpoint:
    """Where the stand-in is."""
    return endpoint_of(bitbucket)


@pytest.fixture
def secret(consumer: ConsumerKey) -> Secret:
    """The consumer's secret, as the package holds it."""
    return Secret(consumer.secret)


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[Callable[..., Strange]]:
    """Makes such servers: `strange(answer, names=…, ends=…)`, `ends` in days from now."""
    made: list[Strange] = []

    def make(
        answer: Callable[[ssl.SSLSocket], None], names: tuple[str, ...] = ("127.0.0.1",), ends: int = 1
    ) -> Strange:
        made.append(Strange(tmp_path, answer, list(names), ends))
        return made[-1]

    yield make
    for each in made:
        each.close()
