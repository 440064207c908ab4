"""The servers of a fleet: one primary with its disk, or a primary, a replica and three Sentinels; behind proxies."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

from tests.daemon.daemons import eventually
from tests.fault_injection.network import Network
from tests.fault_injection.server_proxy import Control, Proxy
from tests.sockets import free_port
from tests.valkey import Valkey, program

Deployment = Literal["alone", "promised", "unpromised"]
"""One primary; or Sentinels, and a replica that must have each write (`replicas=1`), or need not have it."""
SERVICE, VAULT = "team", "fleet"
DOWN_AFTER_MS = 1000
SENTINELS = 3


class Servers:
    """All of them. Its state: which node is the primary, and the processes."""

    def __init__(self, network: Network, deployment: Deployment) -> None:
        self.network = network
        self.deployment = deployment
        self.control = Control(network)
        self.nodes: list[Valkey] = []
        self.proxies: list[Proxy] = []
        self._sentinels: list[_Sentinel] = []
        self.primary = 0
        self.relapses = 0
        """How often Sentinel, on a slow machine, went back to the node that it had replaced, with the older data."""
        try:
            for _ in range(1 if deployment == "alone" else 2):
                self._add_node()
            for _ in range(0 if deployment == "alone" else SENTINELS):
                self._sentinels.append(_Sentinel(network, self.proxies[0].port))
            self.wait_until_stable()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything."""
        for sentinel in self._sentinels:
            sentinel.close()
        for node in self.nodes:
            node.stop()
            shutil.rmtree(node.folder, ignore_errors=True)
        for proxy in self.proxies:
            proxy.close()

    def url(self, host: int) -> str:
        """The vault's address as this host knows it."""
        if self.deployment == "alone":
            return f"redis://{self.network.server_address(host)}:{self.proxies[0].port}/0?vault={VAULT}"
        hosts = ",".join(f"{self.network.hub}:{sentinel.port}" for sentinel in self._sentinels)
        replicas = 1 if self.deployment == "promised" else 0
        return f"redis+sentinel://{hosts}/{SERVICE}/0?vault={VAULT}&replicas={replicas}"

    def client(self) -> Any:  # noqa: ANN401 - as redis-py has it
        """A client of the primary's, past its proxy."""
        return self.nodes[self.primary].client()

    def kill_primary(self) -> None:
        """Its data stays on its disk."""
        self.nodes[self.primary].stop()

    def restart_primary(self) -> None:
        """From its disk."""
        self.nodes[self.primary].start()

    def wait_for_promotion(self) -> None:
        """Until Sentinel has made the other node the primary."""
        before = self.primary
        eventually(lambda: self._named_primary() == 1 - before)
        self.primary = 1 - before

    def bring_back_old_primary(self) -> None:
        """As a replica, which Sentinel would make of it after ten seconds."""
        old, new = self.nodes[1 - self.primary], self.proxies[self.primary].port
        if old.process is None:
            old.start("--replicaof", f"{self.network.hub} {new}")
        else:
            old.client().execute_command("REPLICAOF", self.network.hub, new)
        self.proxies[1 - self.primary].only = None
        self.wait_until_stable()

    def wait_until_stable(self) -> None:
        """Until there is one primary, the replica has all of it, and all Sentinels could promote that."""
        for proxy in self.proxies:
            proxy.keeps_replicas_back = False
        if self.deployment != "alone":
            eventually(self._is_stable)

    def _named_primary(self) -> int | None:
        """The node that all Sentinels say is the primary."""
        said = {sentinel.primary_port() for sentinel in self._sentinels}
        numbers = [n for n, proxy in enumerate(self.proxies) if said == {str(proxy.port).encode()}]
        return numbers[0] if numbers else None

    def _is_stable(self) -> bool:
        number = self._named_primary()
        if number is None:
            return False
        self.relapses += number != self.primary
        self.primary = number
        primary, replica = self.nodes[number].client(), self.nodes[1 - number].client()
        ours, its = primary.info("replication"), replica.info("replication")
        port = self.proxies[1 - number].port
        return (
            (ours["role"], its["role"], its.get("master_link_status")) == ("master", "slave", "up")
            and its["master_port"] == self.proxies[number].port
            and int(its["slave_repl_offset"]) >= int(ours["master_repl_offset"])
            and all(sentinel.could_promote(str(port).encode()) for sentinel in self._sentinels)
        )

    def _add_node(self) -> None:
        network = self.network
        options = ["--protected-mode", "no", "--replica-announce-ip", network.hub, "--repl-diskless-sync-delay", "0"]
        node = Valkey(*options, launcher=network.launcher(None), address=network.hub)
        self.nodes.append(node)
        proxy = Proxy(self.control, node.socket)
        self.proxies.append(proxy)
        node.client().config_set("replica-announce-port", proxy.port)
        node.options = (*node.options, "--replica-announce-port", str(proxy.port))
        if len(self.nodes) > 1:
            node.client().execute_command("REPLICAOF", network.hub, self.proxies[0].port)


class _Sentinel:
    """One Sentinel. Its state: the process."""

    def __init__(self, network: Network, primary_port: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gcb-sentinel-", dir="/tmp"))
        self.port = free_port()
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind {network.hub}\nprotected-mode no\nunixsocket {self._folder}/s\n"
            f"sentinel monitor {SERVICE} {network.hub} {primary_port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} 1000\n"
        )
        command = [*network.launcher(None), program(), str(config), "--sentinel"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._folder)
        eventually(lambda: self._ask("PING") is not None)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def primary_port(self) -> bytes | None:
        """Where it says that the primary is."""
        found = self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return found[1] if found else None

    def could_promote(self, port: bytes) -> bool:
        """Whether it knows the other Sentinels, and at that port a replica that answers."""
        primary = _pairs(self._ask("SENTINEL", "MASTER", SERVICE))
        replicas = [_pairs(one) for one in self._ask("SENTINEL", "REPLICAS", SERVICE) or ()]
        return (
            int(primary.get(b"num-other-sentinels", b"0")) == SENTINELS - 1
            and primary[b"flags"] == b"master"
            and any(one[b"port"] == port and one[b"flags"] == b"slave" for one in replicas)
        )

    def _ask(self, *words: str) -> Any:  # noqa: ANN401 - as redis-py has it
        import redis

        try:
            with redis.Redis(unix_socket_path=f"{self._folder}/s", protocol=2) as client:
                client.response_callbacks.clear()
                return client.execute_command(*words)
        except redis.RedisError:
            return None


def _pairs(answer: Any) -> dict[bytes, bytes]:  # noqa: ANN401 - as redis-py has it
    return dict(zip(answer[::2], answer[1::2], strict=True)) if answer else {}
