"""Kills a process between the system calls of one renewal and of one store, as strace counts them.

A first run is traced, which tells every system call of the thread that does the work; then one run for each of them
is killed with SIGKILL before it is made. After each, the next process opens the vault and goes on. A refresh token may
be lost in one window alone: Bitbucket has rotated it, and the answer is in no file yet. What a run had done by then is
read from its own trace.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from git_credential_bitbucket.agent.credential_store import CredentialStore
from git_credential_bitbucket.agent.renewal import Renewals
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.fake_bitbucket import tokens
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection.sandbox import Machine

Point = tuple[str, int]
"""The name of a system call, and which of its calls it is."""
OPERATIONS = ("renew", "store")
STATICS = 5
LOGIN = "login"
STUCK_S = 60.0
_CALL = re.compile(r"(\w+)\(")

_CHILD = """
import os, signal, sys
from concurrent.futures import Future
from functools import partial
import requests.auth, requests_oauthlib
from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent.deferred_answer import wait_for
from git_credential_bitbucket.agent.from_environment import build_agent
from git_credential_bitbucket.bitbucket import oauth, providers, transport
def at_once(job):
    future = Future()
    try:
        future.set_result(job())
    except Exception as exc:
        future.set_exception(exc)
    return future
agent = build_agent(os.environ, at_once, lambda protocol, host: providers.Provider(protocol, host, providers.CLOUD))
agent.credential_store.open()
operation, named, body = sys.argv[1:]
credential = agent.credential_store.index().get(named)
request = git_protocol.parse(body.encode())
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.write(1, b"ready\\n")
signal.sigwait([signal.SIGUSR1])
if operation == "renew":
    agent.renewals.renew(credential.id, credential.generation)
    os.write(1, b"ok=1\\n")
else:
    os.write(1, wait_for(agent.store(request, approves=lambda: True)))
"""


@dataclass(slots=True)
class Results:
    """What came of the kills."""

    calls: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    completed: int = 0
    in_window: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a person."""
        counted = ", ".join(f"{count} of a {operation}" for operation, count in self.calls.items())
        return [
            f"system calls: {counted}; killed before {self.kills} of them, {self.completed} came to their end first",
            f"  {self.in_window} between the rotation and the answer's file, {self.lost} refresh tokens lost there",
            f"  {len(self.wrong)} wrong",
            *(f"    {each}" for each in self.wrong),
        ]


class NotTraced(Exception):
    """No process may be traced here."""


