"""A process with many hosts in it: the program's own agents and shared storage, each with its copy, in virtual time.

Each thread of a host is a greenlet here, which runs alone until it sleeps or waits for an announcement: what it does
takes the time that it really takes by itself, and what it waits for takes none. See `Worker` for the commands.
"""

import base64
import heapq
import itertools
import json
import random
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from greenlet import getcurrent, greenlet

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import renewal, renewal_schedule
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.deferred_answer import Deferred
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.vault.key import Key
from git_credential_bitbucket.vault.storage import redis_server, shared
from git_credential_bitbucket.vault.storage.address import parse
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.fault_injection.many_hosts import BUCKET_S

BITBUCKET_TAKES_S = 0.3
"""Virtual seconds from a request for a new token to its answer; others see the lease held meanwhile."""
LARGE_FLEET_SPREAD_S = 2.5
"""Over which time 10,000 hosts read a change; fewer hosts here do so, too, for how these behave is the question."""
USED_EVERY_S = (60.0, 180.0)
DELIVERY_S = 20.0
"""Real seconds in which the server must have delivered an announcement to everybody."""
SET_UP = ("connect", "HELLO", "CLIENT SETINFO", "CLIENT SETINFO")
"""What a host's connection for commands costs; here all hosts of a process share one."""


class Task:
    """What is a thread in a real host; few systems allow so many of these."""

    def __init__(self, work: Callable[[], None], loop: Any) -> None:  # noqa: ANN401 - greenlet has no types
        self.greenlet = greenlet(work, loop)
        self.began = self.resumed = 0.0
        self.entry = 0
        self.descriptor = -1


