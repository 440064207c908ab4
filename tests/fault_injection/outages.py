"""A Bitbucket that fails in every way we know of, under clients that never pause: what they get, what it costs."""

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from git_credential_bitbucket.agent import renewal_schedule
from tests.daemon.daemons import Daemon
from tests.fault_injection.sandbox import Machine

FAULTS: Sequence[Mapping[str, object]] = (
    {"kind": "429"},
    {"kind": "429", "retry_after": "30"},
    {"kind": "500"},
    {"kind": "503"},
    {"kind": "502-html"},
    {"kind": "cut-json"},
    {"kind": "wrong-type"},
    {"kind": "error-200"},
    {"kind": "redirect", "location": "https://127.0.0.1/elsewhere"},
    {"kind": "reset"},
    {"kind": "cut"},
    {"kind": "401"},
    {"kind": "404"},
    {"kind": "410"},
)
CLIENTS = 4
GETS = 200


@dataclass(frozen=True)
class Outcome:
    """What the clients saw: how many answers there were, the different secrets, and the requests that Bitbucket got.

    `allowed` is how many requests the pauses between attempts leave room for in the time that it took: one, unless the
    machine was slow.
    """

    answers: int
    secrets: frozenset[str | None]
    requests: int
    allowed: int


def due_log_in(machine: Machine, daemon: Daemon, **more: object) -> dict[str, Any]:
    """A login whose token lives for five minutes yet, and is due for renewal; its record in the vault."""
    now = time.time()
    access, refresh = machine.standin.issue_login(machine.consumer)
    record = {"minted_at": now - 6900, "expires_at": now + 300, **machine.renewed_by(), **more}
    machine.add(daemon, kind="oauth", secret=access, refresh_token=refresh, **record)
    (kept,) = machine.records()
    return kept


def outage(machine: Machine, daemon: Daemon, seconds: float = 0.0) -> Outcome:
    """Ask without a pause: `GETS` times, and for that long."""
    since = machine.standin.mark()
    began = time.monotonic()
    answers: list[str | None] = []

    def ask() -> None:
        asked = 0
        while asked < GETS / CLIENTS or time.monotonic() < began + seconds:
            asked += 1
            answers.append(daemon.told_about("get", machine.request("acme/app.git")).get("password"))

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - began
    allowed = int(1 + math.log2(1 + took / renewal_schedule.MIN_RETRY_S))
    return Outcome(len(answers), frozenset(answers), len(machine.standin.token_requests(since=since)), allowed)


def next_attempt_now(machine: Machine) -> None:
    """Let the pause after a failure pass."""
    with machine.vault().transaction() as tx:
        for record in tx.content["credentials"]:
            record.pop("retry_at", None)


def expire(machine: Machine) -> None:
    """Let the one login's token expire."""
    with machine.vault().transaction() as tx:
        tx.content["credentials"][0]["expires_at"] = 1.0


def trouble(daemon: Daemon) -> dict[str, Any]:
    """What `status` tells of the one credential."""
    found: dict[str, Any] = json.loads(daemon.told_about("status")["credential[]"])
    return found
