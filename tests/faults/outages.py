"""A Bitbucket that fails in every way we know of, under clients that never pause: what they get, what it costs."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.daemon.daemons import Daemon
from tests.faults.machines import Machine

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


@dataclass(frozen=True)
class Outcome:
    """What the clients saw: how many answers there were, the different secrets, and the requests that Bitbucket got."""

    answers: int
    secrets: frozenset[str | None]
    requests: int


def due_log_in(machine: Machine, daemon: Daemon, **more: object) -> dict[str, Any]:
    """A log-in whose token lives for five minutes yet, and is due for renewal; its record in the vault."""
    now = time.time()
    access, refresh = machine.standin.issue_login(machine.consumer)
    record = {"minted_at": now - 6900, "expires_at": now + 300, **machine.renewed_by(), **more}
    machine.add(daemon, kind="oauth", secret=access, refresh_token=refresh, **record)
    (kept,) = machine.records()
    return kept


def outage(machine: Machine, daemon: Daemon, seconds: float) -> Outcome:
    """Ask without a pause for that long."""
    since = machine.standin.mark()
    until = time.monotonic() + seconds
    answers: list[str | None] = []

    def ask() -> None:
        while time.monotonic() < until:
            answers.append(daemon.told_about("get", machine.request("acme/app.git")).get("password"))

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return Outcome(len(answers), frozenset(answers), len(machine.standin.token_requests(since=since)))


def next_attempt_now(machine: Machine) -> None:
    """Let the pause after a failure pass."""
    with machine.vault().transaction() as tx:
        for record in tx.content["credentials"]:
            record.pop("retry_at", None)


def trouble(daemon: Daemon) -> dict[str, Any]:
    """What `status` tells of the one credential."""
    found: dict[str, Any] = json.loads(daemon.told_about("status")["credential[]"])
    return found
