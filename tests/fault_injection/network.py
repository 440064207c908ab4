"""The network of a fleet of hosts: namespaces that can be cut off, or loopback where making them is not allowed.

In the namespaces there is a hub, where all servers are, and one for each host, with a cable to the hub. They have no
names and are no part of the machine's network: they end with the last process and descriptor that holds them.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

_CLONE_NEWNET = 0x40000000
Made = TypeVar("Made")


class Network(Protocol):
    """Where servers listen, and which host a connection comes from."""

    hub: str
    """The address at which servers listen."""
    can_cut: bool

    def launcher(self, host: int | None) -> list[str]:
        """The words that come before a command to run it on a host, or at the hub."""
        ...

    def server_address(self, host: int) -> str:
        """The address under which a host finds the hub."""
        ...

    def listen(self, port: int = 0) -> socket.socket:
        """A socket that listens at the hub."""
        ...

    def host_of(self, connection: socket.socket) -> int | None:
        """The host that a connection comes from; None for a server's own."""
        ...

    def cut(self, host: int) -> None:
        """Pull a host's cable: nothing arrives, and nobody is told."""
        ...

    def join(self, host: int) -> None:
        """Plug it in again."""
        ...


class Loopback:
    """All hosts on 127.0.0.1; each one knows the servers by an address of its own in 127.0.0.0/8."""

    hub = "127.0.0.1"
    can_cut = False

    def launcher(self, host: int | None) -> list[str]:
        """None."""
        del host
        return []

    def server_address(self, host: int) -> str:
        """By it the host is known."""
        return f"127.0.0.{host + 10}"

    def listen(self, port: int = 0) -> socket.socket:
        """At all of 127.0.0.0/8, and further."""
        listener = socket.create_server(("0.0.0.0", port), backlog=64)  # noqa: S104 - a test's, for moments
        listener.settimeout(None)
        return listener

    def host_of(self, connection: socket.socket) -> int | None:
        """By the address that was connected to."""
        last = int(connection.getsockname()[0].rpartition(".")[2])
        return last - 10 if last >= 10 else None

    def cut(self, host: int) -> None:
        """Not to be had."""
        raise NotImplementedError(host)

    join = cut


class Namespaces:
    """Network namespaces: number 0 is the hub's. Its state: a descriptor for each."""

    hub = "10.77.0.1"
    can_cut = True

    def __init__(self, hosts: int) -> None:
        """Raises `OSError` where it is not allowed."""
        self._descriptors: list[int] = []
        try:
            for number in range(hosts + 1):
                self._descriptors.append(_new_namespace())
                self._ip(number, "link", "set", "lo", "up")
            self._ip(0, "address", "add", f"{self.hub}/32", "dev", "lo")
            for host in range(hosts):
                there = self._path(host + 1)
                self._ip(0, "link", "add", f"h{host}", "type", "veth", "peer", "name", "hub", "netns", there)
                self._ip(0, "address", "add", f"10.77.{host + 1}.1/24", "dev", f"h{host}")
                self._ip(0, "link", "set", f"h{host}", "up")
                self._ip(host + 1, "address", "add", f"10.77.{host + 1}.2/24", "dev", "hub")
                self._ip(host + 1, "link", "set", "hub", "up")
                self._ip(host + 1, "route", "add", "default", "via", f"10.77.{host + 1}.1")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of them."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def launcher(self, host: int | None) -> list[str]:
        """By nsenter(1)."""
        return ["nsenter", f"--net={self._path(0 if host is None else host + 1)}", "--"]

    def server_address(self, host: int) -> str:
        """The same for all."""
        del host
        return self.hub

    def listen(self, port: int = 0) -> socket.socket:
        """In the hub's namespace."""
        return _inside(self._descriptors[0], lambda: socket.create_server((self.hub, port), backlog=64))

    def host_of(self, connection: socket.socket) -> int | None:
        """By its address."""
        _, _, cable, last = connection.getpeername()[0].split(".")
        return int(cable) - 1 if (int(cable), last) != (0, "1") else None

    def cut(self, host: int) -> None:
        """The cable's end at the hub goes down: no packet passes, and nothing is reset."""
        self._ip(0, "link", "set", f"h{host}", "down")

    def join(self, host: int) -> None:
        """And up again."""
        self._ip(0, "link", "set", f"h{host}", "up")

    def _path(self, number: int) -> str:
        return f"/proc/{os.getpid()}/fd/{self._descriptors[number]}"

    def _ip(self, number: int, *words: str) -> None:
        command = ["nsenter", f"--net={self._path(number)}", "--", "ip", *words]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise OSError(f"ip {' '.join(words)}: {answer.stderr.strip()}")


@contextmanager
def network(hosts: int) -> Iterator[Network]:
    """Namespaces if this machine allows them, else loopback."""
    try:
        made = Namespaces(hosts)
    except OSError:
        yield Loopback()
        return
    try:
        yield made
    finally:
        made.close()


def relay(listener: socket.socket, target: tuple[str, int]) -> None:
    """Have whatever connects to `listener` connected to `target`, until it is closed."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(target)
                except OSError:
                    near.close()
                    continue
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until either ends, and end both."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    hang_up(source, target)


def hang_up(*connections: socket.socket) -> None:
    """End connections that another thread may be reading."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _new_namespace() -> int:
    def make() -> int:
        _checked("unshare", _CLONE_NEWNET)
        return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(make)


def _inside(namespace: int, make: Callable[[], Made]) -> Made:
    def enter() -> Made:
        _checked("setns", namespace, _CLONE_NEWNET)
        return make()

    return _in_thread(enter)


def _in_thread(make: Callable[[], Made]) -> Made:
    """What `make` returns or raises in a thread that ends then: a namespace is one thread's."""
    found: list[Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(make())
        except OSError as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _checked(name: str, *arguments: int) -> None:
    """A call of the C library: `os` has these two from Python 3.12 on."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
