"""The long forms: `python -m tests.faults --kills 1000`; ends with 1 where a promise was broken."""

import argparse
import random
import sys
import time
from collections.abc import Callable

from tests.faults import kills


def main() -> int:
    """Run what is asked for and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kill N daemons")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="machines side by side (2)")
    parser.add_argument("--seed", type=int, default=20261122, metavar="N", help="of all that is random")
    chosen = parser.parse_args()
    good = True
    if chosen.kills:
        good &= _kills(chosen.kills, chosen.seed, chosen.lanes)
    return 0 if good else 1


def _kills(count: int, seed: int, lanes: int) -> bool:
    began = time.monotonic()
    tally = kills.kill(kills.schedule(count, random.Random(seed)), seed, lanes=lanes, progress=_progress(count))
    _tell(*tally.lines(), f"took {time.monotonic() - began:.0f} s")
    return not tally.wrong and tally.total == count


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
