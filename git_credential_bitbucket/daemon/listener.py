"""The daemon's sockets: their paths are claimed under a lock, and removed at the end only if they are still ours."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket import files, git_protocol, paths
from git_credential_bitbucket.daemon.limits import BACKLOG
from git_credential_bitbucket.daemon.peers import SocketName, peer_of
from git_credential_bitbucket.errors import DaemonUnavailable, InsecurePath, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_LOCK_S = 30.0
"""How long another daemon may hold the lock, which it does until it listens."""
PING_TIMEOUT_S = 5.0
"""How long the process that listens at our path may take to answer a ping."""
_MAX_ANSWER_BYTES = 1 << 16
_PAUSE_S = 0.01
_FREE, _OURS, _STOPPING, _OUTDATED = "free", "ours", "leaving", "outdated"
"""The state of a path: free, a daemon that serves, one that is about to unlink its socket, one of the release 0.1.0,
which has no control socket."""
_EXIT = b"action=exit\ntimeout=0\n"

Identity = tuple[int, int]
_MODES = {"git": (0o700, 0o600), "control": (0o700, 0o600), "guests": (0o711, 0o666)}
"""The modes of each socket's directory and of the socket; other users can reach the guests' socket only."""


def socket_paths(path: str, *, guests: bool) -> dict[SocketName, str]:
    """The paths of a daemon's sockets, given that of git's; `guests`: other users are admitted."""
    found: dict[SocketName, str] = {"control": paths.control_socket(path)}
    if guests:
        found["guests"] = paths.guest_socket(path)
    return {**found, "git": path}  # last: a client that is answered there finds the others


class Listener:
    """The paths at which this daemon listens, each with its inode, which a successor's socket there does not share.

    The inode's number is not reused while the socket is open.
    """

    def __init__(self, path: str, held: dict[str, Identity] | None = None) -> None:
        """`path` is git's socket; `held` has device and inode of each of ours (git's may be systemd's to remove)."""
        self.path = path
        self.held = dict(held or {})

    def owns_paths(self) -> bool:
        """Whether the paths still lead to our sockets."""
        return all(_identity(path) == identity for path, identity in self.held.items())

    def release(self) -> bool:
        """Unlink the sockets that are still ours. False while another daemon is starting: serve on and try again.

        Never waits: the starting daemon holds the lock while it pings this one.
        """
        try:
            with _start_lock(self.path, 0.0):
                self.unlink()
        except DaemonUnavailable:
            return False
        except OSError:
            self.unlink()  # git's directory is gone or another user's, so no client can reach us there
        return True

    def unlink(self) -> None:
        """Remove the sockets that are still ours."""
        for path, identity in self.held.items():
            if _identity(path) == identity:
                os.unlink(path)

    def listen(self, wanted: dict[SocketName, str]) -> dict[SocketName, socket.socket]:
        """Listen at further paths once git's is ours. Raises as `claim` does."""
        with _reporting_errors(self.path), _start_lock(self.path, START_LOCK_S):
            return self.bind(wanted)

    def open(self, wanted: dict[SocketName, str]) -> dict[SocketName, socket.socket]:
        """As `listen`, where no other daemon looks for a socket, so that no lock is needed."""
        with _reporting_errors(self.path):
            return self.bind(wanted)

    def bind(self, wanted: dict[SocketName, str]) -> dict[SocketName, socket.socket]:
        """As `listen`, under the lock."""
        bound: dict[SocketName, socket.socket] = {}
        for door, path in wanted.items():
            _check(path)
            directory_mode, mode = _MODES[door]
            paths.make_private_dir(os.path.dirname(path), directory_mode)
            _remove_socket(path)  # a killed daemon's: a running one would hold git's socket as well
            bound[door] = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
            self.held[path] = _identity(path) or (0, 0)
            os.chmod(path, mode)  # no race: no one can connect before `listen`
            listener.listen(BACKLOG)
        return bound


def claim(wanted: dict[SocketName, str]) -> tuple[dict[SocketName, socket.socket], Listener] | None:
    """Listen at `wanted`; None if a daemon of ours does already. Raises `InsecurePath` or `DaemonUnavailable`."""
    path = wanted["git"]
    _check(path)
    deadline = time.monotonic() + START_LOCK_S
    with _reporting_errors(path):
        paths.make_private_dir(os.path.dirname(path))
        while True:
            with _start_lock(path, START_LOCK_S):
                standing = _clear_path(path)
                if standing == _OURS:
                    return None
                if standing == _FREE:
                    ours = Listener(path)
                    return ours.bind(wanted), ours
            if standing == _OUTDATED:
                _stop_outdated(path)  # not under the lock, which it needs to stop
            if time.monotonic() > deadline:
                raise DaemonUnavailable("the previous daemon does not stop", hint="stop it, or try again")
            time.sleep(_PAUSE_S)


