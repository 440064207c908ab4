"""A daemon for one command: its vault in memory, its socket in a fresh directory, its life at the end of a pipe.

Owns that directory, and what the command's environment says of it. Imports the client's side of the socket.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_config, git_protocol, paths
from git_credential_bitbucket.client import agent_client, ipc
from git_credential_bitbucket.errors import DaemonUnavailable, InsecurePath
from git_credential_bitbucket.gitsetup.executable import as_guarded_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PREFIX = "exec-"
_SOCKET = "/git/socket"
LEAVE_S = 5.0
"""How long the daemon may take to leave; it has nothing to write."""

_OWN, _NAMES = paths.OWN_PREFIX, (paths.OWN_PREFIX, paths.SECOND_PREFIX)
_NOT_FOR_THE_DAEMON = frozenset(_OWN + name for name in ("KEY", "KEY_FILE", "IDLE_EXIT", "OUTER", "PEERS"))
_NOT_FOR_THE_COMMAND = frozenset(
    {
        *(git_config.ADOPTED, git_config.STAMPS, paths.DEFAULT_VAULT),
        ipc.TOKENS_FILE,
        *(name + ending for name in ipc.SECRET_VARIABLES for ending in ("", "_FILE", "_FROM")),
        *(prefix + name for name in ("KEY", "KEY_FILE", "DAEMON") for prefix in _NAMES),
    }
)


class Daemon:
    """A private daemon that listens. A class for how it is reached: `path` is its socket's."""

    def __init__(self, path: str) -> None:
        """`path` is where it listens."""
        self.path = path

    def ask(self, action: str, fields: Sequence[tuple[str, str]] = ()) -> agent_client.Pairs:
        """The lines that answer `action`. Raises the `Error` that the answer tells."""
        outcome, reply = ipc.send_request(
            paths.control_of(self.path), ipc.message(action, git_protocol.emit(list(fields)))
        )
        if outcome != ipc.ANSWERED:
            raise DaemonUnavailable("the private daemon did not answer", hint="try again")
        pairs = git_protocol.parse_pairs(reply)
        agent_client.raise_refusal(pairs)
        return pairs

    def command_environment(self, env: Mapping[str, str], helper: str, urls: Sequence[str]) -> dict[str, str]:
        """`env` for the command: without its secrets, and with git asking this daemon, and nobody else, about `urls`.

        `helper` is what git runs, guarded.
        """
        child = {name: value for name, value in env.items() if name not in _NOT_FOR_THE_COMMAND}
        # Within another `exec`, that one's daemon goes on answering for what this one has nothing for.
        around = [env[_OWN + "SOCKET"], env[ipc.OUTER]] if ipc.OUTER in env else []
        outer = ":".join(filter(None, around))
        ours = {**paths.private(self.path), ipc.OUTER: outer, _OWN + "KEYRING": "off"}
        child |= {prefix + name.removeprefix(_OWN): value for name, value in ours.items() for prefix in _NAMES}
        guarded = as_guarded_helper(self.path, helper)
        lines = [
            line
            for url in urls
            for line in (("helper", url, ""), ("helper", url, guarded), ("useHttpPath", url, "true"))
        ]
        count = int(env.get("GIT_CONFIG_COUNT") or 0)  # git has read it already, and refuses what is no number
        for number, (key, url, value) in enumerate(lines, count):
            child[f"GIT_CONFIG_KEY_{number}"] = f"credential.{url}.{key}"
            child[f"GIT_CONFIG_VALUE_{number}"] = value
        child["GIT_CONFIG_COUNT"] = str(count + len(lines))
        return child


def launch(env: Mapping[str, str], path: str, guard: int) -> None:
    """Start a daemon that listens at `path`, its vault in memory, until the pipe `guard` ends. Raises an `Error`."""
    from git_credential_bitbucket.client import daemon_launcher  # lazy: the one file has none

    daemon_launcher.check_allowed(env)
    told = {name: value for name, value in env.items() if name not in _NOT_FOR_THE_DAEMON}
    daemon_launcher.start({**told, **paths.private(path)}, memory=True, until_eof=guard)


@contextmanager
def daemon(env: Mapping[str, str], start: Callable[[Mapping[str, str], str, int], None] = launch) -> Iterator[Daemon]:
    """A private daemon, gone at the end with its directory, however this process ends. Raises as `start`."""
    directory = _fresh_directory(env)
    guard, held = os.pipe()
    handle = -1
    try:
        started = Daemon(directory + _SOCKET)
        start(env, started.path, guard)
        os.close(guard)
        guard = -1
        handle = _handle(int(dict(started.ask("ping"))["pid"]))
        yield started
    finally:
        for descriptor in (guard, held):  # the daemon leaves at the end of this pipe
            if descriptor >= 0:
                os.close(descriptor)
        _wait_for_end(handle)
        shutil.rmtree(directory, ignore_errors=True)


def _fresh_directory(env: Mapping[str, str]) -> str:
    """A new directory, 0700: where no container's mount leads, or where that is too long for a socket, in /tmp."""
    try:
        base = os.path.dirname(paths.control_of(paths.runtime_dir(env) + "/socket"))
        paths.make_private_dir(base)
        directory = tempfile.mkdtemp(prefix=PREFIX, dir=base)
    except (OSError, InsecurePath):
        return tempfile.mkdtemp(prefix=f"{paths.NAME}-")
    try:
        paths.check_socket_path(paths.control_of(directory + _SOCKET))
    except InsecurePath:
        os.rmdir(directory)
        return tempfile.mkdtemp(prefix=f"{paths.NAME}-", dir="/tmp")
    return directory


def _handle(pid: int) -> int:
    """A descriptor that tells when the process has ended, and never means another one; -1 where there is none."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return -1


def _wait_for_end(handle: int) -> None:
    """Return when the daemon is gone; one that does not leave is made to."""
    if handle < 0:
        return
    try:
        if not select.select([handle], [], [], LEAVE_S)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
