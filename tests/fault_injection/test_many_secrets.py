"""What git stores unasked, in numbers: any repository may name secrets in its submodules' addresses."""

import os
from pathlib import Path

import pytest

from git_credential_bitbucket.agent import retention
from tests.fault_injection.sandbox import Machine


@pytest.mark.parametrize("size", [60_000, 15_000])
def test_300_secrets_cost_the_vault_and_the_daemon_no_more_than_their_cap(machine: Machine, size: int) -> None:
    """A write of the vault writes all of it, so its size is the cost of each; what one logged in with still answers."""
    daemon = machine.daemon()
    machine.log_in(daemon)
    machine.add(daemon, kind="api-token", secret="the one that answers", account="alice")
    expected = daemon.told_about("get", machine.request("acme/app.git"))["password"]
    for number in range(300):
        secret = os.urandom(size // 2).hex()
        daemon.told_about("store", machine.request(f"evil/{number}.git", username=f"u{number}", password=secret))
    assert machine.path.stat().st_size < 2 * retention.MAX_UNSOLICITED_BYTES
    status = Path("/proc", str(daemon.pid), "status").read_text().split("\n")
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak_kib < 64 * 1024, "they are 18 MB, and cost 135 MB where all are kept"
    assert daemon.told_about("get", machine.request("acme/app.git"))["password"] == expected
