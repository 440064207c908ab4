"""Owns the fault tests' fixtures: a machine on the stand-in whose daemons end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.daemons import Daemon
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection.sandbox import Machine


@pytest.fixture
def machine(home: Path, bitbucket: FakeBitbucket) -> Iterator[Machine]:
    """A machine with a key file and an OAuth consumer, and nothing in its vault; its daemons end with the test."""
    machine = Machine(home, bitbucket, bitbucket.add_consumer())
    yield machine
    for daemon in machine.started:
        daemon.end()


@pytest.fixture
def daemon(machine: Machine) -> Daemon:
    """A running daemon."""
    return machine.daemon()
