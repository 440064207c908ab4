"""Upgrades of a running daemon: notices a changed package, checks it, and hands over to a successor.

Without it, a late import would load the new version's module into the old process. The listening socket is never
closed: clients wait in its queue meanwhile. Imports peers and errors only.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket.daemon.peers import peer_of
from git_credential_bitbucket.errors import SettingsError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

SETTLE_S = 2.0
"""Installers write for about a second; half a package is not started."""
RETRY_S = 60.0
"""A package that does not start may lack another one, which is not watched."""
CHECK_TIMEOUT_S = 30.0
HANDOVER_TIMEOUT_S = 30.0
"""For a Python to start on a machine under load; clients wait longer."""
MAX_DESCRIPTORS = 160
"""The daemon's own, and one for each grant; the system takes 253 at once (SCM_MAX_FD, unix(7))."""
_DESCRIPTORS, _READY, _GO = b"\n", b"ready\n", b"go\n"
"""The handover: the predecessor sends descriptors and a line of JSON; the successor is ready; it is to serve."""

Stamp = tuple[tuple[str, int, int, int], ...]


def package_stamp() -> Stamp:
    """The times, inodes and sizes of the package's modules and of the interpreter."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = [_stamp_of(sys.executable)]
    try:
        with os.scandir(top) as entries:
            rooms = [top, *(entry.path for entry in entries if entry.is_dir())]
        for room in rooms:
            with os.scandir(room) as entries:
                found += [_stamp_of(entry.path) for entry in entries if entry.name.endswith(".py")]
    except OSError:  # it is being replaced
        pass
    return tuple(sorted(found))


def _stamp_of(path: str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, found.st_mtime_ns, found.st_ino, found.st_size


class PackageWatch:
    """Tells when a changed package can be started: once its files have not changed for a while."""

    def __init__(self) -> None:
        """The package on disk is the one that runs."""
        self._running = self._seen = package_stamp()
        self._ripe_at = 0.0

    def has_settled(self, now: float) -> bool:
        """Whether the package differs from what runs, and has not changed for `SETTLE_S`. `now` is monotonic."""
        stamp = package_stamp()
        if stamp != self._seen:
            self._seen, self._ripe_at = stamp, now + SETTLE_S
        return stamp != self._running and now >= self._ripe_at

    @property
    def changed(self) -> bool:
        """Whether there is a change that has not been started yet."""
        return self._seen != self._running

    def mark_incomplete(self, now: float) -> None:
        """Treat the running package as incomplete: an import failed in its middle, and a second try does not help."""
        if self._running:
            self._running, self._ripe_at = (), now + SETTLE_S

    def retry_later(self, now: float) -> None:
        """Try again with the next change, or after `RETRY_S`: the present package does not start."""
        self._ripe_at = now + RETRY_S


def command(arguments: Sequence[str], own_arguments: Sequence[str]) -> list[str]:
    """The command that started this process, with `arguments` instead of its own."""
    kept = sys.orig_argv[1 : len(sys.orig_argv) - len(own_arguments)]
    return [sys.executable, *kept, *arguments]


def can_start(check: Sequence[str]) -> bool:
    """Whether the installed package can be started: runs `check`. A job."""
    import subprocess  # lazy: 0.7 MiB that a daemon without an upgrade never needs

    try:
        done = subprocess.run(
            check, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def hand_over(
    arguments: Sequence[str], document: Mapping[str, object], descriptors: Mapping[str, int], wanted: Callable[[], bool]
) -> bool:
    """Start a successor and hand `document` and `descriptors` over to it; returns whether it serves from now on.

    It inherits nothing, because others can open its descriptors until it has hardened itself. It connects afterwards
    and is recognised by its session. If anything fails before the last message, for which `wanted` must hold, this
    daemon serves on.
    """
    import subprocess  # lazy: 0.7 MiB that a daemon without an upgrade never needs

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the kernel chooses a name that is in no directory (unix(7))
        listener.listen()
        name: bytes = listener.getsockname()
        env = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        try:
            command, pipe, null = [*arguments, "--predecessor", name.hex()], subprocess.PIPE, subprocess.DEVNULL
            process = subprocess.Popen(command, env=env, stdin=null, stdout=pipe, stderr=null, start_new_session=True)
        except OSError:
            return False
        try:
            if _send_handover(_accept_successor(listener, process), document, descriptors, wanted):
                return True
        except OSError:  # it has ended, or takes too long
            pass
        process.kill()
        process.communicate()
        return False


def _accept_successor(listener: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
    """The connection of the process that was started, or of its fork. Raises `OSError` if none comes."""
    deadline = time.monotonic() + HANDOVER_TIMEOUT_S
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    waiting.register(process.stdout or 0, select.POLLIN)  # an error, or its end
    while ready := waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if listener.fileno() not in dict(ready):
            break
        connection, _ = listener.accept()
        try:
            if os.getsid(peer_of(connection).pid) == process.pid:
                connection.settimeout(HANDOVER_TIMEOUT_S)
                return connection
        except OSError:  # it has gone
            pass
        connection.close()
    raise TimeoutError


def _send_handover(
    connection: socket.socket,
    document: Mapping[str, object],
    descriptors: Mapping[str, int],
    wanted: Callable[[], bool],
) -> bool:
    with connection, connection.makefile("rb") as words:
        socket.send_fds(connection, [_DESCRIPTORS], list(descriptors.values()))
        connection.sendall(json.dumps({**document, "descriptors": list(descriptors)}).encode() + b"\n")
        if words.readline() != _READY or not wanted():
            return False
        connection.sendall(_GO)
        return True


class Predecessor:
    """The connection to the daemon that started this one, which waits for this one to be ready."""

    def __init__(self, name: str) -> None:
        """Receive the handover. Raises `SettingsError` where there is none."""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(HANDOVER_TIMEOUT_S)
        self._words = self._connection.makefile("rb")
        try:
            self._connection.connect(bytes.fromhex(name))
            size = len(_DESCRIPTORS)
            _, numbers, _, _ = socket.recv_fds(self._connection, size, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
            self.document: dict[str, Any] = json.loads(self._words.readline())
            self.descriptors: dict[str, int] = dict(zip(self.document["descriptors"], numbers, strict=True))
        except (OSError, ValueError, KeyError):
            raise SettingsError("no daemon hands over to this one", hint="omit --predecessor") from None

    def hands_over(self) -> bool:
        """Report that this daemon is ready; returns whether it is to serve. False: the predecessor serves on."""
        try:
            self._connection.sendall(_READY)
            return self._words.readline() == _GO
        except OSError:
            return False
        finally:
            self._words.close()
            self._connection.close()


def read_handover(descriptor: int) -> dict[str, Any]:
    """The handover of the program that ran in this process before, from a pipe (of 0.1.0, from memory). Closes it."""
    with open(descriptor, "rb") as file:
        document: dict[str, Any] = json.loads(file.read())
    return document


def exec_successor(arguments: Sequence[str], document: Mapping[str, object], descriptors: Mapping[str, int]) -> None:
    """Execute the installed program in this process, where `hand_over` does not work (macOS).

    `document` is passed in a pipe's buffer, and must fit. Returns only where that fails; then nothing has changed.
    """
    reading, writing = os.pipe()
    try:
        data = json.dumps(document).encode()
        os.set_blocking(writing, False)
        if os.write(writing, data) < len(data):
            return
        os.close(writing)
        writing = -1
        handed = {**descriptors, "--handover-fd": reading}
        for descriptor in handed.values():
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's signature
        words = [word for name, number in handed.items() for word in (name, str(number))]
        os.execv(arguments[0], [*arguments, *words])  # noqa: S606 - no shell is wanted
    except OSError:
        for descriptor in descriptors.values():
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - as above
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
