"""The long forms: `python -m tests.fault_injection --kills 1000 --calls 1 --crowds 10 --fleet 210`; 1 if one fails."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests import git_versions, installed
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection import crowds, fleet, hostile, kills, many_daemons, many_hosts, outages, syscalls
from tests.fault_injection.sandbox import Machine
from tests.running import end_processes_of
from tests.sandbox import new_home
from tests.valkey import Valkey


def main() -> int:
    """Run what is asked for and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill N daemons")
    parser.add_argument("--calls", type=int, default=0, metavar="N", help="kill before every Nth system call (strace)")
    parser.add_argument("--crowds", type=int, default=0, metavar="N", help="gather each crowd of gits N times")
    parser.add_argument("--outages", type=float, default=0.0, metavar="S", help="let each outage last S seconds")
    parser.add_argument(
        "--hostile", type=int, default=0, metavar="N", help="make N hostile requests at a grant's socket"
    )
    parser.add_argument("--fleet", type=int, default=0, metavar="N", help="make N faults where hosts share a vault")
    parser.add_argument("--hosts", type=int, default=0, metavar="N", help="simulate N hosts that share a vault")
    parser.add_argument("--daemons", type=int, default=0, metavar="N", help="have N real daemons share a vault")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="machines side by side (2)")
    parser.add_argument("--seed", type=int, default=20261122, metavar="N", help="of all that is random")
    chosen = parser.parse_args()
    good = True
    if chosen.kills:
        good &= _kills(chosen.kills, chosen.seed, chosen.lanes)
    if chosen.calls:
        good &= _calls(chosen.calls, chosen.lanes)
    if chosen.crowds:
        good &= _crowds(chosen.crowds)
    if chosen.outages:
        good &= _outages(chosen.outages)
    if chosen.hostile:
        good &= _hostile(chosen.hostile, chosen.seed)
    if chosen.fleet:
        good &= _fleet(chosen.fleet, chosen.seed, chosen.lanes)
    if chosen.daemons:
        good &= _daemons(chosen.daemons)
    if chosen.hosts:
        good &= _hosts(chosen.hosts, chosen.lanes)
    return 0 if good else 1


def _kills(count: int, seed: int, lanes: int) -> bool:
    began = time.monotonic()
    tally = kills.kill(kills.schedule(count, random.Random(seed)), seed, lanes=lanes, progress=_progress(count))
    _tell(*tally.lines(), f"took {time.monotonic() - began:.0f} s")
    return not tally.wrong and tally.total == count


def _calls(every: int, lanes: int) -> bool:
    began = time.monotonic()
    results = syscalls.kill(every=every, lanes=lanes)
    _tell(*results.lines(), f"took {time.monotonic() - began:.0f} s")
    return not results.wrong


def _crowds(times: int) -> bool:
    good = True
    with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as folder:
        wheels = installed.wheels(Path(folder, "wheels"))
        helper = installed.install(wheels.get("native", wheels["portable"]), Path(folder, "venv"))
        for way, (gather, size) in crowds.WAYS.items():
            asked, wrong = 0, 0
            for _ in range(times):
                with _machine() as machine:
                    outcome = gather(machine, git_versions.machine_git().path, helper, size)
                asked += outcome.requests
                wrong += not outcome.good
            _tell(f"{way}: {times} times {size} gits, {asked} requests to Bitbucket, {wrong} wrong")
            good &= not wrong
    return good


def _outages(seconds: float) -> bool:
    good = True
    for fault in outages.FAULTS:
        with _machine() as machine:
            daemon = machine.daemon()
            login = outages.due_log_in(machine, daemon)
            machine.standin.script_fault("token", count=1_000_000, **fault)  # type: ignore[arg-type]  # its kind is there
            outcome = outages.outage(machine, daemon, seconds)
            daemon.end()
            kept = not machine.standin.is_spent(machine.records()[0]["refresh_token"])
        served = outcome.secrets == {login["secret"]}
        name = " ".join(map(str, fault.values()))
        _tell(f"{name}: {outcome.answers} gets served: {served}; {outcome.requests} requests; kept: {kept}")
        good &= served and kept and outcome.requests <= outcome.allowed
    return good


def _hostile(count: int, seed: int) -> bool:
    began = time.monotonic()
    with _machine() as machine:
        daemon = machine.daemon()
        outcome = hostile.attack(daemon, count, seed)
        daemon.end()
    _tell(f"{count} hostile requests, {outcome.given} answers with the grant's secret: {len(outcome.wrong)} wrong")
    _tell(*outcome.wrong, f"took {time.monotonic() - began:.0f} s")
    return not outcome.wrong


def _fleet(count: int, seed: int, lanes: int) -> bool:
    began = time.monotonic()
    faults = fleet.schedule(count, random.Random(seed))
    results = fleet.strike(faults, lanes=lanes, progress=_progress(count))
    _tell(*results.lines(), f"took {time.monotonic() - began:.0f} s")
    return not results.wrong and results.total + results.skipped == count


def _daemons(count: int) -> bool:
    began = time.monotonic()
    with FakeBitbucket() as bitbucket, new_home() as home, closing(Valkey()) as server:
        outcome = many_daemons.run(bitbucket, server, home, count, lives=3, life_s=20, restart=True)
    _tell(*outcome.lines(), f"took {time.monotonic() - began:.0f} s")
    return not outcome.wrong


def _hosts(count: int, processes: int) -> bool:
    began = time.monotonic()
    with FakeBitbucket() as bitbucket:
        outcome = many_hosts.simulate(bitbucket, count, lives=3, processes=processes)
    _tell(*outcome.lines(), f"took {time.monotonic() - began:.0f} s")
    return not outcome.wrong


@contextmanager
def _machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as home, FakeBitbucket() as bitbucket:
        try:
            yield Machine(Path(home), bitbucket, bitbucket.add_consumer())
        finally:
            end_processes_of(Path(home))


def _progress(total: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if done % 100 == 0:
            sys.stderr.write(f"{done} of {total}\n")

    return tell


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
