"""(f) A token from the environment: no daemon, no vault."""

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import REQUEST, seat


def measure(bench: Bench) -> Table:
    """Both executables with a bare Python."""
    table = Table("f", "get with a token in the environment, no daemon")
    with seat() as user:
        env = {**user.env, "BITBUCKET_ACCESS_TOKEN": user.token}
        ours = [
            Command(f"ours, {kind}", [str(program), "get"], env, REQUEST, user.answered)
            for kind, program in bench.programs.items()
        ]
        bare = bench.python(user)
        times = in_turn([*ours, bare], bench.rounds(100))
        assert not user.socket.exists()
        for name, samples in times.items():
            table.add(name, samples)
        for command in ours:
            table.hold(f"{command.name} / {bare.name}", ratio(times[command.name], times[bare.name]), 2)
    return table
