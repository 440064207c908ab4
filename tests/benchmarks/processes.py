"""Runs whole processes and times them: from posix_spawn(3) to wait4(2), the harness's own cost equal for everybody."""

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PATIENCE_S = 120.0
"""A process that takes longer hangs, and is killed; the measurement ends with it."""


class Failed(Exception):
    """A command did not do what is measured."""


@dataclass(frozen=True)
class Command:
    """What is run: words, environment, standard input, and what its output must contain if it did its work."""

    name: str
    words: list[str]
    env: Mapping[str, str] = field(repr=False)
    stdin: bytes = field(default=b"", repr=False)
    expected: bytes = field(default=b"", repr=False)
    before: Callable[[], None] | None = None

    def by_shell(self) -> "Command":
        """As git runs a helper: one string, by `sh -c`."""
        words = ["/bin/sh", "-c", " ".join(self.words)]
        return Command(self.name, words, self.env, self.stdin, self.expected, self.before)


@dataclass(frozen=True, slots=True)
class Run:
    """One process from start to end; milliseconds."""

    wall: float
    cpu: float


def start(command: Command) -> tuple[int, int, float]:
    """Start a process; its pid, where its output can be read, and when that was."""
    stdin, give = os.pipe()
    output, told = os.pipe()
    try:
        os.write(give, command.stdin)  # a few hundred bytes: a pipe takes them at once
        os.close(give)
        actions = [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, told, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        begun = time.perf_counter()
        pid = os.posix_spawn(command.words[0], command.words, command.env, file_actions=actions)
    finally:
        os.close(stdin)
        os.close(told)
    return pid, output, begun


def once(command: Command) -> Run:
    """Run a command to its end. Raises `Failed` where it did not do its work."""
    if command.before is not None:
        command.before()
    pid, output, begun = start(command)
    said = read_all(output, pid)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    check(command, said, status)
    return Run(wall * 1000, (used.ru_utime + used.ru_stime) * 1000)


def check(command: Command, said: bytes, status: int) -> None:
    """Raise `Failed` unless the command ended well and said what it had to say."""
    if status != 0 or command.expected not in said:
        raise Failed(f"{command.name}: status {status}, {len(said)} bytes of output without what it had to say")


def read_all(descriptor: int, pid: int) -> bytes:
    """What a process says, up to its end; kills one that does not come to its end."""
    said = []
    while True:
        # Of all ways to wait with a limit the one that costs least: what runs here takes a processor from who is timed.
        if not select.select([descriptor], [], [], PATIENCE_S)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        said.append(chunk)
    os.close(descriptor)
    return b"".join(said)


def in_turn(commands: Sequence[Command], rounds: int) -> dict[str, list[float]]:
    """The wall times of `rounds` runs of each command by name: A B C, B C A, … after one round that is not counted."""
    times: dict[str, list[float]] = {command.name: [] for command in commands}
    for nth in range(-1, rounds):
        first = nth % len(commands)
        for command in [*commands[first:], *commands[:first]]:
            run = once(command)
            if nth >= 0:
                times[command.name].append(run.wall)
    return times


def crowd(command: Command, count: int) -> float:
    """Milliseconds until `count` processes that are started at once have all ended. Raises `Failed`."""
    begun = time.perf_counter()
    started = [start(command) for _ in range(count)]
    ended = []
    for pid, output, _ in started:
        said = read_all(output, pid)
        ended.append((said, os.waitpid(pid, 0)[1]))
    wall = time.perf_counter() - begun
    for said, status in ended:
        check(command, said, status)
    return wall * 1000
