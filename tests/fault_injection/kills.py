"""Kills real daemons with SIGKILL, at every named point of a renewal and of a vault's write and at random moments.

After each kill everything starts anew, and is compared with what was acknowledged: the vault opens, no credential is
gone, no refresh token is spent that the vault still relies on. One window is left, and nobody can close it: Bitbucket
has rotated the refresh token and the new one is in no file yet. What falls into it is counted by its two parts.
"""

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from git_credential_bitbucket.vault.storage.file import STEPS
from tests.daemon.daemons import Daemon
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket, StandInError
from tests.fault_injection.results import Tally
from tests.fault_injection.sandbox import Machine

WRITE_STEPS = tuple(step for step in STEPS if step != "damaged-kept")
ASKED, ROTATED = "asked", "rotated"
"""Not points of ours but Bitbucket's: it has the request, and has not acted on it; it has, and its answer is held."""
RENEWAL_STEPS = (
    *("renewal-leased", "renewal-reserved", ASKED, ROTATED, "renewal-granted", "renewal-kept"),
    *(*WRITE_STEPS, "renewal-written", "renewal-forgotten"),
)
RANDOM = "random"
OPERATIONS = {"renew": RENEWAL_STEPS, "store": WRITE_STEPS, "erase": WRITE_STEPS, "remove": WRITE_STEPS}
UNANSWERED, UNWRITTEN, KEPT = "renewal-reserved", "renewal-granted", "renewal-kept"
"""The last points passed before a loss that nobody can prevent: the answer has not come; it is in no file yet."""
LATENCY_S = 0.03
STATICS = 12
DYING_S = 60.0

_ENTER = """
import os, signal, sys, time
sys.path.append(sys.argv.pop(1))
from git_credential_bitbucket.client.activate import third_party
third_party()
from git_credential_bitbucket.daemon.__main__ import main
def step(name):
    trace = os.open({trace!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(trace, f"{{name}} {{time.monotonic()}}\\n".encode())
    os.close(trace)
    if name == {point!r}:
        os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main(sys.argv[1:], step))
"""


