"""`python -m tests.benchmarks [--quick] [--only LETTERS] [--json FILE]`: a table a measurement, one JSON document."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import alone, cold, crowd, environment, hit, job, many, memory, shared, submodules, traffic
from tests.benchmarks.bench import prepare
from tests.git_versions import machine_git

if TYPE_CHECKING:
    from tests.benchmarks.figures import Table

MEASUREMENTS = {
    "a": hit.measure,
    "b": traffic.measure,
    "c": crowd.measure,
    "d": alone.measure,
    "e": cold.measure,
    "f": environment.measure,
    "g": many.measure,
    "h": memory.measure,
    "i": submodules.measure,
    "j": job.measure,
    "k": shared.measure,
}


def main() -> int:
    """Measure, and print as it comes; the exit code says whether all could be measured, not whether it was fast."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure the helper beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="few samples: whether it works, not how fast")
    parser.add_argument("--only", default="".join(MEASUREMENTS), metavar="LETTERS", help="for example: ade")
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"), metavar="FILE")
    parser.add_argument("--built", type=Path, metavar="FOLDER", help="where the programs are, or are to be built")
    chosen = parser.parse_args()
    machine = {
        "git": str(machine_git()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }
    tell(", ".join(f"{key} {value}" for key, value in machine.items()))
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="gcb-bench-") as scratch:
        bench = prepare(chosen.built or Path(scratch), Path(scratch), quick=chosen.quick)
        for letter in chosen.only:
            tables.append(MEASUREMENTS[letter](bench))
            tell(*tables[-1].lines())
    chosen.json.write_text(json.dumps({"machine": machine, "tables": [t.document() for t in tables]}, indent=1) + "\n")
    return 0


def tell(*lines: str) -> None:
    """Print as soon as it is known."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
