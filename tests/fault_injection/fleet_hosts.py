"""A host of a fleet: its home, its daemon with short times, and what it has served and done."""

import os

from tests.daemon.daemons import Daemon
from tests.fault_injection.network import Network
from tests.fault_injection.sandbox import Machine

LEASE_S = 0.8
HOSTS = 3
_RESERVED = "renewal-reserved"

_ENTER = """
import os, sys, time
sys.path.append(sys.argv.pop(1))
from git_credential_bitbucket.client.activate import third_party
third_party()
from git_credential_bitbucket.daemon.__main__ import main
from git_credential_bitbucket.vault.storage import redis_server, shared
shared.LEASE_S, shared._RECONNECT_S, shared._LONGEST_RECONNECT_S = {lease_s}, 0.5, 1.0
redis_server.CONNECT_TIMEOUT_S, redis_server.ANSWER_TIMEOUT_S, redis_server.PROOF_TIMEOUT_MS = 1.0, 2.5, 1000
redis_server.REREAD_S = 3.0
folder = {folder!r}
def step(name):
    with open(folder + "/trace", "a") as trace:
        trace.write(f"{{name}} {{time.time()}}\\n")
    try:
        os.rename(f"{{folder}}/stop-{{name}}", folder + "/reached")
    except FileNotFoundError:
        return
    while os.path.exists(folder + "/reached"):
        time.sleep(0.005)
sys.exit(main(sys.argv[1:], step))
"""


class Host:
    """One host. Its state: its daemon, and the tokens that it has served."""

    def __init__(self, number: int, machine: Machine, network: Network) -> None:
        self.number = number
        self.machine = machine
        self.served: list[str] = []
        self._trace = machine.home / "trace"
        self._launcher = network.launcher(number)
        self._enter = _ENTER.format(folder=str(machine.home), lease_s=LEASE_S)
        self.daemon = self.start()

    def start(self) -> Daemon:
        """A new daemon."""
        self.daemon = self.machine.daemon(enter=self._enter, launcher=self._launcher)
        return self.daemon

    def get(self) -> str:
        """The token that git is given; empty for none."""
        token = self.daemon.told_about("get", self.machine.request()).get("password", "")
        if token:
            self.served.append(token)
        return token

    def refresh(self, login: str) -> str:
        """Have a person renew the token; what the daemon said: `ok`, or why not."""
        try:
            answer = self.daemon.told_about("refresh", f"id={login}\nby_hand=1\n".encode())
        except OSError:
            return "the daemon is gone"
        return "ok" if "ok" in answer else answer.get("error", "no answer")

    def signal(self, number: int) -> None:
        """Send a signal to the process that serves."""
        os.kill(self.daemon.pid, number)

    def reserved(self) -> list[float]:
        """When it was about to send a request, each time."""
        if not self._trace.exists():
            return []
        lines = (line.split() for line in self._trace.read_text().split("\n")[:-1])
        return [float(at) for name, at in lines if name == _RESERVED]
