"""Owns the fault tests' fixtures: a machine on the stand-in whose daemons end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.machines import Machine
from tests.standin.client import StandIn


@pytest.fixture
def machine(home: Path, standin: StandIn) -> Iterator[Machine]:
    """A machine with a key file and an OAuth consumer, and nothing in its vault; its daemons end with the test."""
    machine = Machine(home, standin, standin.add_consumer())
    yield machine
    for daemon in machine.started:
        daemon.end()