class Scene:
    """One machine on which process after process is killed. Its state: what was acknowledged so far."""

    def __init__(self, machine: Machine, results: Results) -> None:
        """`results` may be shared with other scenes."""
        self._machine = machine
        self._results = results
        self._env = {**machine.env, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._trace = machine.home / "strace"
        self._kept: set[str] = set()
        machine.path.parent.mkdir(mode=0o700)
        statics = [self._static(nth) for nth in range(STATICS)]
        self._kept = {record["secret"] for record in statics}
        with machine.vault().transaction() as tx:
            tx.content["credentials"] = statics

    def points(self, operation: str) -> list[Point]:
        """Every system call of an operation in its order, by a run that is not killed."""
        self._log_in()
        assert self._run(operation, tokens.access_token(), None).startswith(b"ok=1\n")
        counted: Counter[str] = Counter()
        found = []
        for name in self._calls():
            counted[name] += 1
            found.append((name, counted[name]))
        return found

    def kill(self, operation: str, point: Point) -> None:
        """Kill a process before it makes that system call, and look at what is left."""
        refresh, secret = self._log_in(), tokens.access_token()
        done = bool(self._run(operation, secret, point))
        self._results.kills += not done
        self._results.completed += done
        where = f"{operation}, before {point[0]} {point[1]}"
        with self._machine.vault().transaction() as tx:
            if tx.recovered:
                self._wrong(where, "the vault was damaged")
            records: list[dict[str, Any]] = tx.content["credentials"]
        held = {record["secret"] for record in records if record["id"] != LOGIN}
        if self._kept - held:
            self._wrong(where, f"{len(self._kept - held)} credentials are gone")
        if operation == "store" and done and secret not in held:
            self._wrong(where, "what was acknowledged is not there")
        if operation == "renew":
            self._look_at_login(where, refresh, next(record for record in records if record["id"] == LOGIN), done=done)

    def _look_at_login(self, where: str, refresh: str, login: dict[str, Any], *, done: bool) -> None:
        bitbucket = self._machine.standin
        bitbucket.wait_until_quiet()
        is_in_window = bitbucket.is_spent(refresh) and not self._is_answer_written()
        self._results.in_window += is_in_window
        if done and login["generation"] == 1:
            self._wrong(where, "a renewal that came to its end is not there")
        if bitbucket.is_spent(login["refresh_token"]):
            self._results.lost += is_in_window
            if not is_in_window:
                self._wrong(where, "the refresh token is lost")
        else:
            self._renew_again(where)

    def _renew_again(self, where: str) -> None:
        """The next process renews, as if nothing had been."""
        credential_store = CredentialStore(self._machine.vault(), Vault(MemoryStorage()), lambda _: None)
        renewals = Renewals(credential_store, lambda _: Future(), time.time)
        login = credential_store.change(LOGIN, lambda _: {"expires_at": 0.0})
        renewed = renewals.renew(LOGIN, login.generation)
        if renewed.generation != login.generation + 1:
            self._wrong(where, f"the next renewal did not go through: {renewed.trouble}")
        if [*Path(f"{self._machine.path}.renewing").iterdir()]:
            self._wrong(where, "the next renewal left something over")

    def _log_in(self) -> str:
        """A login in the vault whose token has expired; its refresh token."""
        machine = self._machine
        access, refresh = machine.standin.issue_login(machine.consumer)
        login = {"id": LOGIN, "kind": "oauth", "place": machine.standin.url, "secret": access, "generation": 1}
        login |= {"refresh_token": refresh, "expires_at": 0.0, **machine.renewed_by()}
        self._change(lambda records: [*records[:STATICS], login])
        return refresh

    def _change(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        with self._machine.vault().transaction() as tx:
            tx.content["credentials"] = change(tx.content["credentials"])

    def _static(self, nth: int) -> dict[str, Any]:
        place = f"{self._machine.standin.url}/acme/repository-{nth}"
        return {"id": f"static{nth}", "kind": "access-token", "place": place, "secret": tokens.access_token()}

    def _wrong(self, where: str, what: str) -> None:
        self._results.wrong.append(f"{where}: {what}")

    def _run(self, operation: str, secret: str, point: Point | None) -> bytes:
        """What the process answered; nothing if it was killed. Its trace is there then."""
        machine = self._machine
        self._trace.unlink(missing_ok=True)
        body = machine.request("acme/stored.git", username="x-token-auth", password=secret).decode()
        command = [sys.executable, "-c", _CHILD, operation, LOGIN, body]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=self._env, cwd=machine.home, stdout=pipe) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            kill = ["-e", f"inject={point[0]}:signal=SIGKILL:when={point[1]}"] if point else []
            strace = ["strace", "-y", "-o", str(self._trace), *kill, "-p", str(process.pid)]
            with subprocess.Popen(strace, stderr=pipe) as tracer:
                assert tracer.stderr is not None
                told = tracer.stderr.readline()
                if b"attached" not in told:
                    process.kill()
                    raise NotTraced(told.decode(errors="replace").strip())
                process.send_signal(signal.SIGUSR1)
                answer = process.stdout.read()
                process.wait(STUCK_S)
                tracer.wait(STUCK_S)
        return answer

    def _calls(self) -> list[str]:
        """The names of the system calls in the trace, up to the answer; without that for which the process waited."""
        found = []
        for line in self._trace.read_text(errors="replace").split("\n"):
            if (call := _CALL.match(line)) is not None and call[1] != "rt_sigtimedwait":
                found.append(call[1])
            if '"ok=1' in line:
                break
        return found

    def _is_answer_written(self) -> bool:
        """Whether the run wrote its lease's file a second time: the answer, after the intent."""
        lines = self._trace.read_text(errors="replace").split("\n")
        return (
            sum(line.startswith("pwrite64(") and "vault.renewing/" in line and "= ?" not in line for line in lines) > 1
        )


def kill(*, every: int = 1, lanes: int = 2) -> Results:
    """Kill before each (`every` 1) or every so many of the system calls, on machines side by side."""
    results = Results()

    def work(lane: int) -> None:
        with tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as folder, FakeBitbucket() as bitbucket:
            scene = Scene(Machine(Path(folder), bitbucket, bitbucket.add_consumer()), results)
            for operation in OPERATIONS:
                points = scene.points(operation)
                results.calls[operation] = max(len(points), results.calls[operation])
                for point in points[::every][lane::lanes]:
                    scene.kill(operation, point)

    with ThreadPoolExecutor(lanes) as threads:
        for _ in threads.map(work, range(lanes)):
            pass
    return results