class Lane:
    """One machine whose daemons are killed one after the other. Its state: what was acknowledged so far."""

    def __init__(self, machine: Machine, rng: random.Random, tally: Tally) -> None:
        """`tally` may be shared with other lanes."""
        self._machine = machine
        self._rng = rng
        self._tally = tally
        self._trace = machine.home / "trace"
        self._kept: dict[str, str] = {}
        self._made = 0
        self._seen = 0
        daemon = machine.daemon()
        machine.log_in(daemon, expires_in=0, place="/elsewhere")
        machine.add(
            daemon, place=f"{machine.standin.url}/other", kind="client-credentials", secret="", **machine.renewed_by()
        )
        for _ in range(STATICS):
            path, secret = self._next_static()
            assert daemon.ask("get", machine.request(path)) == b"", "what git stores next was asked for"
            assert daemon.ask("store", self._words(path, secret)) == b"ok=1\n"
            self._kept[path] = secret
        daemon.end()

    def round(self, operation: str, point: str) -> None:
        """Start a daemon, see that it serves what was kept, kill it during `operation`, and look at what is left."""
        self._trace.unlink(missing_ok=True)
        enter = _ENTER.format(trace=str(self._trace), point=point)
        daemon = self._machine.daemon(enter=enter)
        where = f"{operation}, {point}"
        path, secret = self._rng.choice(sorted(self._kept.items()))
        answer = dict(self._lines(daemon.ask("get", self._machine.request(path))))
        if answer.get("password") != secret and not self._suspect(path):
            self._wrong(where, "the next daemon did not serve what had been acknowledged")
        allowed = self._die(daemon, operation, point)
        self._tally.kills[where] += 1
        self._check_state(where, allowed)

    def _die(self, daemon: Daemon, operation: str, point: str) -> dict[str, str | None]:
        """Have it killed; what may or may not have become of one path, as nobody was told."""
        body, path, secret = self._work(operation)
        action = {"renew": "get" if body.startswith(b"protocol=") else "refresh"}.get(operation, operation)
        acknowledged = b""
        if action == "store":
            with contextlib.suppress(OSError):  # it may be dead already
                daemon.ask("get", self._machine.request(str(path)))
        # It may be dead before it is asked: a slow machine gives it the time to renew by itself.
        with self._killer(daemon, point), contextlib.suppress(OSError):
            acknowledged = daemon.ask(action, body)
        if point != RANDOM and acknowledged:
            self._wrong(f"{operation}, {point}", f"the point was not passed: {self._steps()}")
            daemon.kill()
        daemon.process.wait(DYING_S)
        if path is None:
            return {}
        if b"ok=1" in acknowledged:
            self._settle(path, secret)
            return {}
        return {path: secret}

    @contextmanager
    def _killer(self, daemon: Daemon, point: str) -> Iterator[None]:
        """Kills from outside, where the point is not one that the daemon itself passes."""
        bitbucket = self._machine.standin
        if point in (ASKED, ROTATED):
            bitbucket.script_fault("token", "hang", act=point == ROTATED)

        def at_bitbucket() -> None:
            with contextlib.suppress(StandInError):
                bitbucket.wait_for("token", since=self._seen, timeout=DYING_S / 2)
            deadline = time.monotonic() + DYING_S
            while point == ROTATED and not bitbucket.is_spent(self._login()["refresh_token"]):
                assert time.monotonic() < deadline
                time.sleep(0.005)
            daemon.kill()
            bitbucket.release()

        work: threading.Thread | None = None
        if point == RANDOM:
            work = threading.Timer(self._rng.random() * 0.3, daemon.kill)
        elif point in (ASKED, ROTATED):
            work = threading.Thread(target=at_bitbucket)
        if work is not None:
            work.start()
        yield
        if work is not None:
            work.join()

    def _login(self) -> dict[str, Any]:
        return next(record for record in self._machine.records() if record["kind"] == "oauth")

    def _work(self, operation: str) -> tuple[bytes, str | None, str | None]:
        """A request, and what becomes of which path by it (None: the same as before, or gone)."""
        if operation == "renew":
            login = self._login()
            if login["expires_at"] <= time.time():
                return self._machine.request("elsewhere/any.git"), None, None
            return f"id={login['id']}\n".encode(), None, None
        if operation == "store" or len(self._kept) < STATICS // 2:
            path, secret = self._next_static()
            return self._words(path, secret), path, secret
        path, secret = self._rng.choice(sorted(self._kept.items()))
        if operation == "erase":
            self._forgive(secret)
            return self._words(path, secret), path, secret
        (found,) = (r for r in self._machine.records() if r.get("secret") == secret)
        return f"id={found['id']}\n".encode(), path, None

    def _check_state(self, where: str, allowed: dict[str, str | None]) -> None:
        """Whether anything is lost, by the disk as the next process finds it."""
        vault = self._machine.vault()
        if vault.snapshot().recovered:
            self._wrong(where, "the vault was damaged")
        with vault.transaction() as tx:
            records: list[dict[str, Any]] = tx.content["credentials"]
        held = {record["secret"] for record in records if "secret" in record}
        for path, secret in allowed.items():
            if secret is None and self._kept[path] not in held:
                self._settle(path, None)
            elif secret is not None and secret in held:
                self._settle(path, secret)
        for path, secret in self._kept.items():
            if secret not in held:
                self._wrong(where, f"the credential for {path} is gone")
        if sorted(r["kind"] for r in records if "client_secret" in r) != ["client-credentials", "oauth"]:
            self._wrong(where, "a login or a consumer is gone")
        self._look_at_refresh_token(where, next(r for r in records if r["kind"] == "oauth"))

    def _look_at_refresh_token(self, where: str, login: dict[str, Any]) -> None:
        steps = self._steps()
        names = [name for name, _ in steps]
        if UNANSWERED in names and names[-1] not in ("renewal-written", "renewal-forgotten"):
            self._tally.in_flight += 1
        if UNWRITTEN in names and KEPT in names:
            at = dict(steps)
            self._tally.asking_s.append(at[UNWRITTEN] - at[UNANSWERED])
            self._tally.writing_s.append(at[KEPT] - at[UNWRITTEN])
        self._let_bitbucket_end()
        if not self._machine.standin.is_spent(login["refresh_token"]):
            return
        last = names[-1] if names else "none"
        if last == UNANSWERED:
            self._tally.unanswered += 1
        elif last == UNWRITTEN:
            self._tally.unwritten += 1
        else:
            self._wrong(where, f"the refresh token is lost, the last point passed was {last}")
        self._log_in_again()

    def _let_bitbucket_end(self) -> None:
        """A request may outlive the daemon that sent it: wait for what is still being served."""
        bitbucket = self._machine.standin
        bitbucket.wait_until_quiet()
        if sent := bitbucket.token_requests(since=self._seen):
            self._seen = sent[-1].number

    def _log_in_again(self) -> None:
        machine = self._machine
        access, refresh = machine.standin.issue_login(machine.consumer)
        with machine.vault().transaction() as tx:
            login = next(r for r in tx.content["credentials"] if r["kind"] == "oauth")
            login.update(secret=access, refresh_token=refresh, expires_at=time.time())

    def _forgive(self, secret: str) -> None:
        """A second erase of a suspect is an echo, and writes nothing."""
        with self._machine.vault().transaction() as tx:
            found = next(r for r in tx.content["credentials"] if r.get("secret") == secret)
            found.pop("suspect_until", None)
            found.pop("rejections", None)
            found.pop("suspensions", None)

    def _steps(self) -> list[tuple[str, float]]:
        if not self._trace.exists():
            return []
        lines = self._trace.read_text().split("\n")[:-1]
        return [(name, float(at)) for name, _, at in (line.partition(" ") for line in lines)]

    def _suspect(self, path: str) -> bool:
        secret = self._kept[path]
        return any(
            record.get("secret") == secret and (record.get("suspect_until") or record.get("suspensions"))
            for record in self._machine.records()
        )

    def _settle(self, path: str, secret: str | None) -> None:
        if secret is None:
            self._kept.pop(path, None)
        else:
            self._kept[path] = secret

    def _next_static(self) -> tuple[str, str]:
        self._made += 1
        return f"acme/repository-{self._made}.git", tokens.access_token()

    def _words(self, path: str, secret: str) -> bytes:
        return self._machine.request(path, username="x-token-auth", password=secret)

    def _lines(self, answer: bytes) -> list[tuple[str, str]]:
        return [(k, v) for k, _, v in (line.partition("=") for line in answer.decode().split("\n")) if k]

    def _wrong(self, where: str, what: str) -> None:
        self._tally.wrong.append(f"{where}: {what}")


