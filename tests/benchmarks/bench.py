"""What every measurement is given: the programs under test, how many rounds, the load generator, the peers."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests import installed
from tests.benchmarks import load, peers
from tests.benchmarks.peers import Peer
from tests.benchmarks.processes import Command
from tests.benchmarks.sandbox import REQUEST, Seat


@dataclass(frozen=True)
class Bench:
    """One run of the suite; `quick` takes few samples, to see that all of it works."""

    quick: bool
    programs: dict[str, Path]
    load: Path | None
    empty: Path | None
    git: str

    def rounds(self, count: int) -> int:
        """How many rounds to take where a real measurement takes `count`."""
        return 3 if self.quick else count

    @property
    def main(self) -> Path:
        """The executable as it is installed here: native where there is a C compiler."""
        return self.programs.get("native", self.programs["portable"])

    def python(self, seat: Seat, name: str = "bare python -I -S -c pass") -> Command:
        """The interpreter that ours were installed for, doing nothing: the unit that start-ups are counted in."""
        return Command(name, [str(self.main.parent / "python"), "-I", "-S", "-c", "pass"], seat.env)

    def helpers(self, seat: Seat, operation: str) -> list[Command]:
        """Ours, as git's `operation` runs them."""
        stdin = REQUEST if operation == "get" else seat.store
        expected = seat.answered if operation == "get" else b""
        return [
            Command(f"ours, {kind}", [str(program), operation], seat.env, stdin, expected)
            for kind, program in self.programs.items()
        ]

    def peers(self) -> list[Peer]:
        """The helpers to compare with, those that this machine lacks as well."""
        return peers.known(self.git)


def prepare(built: Path, scratch: Path, *, quick: bool) -> Bench:
    """Build and install the helper in `built` unless it is there, compile the load generator in `scratch`."""
    git = shutil.which("git")
    assert git is not None
    programs = installed.installations(installed.wheels(built), built)
    return Bench(quick, programs, load.compiled(scratch), load.compiled(scratch, "empty", "-static"), git)