class Scheduler:
    """Virtual time. Its state: who is to run when, and who waits for a descriptor."""

    def __init__(self) -> None:
        self.now = 0.0
        self._loop = getcurrent()
        self.failed: list[str] = []
        self._queue: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count(1)
        self._current: Task | None = None
        self._waiting: dict[int, Task] = {}
        self._poll = select.epoll()

    def monotonic(self) -> float:
        """The time as the running task sees it: it goes on while it works."""
        task = self._current
        return self.now if task is None else task.began + time.perf_counter() - task.resumed

    def spawn(self, work: Callable[[], None], at: float | None = None) -> None:
        """Have `work` run in a task of its own."""

        def run() -> None:
            try:
                work()
            except Exception as exc:  # noqa: BLE001 - it is told with the figures
                self.failed.append(repr(exc))

        self._put(Task(run, self._loop), self.monotonic() if at is None else at)

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`."""
        task = self._running()
        self._put(task, self.monotonic() + max(0.0, seconds))
        self._loop.switch()

    def wait_readable(self, descriptor: int, seconds: float) -> None:
        """Until something can be read, at most so long."""
        task = self._running()
        task.descriptor = descriptor
        self._waiting[descriptor] = task
        self._poll.register(descriptor, select.EPOLLIN)
        self._put(task, self.monotonic() + seconds)
        self._loop.switch()

    def run(self, until: float) -> float:
        """Run all that is due before `until`; when the next is due."""
        self._hear(self.now, 0)
        while self._queue and self._queue[0][0] < until:
            at, number, task = heapq.heappop(self._queue)
            if number != task.entry:
                continue
            self._ignore(task)
            self.now = max(self.now, at)
            self._current, task.began, task.resumed = task, at, time.perf_counter()
            task.greenlet.switch()
            self._current = None
        self.now = until
        return self._queue[0][0] if self._queue else until + 3600

    def hear(self, at: float) -> None:
        """Have all who wait go on at that moment, for something comes for each of them."""
        deadline = time.perf_counter() + DELIVERY_S
        while self._waiting and time.perf_counter() < deadline:
            self._hear(at, 0.01)

    def _hear(self, at: float, seconds: float) -> None:
        if self._waiting:
            for descriptor, _ in self._poll.poll(seconds, len(self._waiting)):
                task = self._waiting[descriptor]
                self._ignore(task)
                self._put(task, at)

    def _running(self) -> Task:
        assert self._current is not None
        return self._current

    def _put(self, task: Task, at: float) -> None:
        task.entry = next(self._numbers)
        heapq.heappush(self._queue, (at, task.entry, task))

    def _ignore(self, task: Task) -> None:
        if task.descriptor >= 0:
            self._poll.unregister(task.descriptor)
            del self._waiting[task.descriptor]
            task.descriptor = -1


class _Instead:
    """A module of which some names are ours."""

    def __init__(self, module: Any, **ours: Any) -> None:  # noqa: ANN401 - any module
        self._module = module
        self.__dict__.update(ours)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._module, name)


class Worker:
    """The hosts of this process, and what is counted of them. Every public method is a command."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.scheduler = Scheduler()
        self.skipped = 0.0
        self.restarts = 0
        self.published_at: float | None = None
        self.announced: list[float] = []
        self.commands: dict[int, Counter[str]] = {}
        self.learned: dict[int, list[float]] = {}
        self.subscribed: list[float] = []
        self.served: set[str] = set()
        self.unanswered = 0
        self.client: Any = None
        self._patch()
        self.hosts = [Host(self, n) for n in range(told["first"], told["first"] + told["count"])]

    def clock(self) -> float:
        """The hosts' wall clock."""
        wall: float = self.told["wall"]
        return wall + self.skipped + self.scheduler.monotonic()

    def count(self, name: str) -> None:
        """Count a command to the server."""
        bucket = int(self.scheduler.monotonic() / BUCKET_S)
        self.commands.setdefault(bucket, Counter())[name] += 1

    def start(self, within: float) -> dict[str, Any]:
        """Boot the hosts within so many seconds from now."""
        for host in self.hosts:
            self.scheduler.spawn(host.live, self.scheduler.now + random.uniform(0, within))
        return {}

    def run(self, until: float) -> dict[str, Any]:
        """Run until that moment; when the next host wakes, and when a change was announced, if one was."""
        self.published_at = None
        return {"next": self.scheduler.run(until), "published": self.published_at}

    def hear(self, at: float) -> dict[str, Any]:
        """Wait until everybody was told then what the server announced, or has noticed that it ended."""
        self.scheduler.hear(at)
        return {}

    def skip(self, seconds: float) -> dict[str, Any]:
        """Set the hosts' wall clocks forward, as if they had slept."""
        self.skipped += seconds
        return {}

    def restarted(self) -> dict[str, Any]:
        """The server ended: what hosts shared here, each of them has lost."""
        self.restarts += 1
        return {}

    def outlook(self) -> dict[str, Any]:
        """In how many seconds the first host renews its token, and how many have which generation."""
        due = min(host.due_at() for host in self.hosts) - self.clock()
        return {"due": due, "have": Counter(host.generation for host in self.hosts)}

    def report(self) -> dict[str, Any]:
        """What was counted since the last report."""
        found = {
            "commands": self.commands,
            "learned": self.learned,
            "subscribed": self.subscribed,
            "announced": self.announced,
            "served": sorted(self.served),
            "unanswered": self.unanswered,
            "failed": self.scheduler.failed,
            "rss_kib": _rss_kib(),
        }
        self.commands, self.learned, self.subscribed, self.announced = {}, {}, [], []
        return found

    def _patch(self) -> None:
        """Put virtual time in the place of the real one, and count where commands are packed."""
        scheduler, worker = self.scheduler, self
        clock = _Instead(time, sleep=scheduler.sleep, monotonic=scheduler.monotonic)
        modules: Any = (shared, redis_server)
        for module in modules:
            module.time = clock
        modules[0].threading = _Instead(
            threading, Thread=lambda *, target, **_: _Instead(None, start=target_of(target))
        )
        modules[0].LEASE_S = 3600.0  # the server's time is real
        modules[1].HOSTS_A_SECOND = min(redis_server.HOSTS_A_SECOND, self.told["hosts"] / LARGE_FLEET_SPREAD_S)

        def target_of(work: Callable[[], None]) -> Callable[[], None]:
            return lambda: scheduler.spawn(work)

        send = renewal.send_request

        def send_request(credential: Any) -> Any:  # noqa: ANN401 - as the original
            scheduler.sleep(BITBUCKET_TAKES_S)
            return send(credential)

        renewal.send_request = send_request

        packer: Any = redis.connection.PythonRespSerializer
        pack = packer.pack

        def counted(self: Any, *arguments: Any) -> Any:  # noqa: ANN401 - as the original
            name = str(arguments[0])
            worker.count(f"{name} {arguments[1]}" if name == "CLIENT" else name)
            return pack(self, *arguments)

        packer.pack = counted
        connection: Any = redis.connection.AbstractConnection
        connect = connection.connect

        def connected(self: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
            if self._sock is None:
                worker.count("connect")
            return connect(self, *arguments, **named)

        connection.connect = connected
        channel: Any = redis.client.PubSub
        get = channel.get_message

        def get_message(self: Any, *, timeout: float = 0.0) -> Any:  # noqa: ANN401 - as the original
            deadline = scheduler.monotonic() + timeout
            while (message := get(self, timeout=0)) is None and (left := deadline - scheduler.monotonic()) > 0:
                if not self.connection.can_read(0):
                    scheduler.wait_readable(self.connection._sock.fileno(), left)
            return message

        channel.get_message = get_message


class _Server(redis_server.RedisServer):
    """With a connection for commands that this process's hosts share; what one's own would cost is counted."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(parse(worker.told["url"]), {})
        self._worker = worker
        self._set_up_at = -1

    def _connect(self, *, reconnects: bool = True) -> Any:  # noqa: ANN401 - as the original
        if not reconnects:
            return super()._connect(reconnects=False)
        if self._worker.client is None:
            self._worker.client = super()._connect()
            self._worker.client.connection_pool.max_connections = 1 << 20
        return self._worker.client

    @contextmanager
    def _reaching(self) -> Iterator[Any]:
        with super()._reaching() as client:
            yield client
        if self._set_up_at != self._worker.restarts:
            self._set_up_at = self._worker.restarts
            for name in SET_UP:
                self._worker.count(name)

    def commit(self, vault: str, header: bytes, write_id: str, writes: Sequence[redis_server.Write]) -> str:
        outcome = super().commit(vault, header, write_id, writes)
        if outcome == "ok":
            self._worker.published_at = self._worker.scheduler.monotonic()
            self._worker.announced.append(self._worker.published_at)
        return outcome

    def changes(self) -> Iterator[None]:
        for nth, _ in enumerate(super().changes()):
            yield
            if not nth:
                self._worker.subscribed.append(self._worker.scheduler.monotonic())


class Host:
    """A host: its agent, and which generation of the token it has."""

    def __init__(self, worker: Worker, number: int) -> None:
        told = worker.told
        self._worker = worker
        self._endpoint = Endpoint.from_record(told["endpoint"])
        self.generation = 0
        self._process = random.randbytes(8)
        storage = shared.SharedStorage(_Server(worker), str(Path(told["folder"], str(number), "vault")))
        vault = Vault(storage, Key(base64.b64decode(told["key"]), "environment"))
        self.agent = Agent(
            vault, Vault(MemoryStorage()), self._find_provider, lambda _: None, self.submit, worker.clock
        )
        self._request = git_protocol.parse(f"protocol=https\nhost={told['host']}\npath=acme/app.git\n".encode())

    def live(self) -> None:
        """What a daemon does: it follows the server, looks at what is due, answers git."""
        scheduler, storage = self._worker.scheduler, self.agent.credential_store.vault.storage
        follow = storage.follow

        def noting(bring_in: Callable[[], None]) -> None:
            def bring_in_and_note() -> None:
                bring_in()
                self.note()

            follow(bring_in_and_note)

        storage.follow = noting  # type: ignore[method-assign] # to see when it has read
        self.agent.credential_store.vault.follow()
        use_at = scheduler.monotonic() + random.uniform(1, USED_EVERY_S[0])
        while True:
            renewal_schedule._PROCESS = self._process
            wait = self.agent.tick()
            now = scheduler.monotonic()
            if now >= use_at:
                self._use()
                use_at = now + random.uniform(*USED_EVERY_S)
                wait = 1.0  # as a daemon's tick after a use
            scheduler.sleep(max(0.01, min(wait, use_at - now)))

    def submit(self, job: Callable[[], Any]) -> Future[Any]:
        """Run a job as a task of its own."""
        future: Future[Any] = Future()

        def work() -> None:
            try:
                result = job()
            except Exception as exc:  # noqa: BLE001 - as in a pool
                future.set_exception(exc)
            else:
                future.set_result(result)
            self.note()

        self._worker.scheduler.spawn(work)
        return future

    def due_at(self) -> float:
        """When this host renews the token."""
        renewal_schedule._PROCESS = self._process
        (credential,) = self.agent.credential_store.index()
        return renewal_schedule.renewal_due_at(credential)

    def note(self) -> None:
        """Look which generation this host serves by now."""
        content = self.agent.credential_store.vault.snapshot().content
        generation = max((record["generation"] for record in content.get("credentials", ())), default=0)
        if generation > self.generation:
            self.generation = generation
            self._worker.learned.setdefault(generation, []).append(self._worker.scheduler.monotonic())

    def _use(self) -> None:
        answer = self.agent.get(self._request)
        while isinstance(answer, Deferred):
            while not answer.future.done():
                self._worker.scheduler.sleep(0.02)
            answer = answer.resume()
        secret = dict(git_protocol.parse_pairs(answer)).get("password")
        if secret is None:
            self._worker.unanswered += 1
        else:
            self._worker.served.add(secret)

    def _find_provider(self, protocol: str, host: str) -> Provider | None:
        return Provider(protocol, host, self._endpoint)


def _rss_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmRSS:"))


def main() -> None:
    """Serve commands until standard input ends."""
    worker = Worker(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
