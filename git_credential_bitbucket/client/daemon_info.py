"""The running daemons of this user and their facts. Starts none."""

from __future__ import annotations

import os
import socket
import struct

from git_credential_bitbucket import git_protocol, paths
from git_credential_bitbucket.client import daemon_launcher, ipc
from git_credential_bitbucket.errors import DaemonUnavailable, InsecurePath

PING_S = 5.0
"""Nothing blocks a ping; it is slow under load only."""


NUMBERS = frozenset({"pid", "uptime", "clients", "served"})
"""The facts that are numbers; uptime is in seconds."""


def socket_path() -> str:
    """The path of the daemon's socket. Raises `DaemonDisabled` where the daemon is switched off."""
    daemon_launcher.check_allowed(os.environ)
    return paths.socket_path(os.environ)


def daemon_facts(path: str) -> dict[str, str] | None:
    """The daemon's reply to `ping`, at its control socket if that can be reached; None where no daemon of ours runs.

    Raises `DaemonUnavailable` where it does not answer.
    """
    for at in (paths.control_socket(path), path):
        outcome, facts = _ping(at)
        if outcome == ipc.TIMEOUT:
            raise not_answering(at)
        if "pid" in facts:
            return facts
    return None


def listener_pid(path: str) -> int | None:
    """The pid of the process that listens at the socket; None where none does, 0 where it is unknown."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            if not hasattr(socket, "SO_PEERCRED"):
                return 0
            size = struct.calcsize("3i")
            pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
        except BlockingIOError:  # its queue is full
            return 0
        except OSError:
            return None
    return pid


def not_answering(path: str) -> DaemonUnavailable:
    """The error where a process listens at `path` and does not answer."""
    pid = listener_pid(path)
    hint = f"stop it: kill {pid}" if pid else "stop it, then run: git-credential-bitbucket daemon start"
    return DaemonUnavailable(f"process {pid or '?'} listens at the daemon's socket and does not answer", hint=hint)


def control_sockets() -> list[str]:
    """The control sockets of this user: the environment's, the runtime directory's, and on Linux all others."""
    default = os.path.dirname(paths.control_socket(paths.runtime_dir(os.environ) + "/socket"))
    found = {paths.control_socket(paths.socket_path(os.environ))}
    try:
        found |= {
            entry.path for entry in os.scandir(default) if not entry.name.endswith(".lock") and not entry.is_dir()
        }
    except OSError:  # no daemon has been there yet
        pass
    try:
        with open("/proc/net/unix", "rb") as file:
            named = [os.fsdecode(line.split(None, 7)[7].rstrip(b"\n")) for line in file if line.count(b"/")]
    except OSError:
        named = []
    return sorted(found | {path for path in named if os.path.dirname(path).endswith("-control")})


def socket_facts(path: str) -> dict[str, str]:
    """The reply of the socket at `path` to `ping`; empty where no daemon of ours answers."""
    try:
        return _ping(path)[1]
    except InsecurePath:  # another user's
        return {}


def _ping(path: str) -> tuple[ipc.Outcome, dict[str, str]]:
    outcome, reply = ipc.send_request(path, ipc.format_request("ping", b""), PING_S)
    return outcome, dict(git_protocol.parse_pairs(reply))