def schedule(count: int, rng: random.Random) -> list[tuple[str, str]]:
    """`count` operations and points: each named point in turn, and as often again a random moment; in random order."""
    named = [(operation, step) for operation, steps in OPERATIONS.items() for step in steps]
    chosen = [
        named[index // 2 % len(named)] if index % 2 == 0 else (rng.choice(("renew", "renew", "store")), RANDOM)
        for index in range(count)
    ]
    rng.shuffle(chosen)
    return chosen


def kill(
    rounds: list[tuple[str, str]], seed: int, *, lanes: int = 1, progress: Callable[[int], None] = lambda _: None
) -> Tally:
    """Do all `rounds`, on `lanes` machines side by side, each with a stand-in of its own."""
    tally = Tally()
    broken = threading.Event()

    def work(lane: int) -> None:
        rng = random.Random(seed + lane)
        with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as folder, FakeBitbucket() as bitbucket:
            bitbucket.turn(latency=LATENCY_S, token_lifetime=1.0)
            machine = Machine(Path(folder), bitbucket, bitbucket.add_consumer())
            running = Lane(machine, rng, tally)
            try:
                for operation, point in rounds[lane::lanes]:
                    if broken.is_set():
                        break
                    running.round(operation, point)
                    progress(tally.total)
            except BaseException:
                broken.set()  # a fault of the harness itself: the other lanes need not go on
                raise

    with ThreadPoolExecutor(lanes) as threads:
        for _ in threads.map(work, range(lanes)):
            pass
    return tally
