"""(a) One `get` that is answered and one `store`, whole processes: by themselves, and as git runs them (`sh -c`)."""

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn
from tests.benchmarks.sandbox import seat

CACHE, EMPTY = "git credential-cache", "empty static program"


def measure(bench: Bench) -> Table:
    """Every helper on this machine in turn, with /bin/true and a bare Python as the floor."""
    table = Table("a", "one get, one store: whole processes")
    with seat() as user:
        user.fill()
        here = [peer for peer in bench.peers() if peer.present]
        table.absent = [peer.name for peer in bench.peers() if not peer.present]
        for peer in here:
            peer.prepare(user, peer)
        floor = [Command("/bin/true", ["/bin/true"], user.env), bench.python(user)]
        if bench.empty is not None:
            floor.append(Command(EMPTY, [str(bench.empty)], user.env))
        else:
            table.absent.append(f"a C compiler and a static libc for the {EMPTY}")
        times = {}
        for operation in ("get", "store"):
            commands = [*bench.helpers(user, operation), *(peer.command(user, operation) for peer in here)]
            times[operation] = in_turn([*commands, *floor], bench.rounds(200))
            for name, samples in times[operation].items():
                if operation == "get" or name not in {command.name for command in floor}:
                    table.add(f"{operation}: {name}", samples)
        compared = [c for o in ("get", "store") for c in named(bench.helpers(user, o), o)]
        compared += [
            named([peer.command(user, o)], o)[0] for peer in here if peer.name == CACHE for o in ("get", "store")
        ]
        shelled = in_turn([command.by_shell() for command in compared], bench.rounds(200))
        for name, samples in shelled.items():
            table.add(f"sh -c {name}", samples)
    get, bare = times["get"], times["get"]["bare python -I -S -c pass"]
    table.hold("get, Python relay / bare python", ratio(get["ours, portable"], bare), 1.6)
    if "native" in bench.programs:
        table.hold("get, native relay / credential-cache", ratio(get["ours, native"], get[CACHE]), 0.7)
        if EMPTY in get:
            table.hold(f"get, native relay / {EMPTY}", ratio(get["ours, native"], get[EMPTY]), 1.45)
        both = {
            n: [g + s for g, s in zip(shelled[f"get: {n}"], shelled[f"store: {n}"], strict=True)]
            for n in ("ours, native", CACHE)
        }
        table.hold("get + store by sh, native / credential-cache", ratio(both["ours, native"], both[CACHE]), 0.8)
    return table


def named(commands: list[Command], operation: str) -> list[Command]:
    """The commands under names that tell the operation."""
    return [Command(f"{operation}: {c.name}", c.words, c.env, c.stdin, c.expected) for c in commands]
