"""(f) A token from the environment: no daemon, no vault, and by the native relay no Python."""

from tests.benchmarks import peers
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import REQUEST, seat

NATIVE, PORTABLE = "ours, native", "ours, portable"


def measure(bench: Bench) -> Table:
    """Both executables with a bare Python and git's own cache."""
    table = Table("f", "get with a token in the environment, no daemon")
    cache = peers.cache(bench.git)
    with seat() as user:
        cache.prepare(user, cache)
        env = {**user.env, "BITBUCKET_ACCESS_TOKEN": user.token}
        ours = [
            Command(f"ours, {kind}", [str(program), "get"], env, REQUEST, user.answered)
            for kind, program in bench.programs.items()
        ]
        bare = bench.python(user)
        beside = cache.command(user, "get")
        times = in_turn([*ours, bare, beside], bench.rounds(100))
        assert not user.socket.exists()
        for name, samples in times.items():
            table.add(name, samples)
        table.hold(f"{PORTABLE} / {bare.name}", ratio(times[PORTABLE], times[bare.name]), 2)
        if NATIVE in times:
            name = "token from the environment, native / credential-cache"
            table.hold(name, ratio(times[NATIVE], times[cache.name]), 0.75)
    return table
