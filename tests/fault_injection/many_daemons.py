"""Real daemons with a home each and one shared vault, through several lives of a token that lives for seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.daemon.daemons import Daemon, eventually
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection.sandbox import Machine, machines_with_one_vault
from tests.valkey import Valkey

PATIENCE_LIVES = 20
"""After so many lives without a renewal there will be none."""


@dataclass
class Outcome:
    """What the daemons did: for each request to Bitbucket, when it came and when each daemon had its token."""

    daemons: int
    lives: int
    life_s: float
    requests_at: list[float] = field(default_factory=list)
    had_at: list[list[float]] = field(default_factory=list)
    back_after_s: float = 0.0
    memory_mib: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The result for a person."""
        lives = f"{self.lives} lives of {self.life_s:g} s"
        requests = len(self.requests_at)
        told = [
            f"{self.daemons} daemons, {lives}: {requests} requests to Bitbucket, {self.memory_mib:.1f} MiB a daemon"
        ]
        for nth, (at, had) in enumerate(zip(self.requests_at, self.had_at, strict=False), start=1):
            after = sorted(each - at for each in had)
            told.append(f"  life {nth}: half {after[len(after) // 2]:.2f} s, all {after[-1]:.2f} s after the request")
        if self.back_after_s:
            told.append(f"  the server is back: all subscribe again within {self.back_after_s:.1f} s")
        return told + [f"WRONG: {one}" for one in self.wrong]


def run(
    bitbucket: FakeBitbucket,
    server: Valkey,
    folder: Path,
    count: int,
    *,
    lives: int,
    life_s: float,
    restart: bool = False,
) -> Outcome:
    """Have `count` daemons renew a login as often as it has `lives`, while git asks all of them; then `restart`."""
    outcome = Outcome(count, lives, life_s)
    bitbucket.turn(token_lifetime=life_s)
    with daemons(bitbucket, server, folder, count) as hosts:
        since = bitbucket.mark()
        hosts[0][0].log_in(hosts[0][1], expires_in=life_s)
        seen: list[dict[str, float]] = [{} for _ in hosts]
        give_up_at = time.monotonic() + lives * life_s * PATIENCE_LIVES
        requests = bitbucket.token_requests(since=since)
        while len(requests) < lives or any(len(one) <= lives for one in seen):
            if time.monotonic() > give_up_at:
                outcome.wrong.append(f"{len(requests)} renewals, tokens that each daemon had: {[*map(len, seen)]}")
                break
            for had, (machine, daemon) in zip(seen, hosts, strict=True):
                if secret := daemon.told_about("get", machine.request()).get("password"):
                    had.setdefault(secret, time.time())
            requests = bitbucket.token_requests(since=since)
        outcome.requests_at = [one.at for one in requests]
        outcome.had_at = [list(times) for times in zip(*(sorted(had.values())[1:] for had in seen), strict=False)]
        outcome.memory_mib = sum(daemon.memory_kib() for _, daemon in hosts) / 1024 / count
        _judge(outcome, seen, [one.status for one in requests])
        if restart:
            _restart(outcome, server)
    return outcome


@contextmanager
def daemons(
    bitbucket: FakeBitbucket, server: Valkey, folder: Path, count: int
) -> Iterator[list[tuple[Machine, Daemon]]]:
    """Hosts with one key and one shared vault, each with its daemon, which ends with the block."""
    machines = machines_with_one_vault(folder, bitbucket, server.url, count)
    try:
        yield [(machine, machine.daemon()) for machine in machines]
    finally:
        for machine in machines:
            for daemon in machine.started:
                daemon.end()


def _judge(outcome: Outcome, seen: list[dict[str, float]], statuses: list[int | None]) -> None:
    if set(statuses) != {200}:
        outcome.wrong.append(f"Bitbucket answered {statuses}: a refresh token was presented twice")
    tokens = {secret for had in seen for secret in had}
    if len(tokens) > len(outcome.requests_at) + 1:
        outcome.wrong.append(f"{len(tokens)} tokens for {len(outcome.requests_at)} requests")
    early = [later - at for at, later in pairwise(outcome.requests_at) if later - at < outcome.life_s / 2]
    if early:
        outcome.wrong.append(f"a token was replaced after {early[0]:.1f} s")


def _restart(outcome: Outcome, server: Valkey) -> None:
    server.stop()
    server.start()
    back = time.monotonic()
    with server.client() as client:
        key = server.key("changes")
        eventually(lambda: dict(client.pubsub_numsub(key))[key.encode()] == outcome.daemons)
    outcome.back_after_s = time.monotonic() - back
