"""A fleet of hosts with one login in a shared vault, and faults at every step of its renewal.

Each host has a home and a daemon, where that is allowed in a network namespace. In a round one of them, the victim,
renews; it is stopped at one point of the protocol, and there a fault strikes while another host wants to renew as well.
Then everything is put right again, and all is compared with what Bitbucket knows:

- each refresh token was presented once; each access token took one request;
- nothing was served that was not issued for this login, and no host went back to an older token than it had served;
- the login works, all hosts have the newest token: no generation is lost.

Where that does not hold there must be a reason that is named in `FleetResults.named`.
"""

import contextlib
import itertools
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.daemon.daemons import eventually
from tests.fake_bitbucket.client import FakeBitbucket
from tests.fault_injection import fleet_judge
from tests.fault_injection.fleet_faults import ALL, KINDS, POST, SLOT, Fault, Kind
from tests.fault_injection.fleet_hosts import HOSTS, Host
from tests.fault_injection.fleet_results import FleetResults
from tests.fault_injection.fleet_servers import Deployment, Servers
from tests.fault_injection.network import Network, network, relay
from tests.fault_injection.sandbox import Machine
from tests.fault_injection.server_proxy import Proxy, Stop

SETTLED_S = 90.0
REACHED_S = 60.0
_SLOT_POINTS = {"before": "renewal-granted", "after": "renewal-kept"}


class Point:
    """Where the victim is stopped. `reached` waits for it, `go` lets it go on."""

    def __init__(self, fault: Fault, victim: Host, servers: Servers, bitbucket: FakeBitbucket) -> None:
        self._go: Callable[[], None]
        self._is_reached: Callable[[], bool]
        if fault.step == POST:
            since = bitbucket.mark()
            # A request that is never acted on: the one that its sender cannot tell from one that is.
            kind = "hang" if (fault.kind, fault.moment) == ("kill", "before") else "hold"
            bitbucket.script_fault("token", kind, act=fault.moment == "after")
            self._is_reached = lambda: any(one.fault for one in bitbucket.token_requests(since=since))
            self._go = bitbucket.release
        elif fault.step == SLOT:
            home = victim.machine.home
            (home / f"stop-{_SLOT_POINTS[fault.moment]}").touch()
            self._is_reached = (home / "reached").exists
            self._go = lambda: (home / "reached").unlink(missing_ok=True)
        else:
            stop = Stop(victim.number, fault.step, fault.moment)
            servers.control.stop = stop
            self._is_reached = stop.reached.is_set
            self._go = stop.passed.set

    def reached(self, attempt: Callable[[], "Future[str]"]) -> "tuple[bool, Future[str]]":
        """Whether the victim came there, and by which attempt.

        One that fails is followed by another: a busy machine may let a lease end, or the server be late with its word.
        """
        deadline, job = time.monotonic() + REACHED_S, attempt()
        while not self._is_reached():
            if time.monotonic() > deadline or (job.done() and job.result() == "ok"):
                return False, job
            if job.done():
                job = attempt()
            time.sleep(0.01)
        return True, job

    def go(self) -> None:
        """Let it go on; more than once does nothing."""
        self._go()


