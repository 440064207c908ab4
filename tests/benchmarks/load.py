"""Owns the load generator (load.c): compiled where a C compiler is, run against a socket."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATIENCE_MS = 5000
"""What a request may take before it counts as failed; a daemon that has stopped answers none in that time."""
COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a load; milliseconds."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


def compiled(folder: Path, name: str = "load", *options: str) -> Path | None:
    """The load generator, or another program of this folder; None without a C compiler (or epoll, a static libc)."""
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    for compiler in filter(shutil.which, COMPILERS):
        done = subprocess.run([compiler, "-O2", *options, "-o", program, source], capture_output=True, check=False)
        if done.returncode == 0:
            return program
    return None


def run(
    program: Path,
    socket: str | Path,
    sent: bytes,
    clients: int,
    requests: int,
    *,
    stalled: int = 0,
    patience_ms: int = PATIENCE_MS,
) -> Outcome:
    """Put the load on: `sent` is the whole request, as it goes over the socket."""
    words = [program, socket, *map(str, (clients, requests, stalled, patience_ms))]
    done = subprocess.run(words, input=sent, stdout=subprocess.PIPE, check=True)
    return Outcome(**json.loads(done.stdout))
