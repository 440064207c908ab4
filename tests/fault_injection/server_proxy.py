"""A proxy in front of a Redis or Valkey server that knows the commands of a shared vault, and stops one that is meant.

Each server of a fleet has one. It can hold a command of one host before the server has it, or the server's answer; it
can say nothing to some hosts, as a network does that is cut, and let no replica read further.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Literal

from git_credential_bitbucket.vault.storage import redis_server
from tests.fault_injection.network import Network, hang_up

Moment = Literal["before", "after"]
SCRIPTS = {
    getattr(redis_server, f"_{name}").encode(): step
    for name, step in {
        "LEASE": "lease",
        "INTEND": "intent",
        "COMMIT": "commit",
        "WITHDRAW": "withdrawal",
        "RELEASE": "release",
    }.items()
}
"""Which step of the protocol a script of the program's is."""
HELD_AT_MOST_S = 60.0


class Stop:
    """Where one command of one host is stopped, once: it is `reached` by the command, which goes on when `passed`."""

    def __init__(self, host: int, step: str, moment: Moment) -> None:
        self.host = host
        self.step = step
        self.moment = moment
        self.reached = threading.Event()
        self.passed = threading.Event()

    def hold(self) -> None:
        """Wait, in the connection's own thread."""
        self.reached.set()
        self.passed.wait(HELD_AT_MOST_S)


class Control:
    """What the proxies of one fleet do. Its state: the stop that is set, who is cut off, who has a lease."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.stop: Stop | None = None
        self.cut_off: set[int] = set()
        """Hosts that no server answers, where the network itself cannot be cut."""
        self.leased: set[int] = set()

    def take(self, host: int | None, step: str, moment: Moment) -> Stop | None:
        """The stop, if this is it."""
        stop = self.stop
        if stop is None or (stop.host, stop.step, stop.moment) != (host, step, moment) or stop.reached.is_set():
            return None
        return stop

    def is_announced(self, host: int | None) -> bool:
        """Whether this host is told of changes: not of the one that is to be missed."""
        stop = self.stop
        if stop is None or stop.step != "announcement" or host is None or host == stop.host:
            return True
        stop.reached.set()
        return False


class Proxy:
    """One server's. Its state: its address, who alone may reach it, whether replicas are kept waiting."""

    def __init__(self, control: Control, upstream: str) -> None:
        """`upstream` is the server's Unix socket."""
        self._control = control
        self._upstream = upstream
        self._listener = control.network.listen()
        self.port: int = self._listener.getsockname()[1]
        self.only: int | None = None
        """The one host that reaches the server; None for all, other servers too."""
        self.keeps_replicas_back = False
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        hang_up(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        try:
            host = self._control.network.host_of(near)
            far.connect(self._upstream)
        except OSError:
            hang_up(near, far)
            return
        _Connection(self, self._control, host, near, far).run()

    def is_silent(self, host: int | None) -> bool:
        """Whether nothing passes to or from this host now."""
        return host in self._control.cut_off or (self.only is not None and host != self.only)


class _Connection:
    def __init__(
        self, proxy: Proxy, control: Control, host: int | None, near: socket.socket, far: socket.socket
    ) -> None:
        self._proxy = proxy
        self._control = control
        self._host = host
        self._near = near
        self._far = far
        self._answer: Stop | None = None
        self._last = ""
        self._is_replica = False

    def run(self) -> None:
        threading.Thread(target=self._answers, daemon=True).start()
        with contextlib.suppress(OSError):
            for raw, words in commands(self._near):
                self._command(raw, words)
        hang_up(self._near, self._far)

    def _command(self, raw: bytes, words: list[bytes]) -> None:
        step = self._step(words)
        if (stop := self._control.take(self._host, step, "before")) is not None:
            stop.hold()
        self._wait(lambda: self._proxy.is_silent(self._host))
        self._answer = self._control.take(self._host, step, "after") if step else None
        self._far.sendall(raw)

    def _step(self, words: list[bytes]) -> str:
        name = words[0].upper() if words else b""
        self._is_replica |= name in (b"PSYNC", b"SYNC")
        if self._host is None:
            return ""
        if name == b"EVAL":
            self._last = SCRIPTS.get(words[1], "")
            if self._last == "lease":
                self._control.leased.add(self._host)
            elif self._last == "release":
                self._control.leased.discard(self._host)
            return self._last
        if name in (b"WAITAOF", b"WAIT"):
            return f"{self._last} proved"
        if name == b"HMGET" and words[1].endswith(b":head") and self._host in self._control.leased:
            return "read"
        return ""

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._far.recv(65536):
                if (stop := self._answer) is not None:
                    self._answer = None
                    stop.hold()
                self._wait(lambda: self._proxy.is_silent(self._host))
                self._wait(lambda: self._is_replica and self._proxy.keeps_replicas_back)
                if b"message" in data and b":changes" in data and not self._control.is_announced(self._host):
                    continue
                self._near.sendall(data)
        hang_up(self._near, self._far)

    def _wait(self, holds: Callable[[], bool]) -> None:
        while holds():
            threading.Event().wait(0.01)


def commands(connection: socket.socket) -> Iterator[tuple[bytes, list[bytes]]]:
    """The commands that come over a connection, as they came and as words. Another protocol comes as it is."""
    buffer = b""
    while data := connection.recv(65536):
        buffer += data
        while buffer:
            found = _command_in(buffer)
            if found is None:
                break
            words, length = found
            yield buffer[:length], words
            buffer = buffer[length:]


def _command_in(buffer: bytes) -> tuple[list[bytes], int] | None:
    """The first command in it, and its length; None where its end has not come."""
    if not buffer.startswith(b"*"):
        return [], len(buffer)
    head, end, _ = buffer.partition(b"\r\n")
    if not end:
        return None
    at, words = len(head) + 2, []
    for _ in range(int(head[1:])):
        length = buffer.find(b"\r\n", at)
        if length < 0:
            return None
        start = length + 2
        at = start + int(buffer[at + 1 : length]) + 2
        if at > len(buffer):
            return None
        words.append(buffer[start : at - 2])
    return words, at
