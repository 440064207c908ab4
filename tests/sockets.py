"""Owns the ends of Unix sockets that tests hold: who listens at a path, and who connects to it."""

import os
import socket
import struct

TIMEOUT_S = 60.0


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
    """A port of this machine that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listener_of(path: str | os.PathLike[str], timeout: float = TIMEOUT_S) -> int:
    """The pid of the process that listens at a path."""
    with connected(path, timeout) as connection:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", peer)[0]
        return pid
