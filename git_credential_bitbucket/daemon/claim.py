"""The daemon's path: taken under a lock, from whoever left it or sits on it by mistake; given back only if still ours.

Imports paths and errors only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket import paths
from git_credential_bitbucket.daemon.limits import BACKLOG
from git_credential_bitbucket.daemon.peers import peer_of
from git_credential_bitbucket.errors import DaemonUnavailable, PlaceRefused, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_LOCK_S = 10.0
"""How long another daemon may take to start; it holds the lock only until it listens."""
STANDING_ANSWER_S = 5.0
"""How long whoever listens on our path may take to say who it is."""
_PAUSE_S = 0.01
_FREE, _OURS, _LEAVING = "free", "ours", "leaving"
"""What is found at the path: nothing any more, a daemon that serves, one that is about to unlink its socket."""
_LISTEN_DESCRIPTOR = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)

Identity = tuple[int, int]


class Claim:
    """A path that we listen at. A class for what tells it from a successor's socket under the same name: its inode.

    The number is not used again while the socket is open, for that holds the inode.
    """

    def __init__(self, path: str, identity: Identity | None) -> None:
        """`identity` is device and inode; None where the socket is somebody else's to remove (systemd's)."""
        self.path = path
        self.identity = identity

    def holds(self) -> bool:
        """Whether the path still leads to us."""
        return self.identity is None or _identity(self.path) == self.identity

    def release(self) -> bool:
        """Unlink the socket if it is still ours. False if somebody is just starting: ask again, and serve meanwhile.

        Never waits: who starts holds the lock while it asks us whether we are leaving.
        """
        if self.identity is None or not self.holds():
            return True
        try:
            with _start_lock(self.path, 0.0):
                if self.holds():
                    os.unlink(self.path)
        except DaemonUnavailable:
            return False
        except OSError:
            pass  # the directory is gone or in other hands, and with it everybody who could find us there
        return True


def claim(path: str, mode: int = 0o600) -> tuple[socket.socket, Claim] | None:
    """Listen at `path`; None if a daemon of ours does already. Raises `PlaceRefused` or `DaemonUnavailable`.

    `mode` is the socket's; its directory is closed to others in any case.
    """
    paths.check_socket_path(path)
    if not path.startswith("/"):
        raise PlaceRefused(
            "the socket's path is relative, and every process would look elsewhere",
            hint="set GIT_CREDENTIAL_BITBUCKET_SOCKET to a path that begins with /",
        )
    deadline = time.monotonic() + START_LOCK_S
    try:
        paths.make_private_dir(os.path.dirname(path))
        while True:
            with _start_lock(path, START_LOCK_S):
                standing = _clear(path)
                if standing == _OURS:
                    return None
                if standing == _FREE:
                    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    listener.bind(path)
                    os.chmod(path, mode)  # no race: nobody can connect before `listen`
                    listener.listen(BACKLOG)
                    return listener, Claim(path, _identity(path))
            if time.monotonic() > deadline:
                raise DaemonUnavailable("the daemon before this one does not leave", hint="end it, or try again")
            time.sleep(_PAUSE_S)
    except OSError as exc:
        raise DaemonUnavailable(
            f"cannot listen at {paths.shown(path)}: {os.strerror(exc.errno or 0).lower()}",
            hint="set XDG_RUNTIME_DIR or GIT_CREDENTIAL_BITBUCKET_SOCKET to a place of your own",
        ) from exc


def inherited(descriptor: int) -> socket.socket:
    """A listening socket that our starter holds. Raises `SettingsError` if it is none."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.family == socket.AF_UNIX and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.set_inheritable(False)
            return listener
        listener.detach()
    except OSError:
        pass
    raise SettingsError(
        f"descriptor {descriptor} is no listening Unix socket",
        hint="the socket unit needs one ListenStream= with a path",
    )


def remove_directory(path: str) -> None:
    """Remove the directory that was made for a single command's socket: its maker may have been killed."""
    try:
        os.unlink(path + ".lock")
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass  # the maker was faster, or something else is in there


def activated() -> int | None:
    """The descriptor that systemd hands over (sd_listen_fds(3)), if it does."""
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    return _LISTEN_DESCRIPTOR if pid == str(os.getpid()) and count == "1" else None


@contextmanager
def _start_lock(path: str, seconds: float) -> Iterator[None]:
    """One at a time looks who is there, and changes it. Raises `DaemonUnavailable` after `seconds`.

    The file is never removed: a waiter would lock what nobody finds any more.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path + ".lock", flags, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DaemonUnavailable(
                        f"another daemon has been starting for {seconds:.0f} s",
                        hint=f"see which process it is: fuser {paths.shown(path)}.lock",
                    ) from None
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def _clear(path: str) -> str:
    """Make `path` free, if it can be. A socket that nobody listens at is a dead daemon's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _FREE
    if not stat.S_ISSOCK(found.st_mode):
        raise PlaceRefused(f"{paths.shown(path)} is in the way, and is no socket", hint="look at it, and remove it")
    try:
        answer = _ask(path, b"action=ping\ntimeout=0\n\n")
        if b"pid=" in answer:
            return _LEAVING if b"leaving=1\n" in answer else _OURS
        # git's own cache daemon, which `git credential-cache store` starts wherever it finds nobody. It unlinks its
        # socket and ends.
        _ask(path, b"action=exit\ntimeout=0\n")
    except (ConnectionError, FileNotFoundError):
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    return _FREE


def _ask(path: str, request: bytes) -> bytes:
    """The answer of whoever listens at `path`. Raises `ConnectionError` or `FileNotFoundError` if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(STANDING_ANSWER_S)
        try:
            connection.connect(path)
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        except (TimeoutError, BlockingIOError):
            pid = _pid(connection)
            raise DaemonUnavailable(
                f"process {pid or '?'} listens at the daemon's socket and does not answer",
                hint=f"end it: kill {pid}" if pid else f"remove {paths.shown(path)}",
            ) from None
        return answer


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
