"""(g) 1, 100 and 10,000 credentials: a `get`, a write of the vault, `status`."""

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from git_credential_bitbucket import files
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Table, ratio
from tests.benchmarks.processes import Command, in_turn, once
from tests.benchmarks.sandbox import REQUEST, Seat, seat
from tests.fake_bitbucket import tokens

COUNTS = (1, 100, 10000)


def measure(bench: Bench) -> Table:
    """Three users with a daemon each, asked in turn."""
    table = Table("g", "vaults of 1, 100 and 10,000 credentials")
    with ExitStack() as stack:
        users = {count: stack.enter_context(seat()) for count in COUNTS}
        for count, user in users.items():
            user.fill(count)
            once(bench.helpers(user, "get")[0])
        gets = [
            Command(f"get, {count:,}", [str(bench.main), "get"], user.env, REQUEST, user.answered)
            for count, user in users.items()
        ]
        times = in_turn(gets, bench.rounds(200))
        writes: dict[int, list[float]] = {count: [] for count in COUNTS}
        for _ in range(bench.rounds(15)):
            for count, user in users.items():
                writes[count].append(write(user))
        shows = [
            Command(f"status --json, {n:,}", [str(bench.main), "status", "--json"], u.env, expected=b"acme")
            for n, u in users.items()
        ]
        statuses = in_turn(shows, bench.rounds(7))
        shows = [
            replace(show, name=f"{show.name}, right after a change", before=partial(change, user))
            for show, user in zip(shows, users.values(), strict=True)
        ]
        after = in_turn(shows, bench.rounds(7))
        changes, floor = changed(users[1], bench.rounds(100))
        for name, samples in (times | statuses | after).items():
            table.add(name, samples)
        for count, samples in writes.items():
            table.add(f"a new credential, durably, {count:,}", samples)
        table.add("a change among 1, durably", changes)
        table.add("a file of as many bytes replaced, durably", floor)
        memory = {count: user.resident_mib() for count, user in users.items()}
    for count, mib in memory.items():
        table.add(f"the daemon's resident memory after that, {count:,}", [mib], "MiB")
    table.hold("get, 10,000 / 1", ratio(times["get, 10,000"], times["get, 1"]), 1.2)
    table.hold("a new credential durably, among 10,000 / among 1", ratio(writes[10000], writes[1]), 20)
    table.hold("a change among 1 / a file replaced durably", ratio(changes, floor), 2.5)
    for shown in (statuses, after):
        few, _, many = shown
        table.hold(f"{many} / 1", ratio(shown[many], shown[few]), 3)
    return table


def changed(user: Seat, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a change to a credential, and of replacing a file as the vault is, in turn."""
    changes, floor = [], []
    beside = user.vault_file.with_name("beside")
    for nth in range(rounds):
        begun = time.perf_counter()
        assert user.ask("amend", b"id=c0\nends_at=%d\n" % (2_000_000_000 + nth)).startswith(b"ok=1\n")
        between = time.perf_counter()
        files.replace(str(beside), bytes(user.vault_file.stat().st_size))
        changes.append((between - begun) * 1000)
        floor.append((time.perf_counter() - between) * 1000)
    beside.unlink()
    return changes, floor


def change(user: Seat) -> None:
    """Store a secret that the daemon did not have."""
    write(user)


def write(user: Seat) -> float:
    """Milliseconds until the daemon has acknowledged a secret it did not have: the vault is on disk by then."""
    token = tokens.access_token().encode()
    place = b"protocol=https\nhost=bitbucket.org\npath=acme/new-%b.git\n" % token[-8:].lower()
    begun = time.perf_counter()
    answer = user.ask("store", place + b"username=x-token-auth\npassword=%b\n" % token)
    assert answer.startswith(b"ok=1\n")
    return (time.perf_counter() - begun) * 1000
