"""How a shared vault behaves with many hosts: a simulation in virtual time (`simulated_hosts`), and real daemons."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from git_credential_bitbucket.agent import retention
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.fake_bitbucket.client import FakeBitbucket
from tests.sandbox import endpoint_of
from tests.valkey import Valkey

BUCKET_S = 0.01
"""Commands are counted in such spans of virtual time."""
LIFE_S = 7200.0
AHEAD_S = 65.0
"""From here before the first renewal a life is simulated moment by moment, what comes before is skipped: by then every
host has looked at what is due since.
"""
WINDOW_S = 0.02
"""How far the processes may be apart in virtual time."""
SETTLING_S = 100.0
"""Virtual seconds in which even a host that missed an announcement reads again."""
IN_MEMORY = "/dev/shm"  # noqa: S108 - only where mkdtemp makes a folder
"""Where the hosts' copies are: on one disk they would wait for one another, as hosts do not."""
LEARNED_IN_S = 5.0
MAX_PEAK = 3.0


@dataclass
class Event:
    """What many hosts do at the same time: when each was done, and what that asked of the server."""

    name: str
    hosts: int
    done_s: list[float]
    per_second: list[float]

    def after(self, share: float) -> float:
        """The seconds until this share of the hosts was done; for ever where not all are."""
        ordered = sorted(self.done_s)
        needed = max(1, round(share * self.hosts))
        return ordered[needed - 1] if len(ordered) >= needed else float("inf")

    @property
    def peak(self) -> float:
        """The most commands a second."""
        return max(self.per_second, default=0.0)

    @property
    def mean(self) -> float:
        """The mean of the time that it may take, or until 99 % of the hosts were done, if that was later."""
        return sum(self.per_second) / max(1, len(self.per_second))

    def line(self) -> str:
        """The event for a person."""
        times = ", ".join(
            f"{name} {self.after(share):.2f} s" for name, share in (("half", 0.5), ("99 %", 0.99), ("all", 1))
        )
        ratio = self.peak / self.mean if self.mean else 0.0
        return f"{self.name}: {times}; peak {self.peak:.0f} commands/s, mean {self.mean:.0f} ({ratio:.1f} x)"

    def wrong(self) -> Iterator[str]:
        """What of it is out of bounds."""
        if self.after(1) == float("inf"):
            yield f"{self.name}: {self.hosts - len(self.done_s)} hosts were never done"
        if self.peak > MAX_PEAK * self.mean:
            yield f"{self.name}: the peak is {self.peak / self.mean:.1f} times the mean"


