"""Owns the ends of Unix sockets that tests hold: who listens at a path, and who connects to it."""

import errno
import os
import random
import socket
import struct
from pathlib import Path

TIMEOUT_S = 60.0
LOWEST_PORT = 11000
"""Above those that browsers refuse to open."""


def listener_at(path: str | os.PathLike[str], backlog: int = 8) -> socket.socket:
    """Listen at a path, in a folder of this user's alone, and answer nobody."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen(backlog)
    return listener


def connected(path: str | os.PathLike[str], timeout: float = TIMEOUT_S) -> socket.socket:
    """A connection that nothing was sent on. Raises OSError where nobody listens."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection


def free_port() -> int:
    """A port that is free on both loopback addresses, and that the system gives nobody who does not name it: on a busy
    machine another program would have it by the time that it is used.
    """
    given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(LOWEST_PORT, max(given, 2 * LOWEST_PORT))
        if not any(map(_is_taken, (socket.AF_INET, socket.AF_INET6), ("127.0.0.1", "::1"), (port, port))):
            return port


def _is_taken(family: int, address: str, port: int) -> bool:
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE  # a machine may be without IPv6
    return False


def listener_of(path: str | os.PathLike[str], timeout: float = TIMEOUT_S) -> int:
    """The pid of the process that listens at a path."""
    with connected(path, timeout) as connection:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", peer)[0]
        return pid
