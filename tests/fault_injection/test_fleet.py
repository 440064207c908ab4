"""Two hosts, each with a daemon, and one vault on a real server: what one stores, and what a killed server costs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.daemon.daemons import Daemon, eventually
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection.sandbox import Machine, machines_with_one_vault
from tests.valkey import Valkey


@pytest.fixture
def hosts(home: Path, bitbucket: FakeBitbucket, valkey: Valkey) -> Iterator[list[Machine]]:
    """Two homes with one key and the same shared vault; their daemons end with the test."""
    made = machines_with_one_vault(home, bitbucket, valkey.url, 2)
    yield made
    for machine in made:
        for daemon in machine.started:
            daemon.end()


def gives(daemon: Daemon, request: bytes, secret: str) -> bool:
    """Whether a daemon answers with that secret."""
    return daemon.told_about("get", request).get("password") == secret


def test_what_one_host_stores_the_other_serves_at_once(hosts: list[Machine]) -> None:
    """It is told of changes, and needs no server for a `get`; what is logged out on one is gone on both."""
    one, two = (host.daemon() for host in hosts)
    assert two.told_about("get", hosts[1].request()) == {}
    for _ in range(2):
        secret = hosts[0].standin.issue_access_token("acme/app")
        kept = hosts[0].add(one, kind="access-token", secret=secret)
        eventually(partial(gives, two, hosts[1].request(), secret))
        assert "ok" in two.told_about("remove", f"id={kept}\n".encode())
        eventually(lambda: one.told_about("get", hosts[0].request()) == {})


def test_a_killed_server_loses_nothing(hosts: list[Machine], valkey: Valkey) -> None:
    """Hosts serve what they have, also from cold; with the server back, one of them renews, and both have the token."""
    one, two = (host.daemon() for host in hosts)
    login = hosts[0].log_in(one)
    eventually(lambda: bool(two.told_about("get", hosts[1].request())))
    secret = two.told_about("get", hosts[1].request())["password"]
    valkey.stop()
    two.end()
    two = hosts[1].daemon()
    assert {d.told_about("get", h.request())["password"] for d, h in zip((one, two), hosts, strict=True)} == {secret}
    eventually(lambda: "cannot be used" in two.told_about("status").get("trouble", ""))
    assert "cannot be used" in one.told_about("refresh", f"id={login}\n".encode())["error"]
    assert hosts[0].standin.token_requests() == []
    valkey.start()
    eventually(lambda: "ok" in one.told_about("refresh", f"id={login}\n".encode()))
    new = one.told_about("get", hosts[0].request())["password"]
    eventually(lambda: two.told_about("get", hosts[1].request())["password"] == new)
    assert len(hosts[0].standin.token_requests()) == 1
    assert "trouble" not in two.told_about("status")