class Fleet:
    """Hosts, servers and a Bitbucket of their own. Its state: beside them, the login's id and what came of it."""

    def __init__(
        self, folder: Path, network: Network, bitbucket: FakeBitbucket, deployment: Deployment, results: FleetResults
    ) -> None:
        self._results = results
        self._bitbucket = bitbucket
        self._network = network
        self._listener = network.listen()
        relay(self._listener, ("127.0.0.1", bitbucket.port))
        bitbucket.url = f"https://{network.hub}:{self._listener.getsockname()[1]}"
        self.servers = Servers(network, deployment)  # which ends what it has started if it cannot start all
        self.hosts: list[Host] = []
        self._threads = ThreadPoolExecutor(8)
        self._rounds = 0
        self._login = ""
        try:
            consumer = bitbucket.add_consumer()
            for number in range(HOSTS):
                home = folder / f"h{number}"
                home.mkdir()
                machine = Machine(home, bitbucket, consumer)
                machine.env["GIT_CREDENTIAL_BITBUCKET_VAULT"] = self.servers.url(number)
                first = self.hosts[0].machine if self.hosts else machine
                machine.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"] = first.env["GIT_CREDENTIAL_BITBUCKET_KEY_FILE"]
                self.hosts.append(Host(number, machine, network))
            self._log_in()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything."""
        for host in self.hosts:
            with contextlib.suppress(ProcessLookupError):
                host.signal(signal.SIGCONT)
            host.daemon.end()
        self.servers.close()
        self._listener.close()
        self._threads.shutdown(wait=False)

    def round(self, fault: Fault) -> None:
        """One fault, and what came of it."""
        victim, other = (self.hosts[(self._rounds + n) % HOSTS] for n in range(2))
        self._rounds += 1
        since, began, relapses = self._bitbucket.mark(), time.time(), self.servers.relapses
        if fault.is_lagging_from_the_start:
            self._primary_proxy.keeps_replicas_back = True
        point = Point(fault, victim, self.servers, self._bitbucket)
        try:
            is_reached, job = point.reached(lambda: self._threads.submit(victim.refresh, self._login))
            if not is_reached:
                self._wrong(fault, f"the point was not reached: {job.result()}")
            self._strike(fault, point, victim, other, job)
        finally:
            point.go()
            self.servers.control.stop = None
        self._results.faults[f"{fault.deployment}: {fault.kind}"] += 1
        self._results.steps[fault.step, fault.moment] += 1
        is_lost = self._settle(fault, victim, other)
        sent = self._bitbucket.token_requests(since=since)
        issued = self._bitbucket.secrets()
        evidence = fleet_judge.Evidence(
            victim, self.hosts, sent, issued, began, is_lost=is_lost, has_relapsed=self.servers.relapses > relapses
        )
        fleet_judge.judge(fault, evidence, self._results)
        if is_lost:
            self._log_in()

    @property
    def _primary_proxy(self) -> Proxy:
        return self.servers.proxies[self.servers.primary]

    def _strike(self, fault: Fault, point: Point, victim: Host, other: Host, job: "Future[str]") -> None:
        match fault.kind:
            case "kill":
                victim.daemon.kill()
                point.go()
                self._attempt(other, victim)
                victim.start()
            case "stop" | "cut":
                with self._away(fault.kind, victim):
                    if fault.moment == "after":
                        point.go()
                    self._wait_for_leases_end()
                    self._attempt(other, victim)
                    point.go()  # what was under way arrives after all
                    if fault.kind == "cut" and fault.step != POST:  # Bitbucket's answer is waited for much longer
                        job.result()
                job.result()
            case "restart":
                self.servers.kill_primary()
                point.go()
                self._attempt(other, victim)
                job.result()
                self.servers.restart_primary()
            case "failover" | "lagging failover":
                if fault.kind == "lagging failover":
                    self._primary_proxy.keeps_replicas_back = True
                self.servers.kill_primary()
                point.go()
                self._promote(other, victim)
                job.result()
            case "split":
                self._primary_proxy.only = victim.number
                point.go()
                self._promote(other, victim)
                job.result()

    def _promote(self, other: Host, victim: Host) -> None:
        self.servers.wait_for_promotion()
        self._results.promotions += 1
        self._attempt(other, victim)
        self.servers.bring_back_old_primary()

    @contextmanager
    def _away(self, kind: Kind, host: Host) -> Iterator[None]:
        """A host that does nothing, or reaches nobody, inside."""
        if kind == "stop":
            host.signal(signal.SIGSTOP)
            yield
            host.signal(signal.SIGCONT)
        elif self._network.can_cut:
            self._network.cut(host.number)
            yield
            self._network.join(host.number)
        else:
            self.servers.control.cut_off.add(host.number)
            yield
            self.servers.control.cut_off.discard(host.number)

    def _wait_for_leases_end(self) -> None:
        client = self.servers.client()
        eventually(lambda: not client.keys("*:lease:*"))

    def _attempt(self, other: Host, victim: Host) -> None:
        """What must not burn a token: another host that wants a new one now, while all the others ask for the old."""
        job = self._threads.submit(other.refresh, self._login)
        while not job.done():
            for host in self.hosts:
                if host is not victim:
                    host.get()
            time.sleep(0.02)
        job.result()

    def _settle(self, fault: Fault, victim: Host, other: Host) -> bool:
        """Whether the login is lost, once all is right again; if not, all hosts have a token that was just made."""
        self.servers.wait_until_stable()
        deadline = time.monotonic() + SETTLED_S
        for host in (victim, other) if self._rounds % 2 else (other, victim):
            while (told := host.refresh(self._login)) != "ok":
                if "was lost in an interrupted renewal" in told:
                    return True
                if time.monotonic() > deadline:
                    self._results.unrecovered.append(f"host {host.number}: {told}")
                    return True
                time.sleep(0.3)
        newest = host.get()
        for host in self.hosts:
            with contextlib.suppress(AssertionError):
                eventually(lambda at=host: at.get() == newest, 60)  # type: ignore[misc] # a lambda's default has no type
            if host.get() != newest:
                self._wrong(fault, f"host {host.number} has not the newest token")
        return False

    def _log_in(self) -> None:
        """A person does what is told when a login is lost."""
        host = self.hosts[0]
        if self._login:
            host.daemon.told_about("remove", f"id={self._login}\n".encode())
        self._login = host.machine.log_in(host.daemon)
        token = host.get()
        for one in self.hosts:
            eventually(lambda at=one: at.get() == token)  # type: ignore[misc] # a lambda's default has no type

    def _wrong(self, fault: Fault, what: str) -> None:
        self._results.wrong.append(f"{fault}: {what}")


def schedule(count: int, rng: random.Random) -> list[Fault]:
    """`count` faults in random order, each of them as often as any other."""
    return list(itertools.islice(itertools.cycle(rng.sample(ALL, len(ALL))), count))


def strike(
    faults: Sequence[Fault], *, lanes: int = 1, progress: Callable[[int], None] = lambda _: None
) -> FleetResults:
    """Do all `faults`, in a fleet of each deployment, `lanes` of them side by side.

    Where network namespaces are not allowed, those of one primary alone are done: behind what Sentinel says of the
    others' addresses the hosts cannot be told apart.
    """
    results = FleetResults()
    broken = threading.Event()

    def work(deployment: Deployment) -> None:
        chosen = [fault for fault in faults if fault.deployment == deployment]
        if not chosen:
            return
        with (
            tempfile.TemporaryDirectory(prefix="gcb-", dir="/tmp") as folder,
            network(HOSTS) as net,
            FakeBitbucket() as bitbucket,
        ):
            results.namespaces = net.can_cut
            if deployment != "alone" and not net.can_cut:
                results.skipped += len(chosen)
                return
            bitbucket.turn(oauth_token_length=300, reuse_lockout=0.0)
            fleet = Fleet(Path(folder), net, bitbucket, deployment, results)
            try:
                for fault in chosen:
                    if not broken.is_set():
                        fleet.round(fault)
                        progress(results.total)
            except BaseException:
                broken.set()  # a fault of the harness itself: the other lanes need not go on
                raise
            finally:
                fleet.close()

    with ThreadPoolExecutor(lanes) as threads:
        try:
            for _ in threads.map(work, KINDS):
                pass
        except KeyboardInterrupt:
            broken.set()
            raise
    return results
