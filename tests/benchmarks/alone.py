"""(d) The daemon alone under 200 clients, beside git's own; and the same with one client that has stalled."""

from pathlib import Path

from tests.benchmarks import load, peers
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import once
from tests.benchmarks.sandbox import REQUEST, Seat, message, seat

CLIENTS = 200
GIT_REQUESTS = 2000
"""git's daemon is given fewer: where it has stopped, each of them waits for its time-out."""


def measure(bench: Bench) -> Table:
    """Rounds of ours, ours with the stalled client, git's, git's with it."""
    table = Table("d", f"the daemon alone, {CLIENTS} clients at a time")
    if bench.load is None:
        table.absent = ["a C compiler for the load generator"]
        return table
    with seat() as user:
        user.fill(100)
        once(bench.helpers(user, "get")[0])
        cache = peers.cache(bench.git)
        cache.prepare(user, cache)
        subjects = (("ours", user.socket, 2000 if bench.quick else 30000), ("git's", cache_socket(user), GIT_REQUESTS))
        cpu: list[float] = []
        outcomes: dict[tuple[str, int], list[load.Outcome]] = {}
        for _ in range(bench.rounds(9)):
            for name, socket, requests in subjects:
                for stalled in (0, 1):
                    if name == "git's" and stalled:
                        continue
                    used = user.cpu_s()
                    done = load.run(bench.load, socket, message("get", REQUEST), CLIENTS, requests, stalled=stalled)
                    if name == "ours":
                        cpu.append((user.cpu_s() - used) / done.answered * 1e6)
                    outcomes.setdefault((name, stalled), []).append(done)
        # Once, and last: it does not come back from it.
        asked, patience_ms = message("get", REQUEST), 500 if bench.quick else load.PATIENCE_MS
        socket = cache_socket(user)
        stopped = load.run(bench.load, socket, asked, CLIENTS, CLIENTS, stalled=1, patience_ms=patience_ms)
        outcomes["git's", 1] = [stopped]
    for (name, stalled), several in outcomes.items():
        what = f"{name}{', one client stalled' if stalled else ''}"
        table.add(f"{what}: gets a second", [each.rate for each in several], "1/s")
        table.add(f"{what}: p99", [each.p99_ms for each in several])
        if failed := sum(each.failed for each in several):
            table.notes.append(f"{what}: {failed} of {failed + sum(each.answered for each in several)} not answered")
    table.add("ours: the daemon's CPU for one get", cpu, "us")
    bars(table, outcomes["ours", 0], outcomes["ours", 1], outcomes["git's", 0])
    return table


def bars(table: Table, plain: list[load.Outcome], stalled: list[load.Outcome], of_git: list[load.Outcome]) -> None:
    """Hold ours to what it has to be beside git's, and beside itself without a stalled client."""
    table.hold("gets a second / git's", ratio([o.rate for o in plain], [o.rate for o in of_git]), 0.5, at_least=True)
    table.hold("p99 / git's", ratio([o.p99_ms for o in plain], [o.p99_ms for o in of_git]), 1.5)
    table.hold("not answered", sum(each.failed for each in (*plain, *stalled)), 0, "")
    rates = ratio([o.rate for o in stalled], [o.rate for o in plain])
    table.hold("one stalled client: gets a second / without", rates, 0.9, at_least=True)
    late = ratio([o.p99_ms for o in stalled], [o.p99_ms for o in plain])
    table.hold("one stalled client: p99 / without", late, 1.1)


def cache_socket(user: Seat) -> Path:
    """Where git's own daemon listens."""
    return Path(user.env["XDG_CACHE_HOME"]) / "git" / "credential" / "socket"
