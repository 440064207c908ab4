"""A provider that is the stand-in, a redirect on a free port, and a login that runs beside the test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_credential_bitbucket.bitbucket.providers import Provider
from git_credential_bitbucket.login import loopback
from git_credential_bitbucket.login.authorization import Attempt
from git_credential_bitbucket.secret import Secret
from tests.bitbucket.strange import endpoint_at
from tests.fake_bitbucket.client import ConsumerKey, FakeBitbucket
from tests.login.chromium import Chromium
from tests.login.logins import no_warning
from tests.sockets import free_port


@pytest.fixture
def port() -> int:
    """A port that is free on both loopback addresses."""
    return free_port()


@pytest.fixture
def consumer(bitbucket: FakeBitbucket, port: int) -> ConsumerKey:
    """A consumer that has registered exactly this test's redirect."""
    return bitbucket.add_consumer(callback=f"http://localhost:{port}/")


@pytest.fixture
def provider(bitbucket: FakeBitbucket, consumer: ConsumerKey) -> Provider:
    """The stand-in, as a person has configured it."""
    return Provider(
        protocol="https",
        host=bitbucket.netloc,
        endpoint=endpoint_at(bitbucket.url, bitbucket.ca_file, api_url=bitbucket.api_url),
        redirect_uri=consumer.callback,
        client_id=consumer.key,
        client_secret=Secret(consumer.secret),
    )


@pytest.fixture
def cloud() -> Provider:
    """A provider for tests that ask nobody."""
    return Provider("https", "bitbucket.org", endpoint_at("https://bitbucket.org", None))._replace(
        redirect_uri="http://localhost:1/"
    )


@pytest.fixture
def attempt(cloud: Provider, port: int) -> Attempt:
    """A login whose redirect has a path, on a free port."""
    return Attempt(cloud._replace(redirect_uri=f"http://localhost:{port}/callback"), "key", ())


@pytest.fixture
def waiting(attempt: Attempt) -> Iterator[loopback.Loopback]:
    """A server that waits for its answer."""
    with loopback.listening(attempt, no_warning) as server:
        yield server


@pytest.fixture
def chromium(bitbucket: FakeBitbucket, tmp_path: Path) -> Iterator[Chromium]:
    """A real browser, which takes the stand-in's certificate."""
    with Chromium(tmp_path, bitbucket.url) as browser:
        yield browser


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Where screenshots go: kept if TEST_ARTEFACTS names a directory."""
    kept = os.environ.get("TEST_ARTEFACTS")
    if not kept:
        return tmp_path
    Path(kept).mkdir(parents=True, exist_ok=True)
    return Path(kept)