def _check(path: str) -> None:
    paths.check_socket_path(path)
    if not path.startswith("/"):
        hint = "set GIT_CREDENTIAL_BITBUCKET_SOCKET to an absolute path"
        raise InsecurePath("the socket's path is relative, so each process would look in another directory", hint=hint)


@contextmanager
def _reporting_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        cause = f"cannot listen at {paths.shown(exc.filename or path)}: {os.strerror(exc.errno or 0).lower()}"
        hint = "set XDG_RUNTIME_DIR or GIT_CREDENTIAL_BITBUCKET_SOCKET to a path of your own"
        raise DaemonUnavailable(cause, hint=hint) from exc


def adopt_listener(descriptor: int) -> socket.socket:
    """The listening socket at an inherited descriptor. Raises `SettingsError` if it is none."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.family == socket.AF_UNIX and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.set_inheritable(False)
            listener.listen(BACKLOG)  # the kernel names this process as the listener from now on (SO_PEERCRED)
            return listener
        listener.detach()
    except OSError:
        pass
    hint = "the socket unit needs one ListenStream= with a path"
    raise SettingsError(f"descriptor {descriptor} is not a listening Unix socket", hint=hint)


def remove_directory(path: str) -> None:
    """Remove the directories of a single command's sockets; the process that made them may have been killed."""
    directory = os.path.dirname(path)
    try:
        os.unlink(path + ".lock")
        for made in (directory, os.path.dirname(paths.control_socket(path)), os.path.dirname(directory)):
            os.rmdir(made)
    except OSError:
        pass  # they are removed already, or not empty


@contextmanager
def _start_lock(path: str, seconds: float) -> Iterator[None]:
    """The lock under which sockets are checked and replaced. Raises `DaemonUnavailable` after `seconds`.

    The file is never removed: a waiter would hold a lock that no other process finds.
    """
    descriptor = files.open_private(path + ".lock", os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    cause = f"another daemon has been starting for {seconds:.0f} s"
                    raise DaemonUnavailable(cause, hint=f"find the process: fuser {paths.shown(path)}.lock") from None
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def _clear_path(path: str) -> str:
    """Free `path` unless a daemon of ours serves it; returns its state. An unserved socket is a killed daemon's."""
    try:
        answer, listener = _ask(path, b"action=ping\ntimeout=0\n\n")
        told = dict(git_protocol.parse_pairs(answer))
        if "pid" in told:
            if "leaving" in told:
                return _STOPPING
            # A forwarded socket leads to a daemon elsewhere, which is not stopped.
            return _OURS if "vault_id" in told or told["pid"] != str(listener) else _OUTDATED
        # git's own cache daemon, which `git credential-cache store` starts at any free socket. It unlinks its socket
        # and exits.
        _ask(path, _EXIT)
    except (ConnectionError, FileNotFoundError):
        pass
    _remove_socket(path)
    return _FREE


def _remove_socket(path: str) -> None:
    """Unlink a socket without a listener. Raises `InsecurePath` where `path` is not a socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            hint = f"see what it is: ls -ld {paths.typed(path)}; then remove it"
            raise InsecurePath(f"{paths.shown(path)} exists and is not a socket", hint=hint)
        os.unlink(path)
    except FileNotFoundError:
        pass


def _stop_outdated(path: str) -> None:
    """Stop a daemon of the release 0.1.0. Raises `DaemonUnavailable` where it refuses."""
    try:
        answer, _ = _ask(path, _EXIT)
    except (ConnectionError, FileNotFoundError):
        return
    told = dict(git_protocol.parse_pairs(answer))
    if "error" in told:
        raise DaemonUnavailable(told["error"], hint=told.get("hint") or "try again")


def _ask(path: str, request: bytes) -> tuple[bytes, int]:
    """The reply of the process that listens at `path`, and its pid, 0 where unknown.

    Raises `ConnectionError` or `FileNotFoundError` where none listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        deadline = time.monotonic() + PING_TIMEOUT_S
        try:
            connection.connect(path)
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while len(answer) < _MAX_ANSWER_BYTES and (chunk := connection.recv(4096)):
                answer += chunk
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
        except (TimeoutError, BlockingIOError):
            pid = _pid(connection)
            cause = f"process {pid or '?'} listens at the daemon's socket and does not answer"
            hint = f"stop it: kill {pid}" if pid else f"remove {paths.shown(path)}"
            raise DaemonUnavailable(cause, hint=hint) from None
        return answer, _pid(connection)


def _pid(connection: socket.socket) -> int:
    try:
        return peer_of(connection).pid
    except (OSError, struct.error):  # not connected: its queue is full
        return 0


def _identity(path: str) -> Identity | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
