"""One renewal, however many ask, and whoever answers them."""

import socket
from pathlib import Path

import pytest

from tests import git_versions
from tests.daemon.daemons import message, read_all
from tests.fault_injection import crowds
from tests.fault_injection.sandbox import Machine
from tests.fault_injection.test_leaving import asking


@pytest.mark.parametrize("way", crowds.WAYS)
def test_a_crowd_of_gits_on_an_expired_token_costs_one_request(
    machine: Machine, executables: dict[str, Path], way: str
) -> None:
    """All of them get the new token; the refresh token is used once."""
    gather, size = crowds.WAYS[way]
    helper = executables.get("native", executables["portable"])
    outcome = gather(machine, git_versions.machine_git().path, helper, size)
    assert outcome.said == ""
    assert (len(outcome.secrets), outcome.without, outcome.requests) == (1, 0, 1)
    (login,) = machine.records()
    assert login["secret"] in outcome.secrets
    assert login["generation"] == 2
    assert not machine.standin.is_spent(login["refresh_token"])


def test_a_daemons_first_requests_to_bitbucket_may_come_together(machine: Machine) -> None:
    """Two threads that import parts of requests side by side broke each other: a refresh and client credentials did."""
    daemon = machine.daemon()
    machine.log_in(daemon, expires_in=0)
    other = machine.standin.add_consumer()
    mint = message("mint", f"client_id={other.key}\nclient_secret={other.secret}\n".encode() + machine.request())
    with asking(machine, daemon) as login, daemon.connect(daemon.control) as consumer:
        consumer.sendall(mint)
        consumer.shutdown(socket.SHUT_WR)
        assert all(b"password=" in read_all(connection) for connection in (login, consumer))
    assert "fault" not in daemon.told_about("status")