@dataclass
class Outcome:
    """What a simulation showed."""

    hosts: int
    events: list[Event] = field(default_factory=list)
    requests: int = 0
    lives: int = 0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The result for a person."""
        told = [f"{self.hosts} hosts, {self.lives} lives of a token: {self.requests} requests to Bitbucket"]
        told += [f"  {event.line()}" for event in self.events]
        told += [f"  {note}" for note in self.notes]
        return told + [f"WRONG: {one}" for one in self.wrong]


class Workers:
    """The processes of a simulation. Their state: virtual time, and what they counted so far."""

    def __init__(self, told: Sequence[dict[str, Any]]) -> None:
        self.now = 0.0
        self.commands: dict[int, Counter[str]] = {}
        self._next = 0.0
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fault_injection.simulated_hosts"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for _ in told
        ]
        for process, one in zip(self._processes, told, strict=True):
            self._write(process, one)

    def ask(self, command: str, **fields: object) -> list[dict[str, Any]]:
        """What each of them answers to a command."""
        for process in self._processes:
            self._write(process, {"do": command, **fields})
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answers.append(json.loads(process.stdout.readline()))
        return answers

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, max(self.now, self._next) + WINDOW_S)
            told = self.ask("run", until=self.now)
            self._next = min(one["next"] for one in told)
            if announced := [one["published"] for one in told if one["published"] is not None]:
                self.hear(max(self.now, *announced))

    def hear(self, at: float) -> None:
        """Have those go on then to whom the server announced something, or who have lost it."""
        self.ask("hear", at=at)
        self._next = self.now

    def report(self) -> dict[str, list[Any]]:
        """What was counted since the last report, of all; commands are kept here, too."""
        found: dict[str, list[Any]] = {}
        for one in self.ask("report"):
            for bucket, counted in one["commands"].items():
                self.commands.setdefault(int(bucket), Counter()).update(counted)
            for name, value in one.items():
                found.setdefault(name, []).append(value)
        return found

    def per_second(self, begin: float, end: float) -> list[float]:
        """Commands in each second of a span, which may be a little more or less than one, for all to be whole."""
        count = max(1, round(end - begin))
        each = (end - begin) / count
        found = [0.0] * count
        for bucket, counted in self.commands.items():
            if 0 <= (nth := int((bucket * BUCKET_S - begin) / each)) < count:
                found[nth] += counted.total() / each
        return found

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _write(self, process: subprocess.Popen[str], document: object) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(document) + "\n")
        process.stdin.flush()


def simulate(bitbucket: FakeBitbucket, hosts: int, lives: int, *, processes: int = 2, outage_s: float = 10) -> Outcome:
    """So many hosts through so many lives of a token, then an outage of the server."""
    outcome = Outcome(hosts, lives=lives)
    copies = tempfile.TemporaryDirectory(prefix="gcb-", dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None)
    with (
        closing(Valkey("--maxclients", str(hosts + 64))) as server,
        copies as folder,
        _workers(bitbucket, server, Path(folder), hosts, processes) as workers,
    ):
        _simulate(bitbucket, server, workers, outcome, outage_s)
    for event in outcome.events:
        outcome.wrong += event.wrong()
    return outcome


def _simulate(bitbucket: FakeBitbucket, server: Valkey, workers: Workers, outcome: Outcome, outage_s: float) -> None:
    hosts = outcome.hosts
    empty = server.client().info("memory")["used_memory"]
    workers.ask("start", within=20.0)
    workers.run(20.0 + SETTLING_S)
    booted = workers.report()
    _event(outcome, workers, "boot within 20 s", 0.0, [at for one in booted["subscribed"] for at in one])
    quiet = workers.per_second(100.0, 120.0)
    outcome.notes.append(f"nothing happens: {sum(quiet) / len(quiet):.0f} commands/s, {max(quiet):.0f} at most")
    used = server.client().info("memory")
    outcome.notes.append(
        f"the server's memory: {(used['used_memory'] - empty) / hosts / 1024:.1f} KiB a host,"
        f" {used['used_memory_rss'] / 1048576:.0f} MiB in all; processes of the simulation:"
        f" {sum(booted['rss_kib']) / hosts:.0f} KiB a host"
    )
    since = bitbucket.mark()
    for life in range(1, outcome.lives + 1):
        workers.ask("skip", seconds=min(one["due"] for one in workers.ask("outlook")) - AHEAD_S)
        workers.run(AHEAD_S)
        _run_until_all_have(workers, life + 1, hosts)
        report = workers.report()
        announced = max((at for of in report["announced"] for at in of), default=workers.now)
        learned = [at for of in report["learned"] for at in of.get(str(life + 1), ())]
        _event(outcome, workers, f"life {life}", announced, learned)
        if (late := outcome.events[-1].after(0.99)) > LEARNED_IN_S:
            outcome.wrong.append(f"life {life}: 99 % had the new token after {late:.1f} s")
    told = server.client().info()
    took = told["used_cpu_user"] + told["used_cpu_sys"]
    commands = sum(counted.total() - counted["connect"] for counted in workers.commands.values())
    outcome.notes.append(f"the server's processor: {took / commands * 1e6:.0f} microseconds a command")
    _outage(server, workers, outcome, outage_s)
    last = workers.report()
    outcome.requests = len(bitbucket.token_requests(since=since))
    if outcome.requests != outcome.lives:
        outcome.wrong.append(f"{outcome.requests} requests to Bitbucket")
    served = {secret for of in last["served"] for secret in of}
    if not served <= set(bitbucket.secrets()) or len(served) > outcome.lives + 1:
        outcome.wrong.append("a secret was served that was never issued")
    outcome.wrong += [f"unanswered: {sum(last['unanswered'])}"] if any(last["unanswered"]) else []
    outcome.wrong += [one for of in last["failed"] for one in of][:5]


def _run_until_all_have(workers: Workers, generation: int, hosts: int) -> None:
    """Run until the token was renewed and everybody knows."""
    end = workers.now + SETTLING_S
    while workers.now < end and sum(one["have"].get(str(generation), 0) for one in workers.ask("outlook")) < hosts:
        workers.run(1.0)


def _outage(server: Valkey, workers: Workers, outcome: Outcome, seconds: float) -> None:
    """Kill the server, be without it for so long, and see everybody come back."""
    server.stop()
    workers.ask("restarted")
    gone = workers.now
    workers.hear(gone)
    workers.run(seconds)
    workers.report()
    tries = workers.per_second(gone, workers.now)
    server.start()
    back = workers.now
    workers.run(20.0)
    found = [at for of in workers.report()["subscribed"] for at in of]
    outcome.notes.append(
        f"without the server: {max(tries):.0f} attempts/s at most, {sum(tries) / len(tries):.0f} in the mean"
    )
    _event(outcome, workers, "the server is back", back, found)


def _event(outcome: Outcome, workers: Workers, name: str, begin: float, done: list[float]) -> None:
    event = Event(name, outcome.hosts, [at - begin for at in done], [])
    until = min(max(event.after(0.99), LEARNED_IN_S), SETTLING_S)
    event.per_second = workers.per_second(begin, begin + until)
    outcome.events.append(event)


@contextmanager
def _workers(bitbucket: FakeBitbucket, server: Valkey, folder: Path, hosts: int, processes: int) -> Iterator[Workers]:
    key = os.urandom(32)
    wall = time.time()
    _log_in(bitbucket, server, folder / "login", key, wall)
    each = -(-hosts // processes)
    told = [
        {
            "folder": str(folder),
            "url": server.url,
            "key": base64.b64encode(key).decode(),
            "hosts": hosts,
            "first": first,
            "count": min(each, hosts - first),
            "wall": wall,
            "endpoint": endpoint_of(bitbucket).to_record(),
            "host": bitbucket.netloc,
        }
        for first in range(0, hosts, each)
    ]
    workers = Workers(told)
    try:
        yield workers
    finally:
        workers.close()


def _log_in(bitbucket: FakeBitbucket, server: Valkey, path: Path, key: bytes, now: float) -> None:
    """An OAuth login in the shared vault."""
    consumer = bitbucket.add_consumer()
    access, refresh = bitbucket.issue_login(consumer)
    vault = Vault(server.storage(path), Key(key, "environment"))
    agent = Agent(vault, Vault(MemoryStorage()), lambda _, __: None, lambda _: None, lambda _: None)  # type: ignore[arg-type,return-value] # no job runs
    record = {
        "kind": token_kinds.OAUTH,
        "place": bitbucket.url,
        "secret": access,
        "refresh_token": refresh,
        "client_id": consumer.key,
        "client_secret": consumer.secret,
        "endpoint": endpoint_of(bitbucket).to_record(),
        "expires_in": LIFE_S,
    }
    retention.add(agent.credential_store, retention.credential_from_login(record, now), now)
