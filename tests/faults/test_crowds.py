"""One renewal, however many ask, and whoever answers them."""

from pathlib import Path

import pytest

from tests import gits
from tests.faults import crowds
from tests.faults.machines import Machine


@pytest.mark.parametrize("way", crowds.WAYS)
def test_a_crowd_of_gits_on_an_expired_token_costs_one_request(
    machine: Machine, executables: dict[str, Path], way: str
) -> None:
    """All of them get the new token; the refresh token is used once."""
    gather, size = crowds.WAYS[way]
    helper = executables.get("native", executables["portable"])
    outcome = gather(machine, gits.machine_git().path, helper, size)
    assert outcome.said == ""
    assert (len(outcome.secrets), outcome.without, outcome.requests) == (1, 0, 1)
    (login,) = machine.records()
    assert login["secret"] in outcome.secrets
    assert login["generation"] == 2
    assert not machine.standin.is_spent(login["refresh_token"])
