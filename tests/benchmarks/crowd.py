"""(c) 16 and 200 helpers at once, as parallel fetches and submodules start them."""

from tests.benchmarks import peers
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, Failed, crowd
from tests.benchmarks.sandbox import seat


def measure(bench: Bench) -> Table:
    """Whole crowds: from the first start to the last end."""
    table = Table("c", "16 and 200 helpers started at once, until the last has its answer")
    with seat() as user:
        user.fill()
        cache = peers.cache(bench.git)
        cache.prepare(user, cache)
        floor = Command("/bin/true", ["/bin/true"], user.env)
        commands = [*bench.helpers(user, "get"), cache.command(user, "get"), floor]
        for command in commands:
            crowd(command, 1)
        for count in (16, 32 if bench.quick else 200):
            times: dict[str, list[float]] = {command.name: [] for command in commands}
            failures = dict.fromkeys(times, 0)
            for _ in range(bench.rounds(15)):
                for command in commands:
                    try:
                        times[command.name].append(crowd(command, count))
                    except Failed:  # git's own client gives up where its daemon's queue, of five, is full
                        failures[command.name] += 1
            for name, samples in times.items():
                if samples:
                    table.add(f"{count} at once: {name}", samples)
                if failures[name]:
                    table.notes.append(f"{count} at once: {name}: {failures[name]} crowds with an unanswered helper")
            ours = times[commands[0].name]
            if len(ours) == len(times[cache.name]):
                table.hold(f"{count} at once: {commands[0].name} / {cache.name}", ratio(ours, times[cache.name]), 1.0)
            table.hold(f"{count} at once: crowds of ours with an unanswered helper", failures[commands[0].name], 0, "")
    return table
