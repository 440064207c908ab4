"""A daemon for one command: vault in memory, socket in a new directory, stopped by the end of a pipe."""

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
STOP_TIMEOUT_S = 5.0
"""How long the daemon may take to exit; it has nothing to write."""

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


class PrivateDaemon:
    """A running private daemon, reached at its socket's `path`."""

    def __init__(self, path: str) -> None:
        """`path` is its socket's."""
        self.path = path

    def ask(self, action: str, fields: Sequence[tuple[str, str]] = ()) -> agent_client.Pairs:
        """The reply to `action`. Raises the `Error` in it."""
        outcome, reply = ipc.send_request(
            paths.control_socket(self.path), ipc.format_request(action, git_protocol.emit(list(fields)))
        )
        if outcome != ipc.ANSWERED:
            raise DaemonUnavailable("the private daemon did not answer", hint="try again")
        pairs = git_protocol.parse_pairs(reply)
        agent_client.raise_error(pairs)
        return pairs

    def command_environment(self, env: Mapping[str, str], helper: str, urls: Sequence[str]) -> dict[str, str]:
        """`env` for the command: without secrets, and with only `helper`, guarded, configured in git for `urls`."""
        child = {name: value for name, value in env.items() if name not in _NOT_FOR_THE_COMMAND}
        # Within another `exec`, the outer daemon answers for scopes that this one has no credential for.
        around = [env[_OWN + "SOCKET"], env[ipc.OUTER]] if ipc.OUTER in env else []
        outer = ":".join(filter(None, around))
        ours = {**paths.private_daemon_variables(self.path), ipc.OUTER: outer, _OWN + "KEYRING": "off"}
        child |= {prefix + name.removeprefix(_OWN): value for name, value in ours.items() for prefix in _NAMES}
        guarded = as_guarded_helper(self.path, helper)
        lines = [
            line
            for url in urls
            for line in (("helper", url, ""), ("helper", url, guarded), ("useHttpPath", url, "true"))
        ]
        count = int(env.get("GIT_CONFIG_COUNT") or 0)  # git has checked that it is a number
        for number, (key, url, value) in enumerate(lines, count):
            child[f"GIT_CONFIG_KEY_{number}"] = f"credential.{url}.{key}"
            child[f"GIT_CONFIG_VALUE_{number}"] = value
        child["GIT_CONFIG_COUNT"] = str(count + len(lines))
        return child


def launch(env: Mapping[str, str], path: str, guard: int) -> None:
    """Start a daemon that listens at `path`, its vault in memory, until the pipe `guard` ends. Raises an `Error`."""
    from git_credential_bitbucket.client import daemon_launcher  # lazy: the one file has none

    daemon_launcher.check_allowed(env)
    daemon_env = {name: value for name, value in env.items() if name not in _NOT_FOR_THE_DAEMON}
    daemon_launcher.start({**daemon_env, **paths.private_daemon_variables(path)}, memory=True, until_eof=guard)


@contextmanager
def daemon(
    env: Mapping[str, str], start: Callable[[Mapping[str, str], str, int], None] = launch
) -> Iterator[PrivateDaemon]:
    """A private daemon, stopped at the end however this process ends. Raises as `daemon_launcher.start`."""
    directory = _fresh_directory(env)
    guard, held = os.pipe()
    handle = -1
    try:
        started = PrivateDaemon(directory + _SOCKET)
        start(env, started.path, guard)
        os.close(guard)
        guard = -1
        handle = _handle(int(dict(started.ask("ping"))["pid"]))
        yield started
    finally:
        for descriptor in (guard, held):  # the daemon exits at the end of this pipe
            if descriptor >= 0:
                os.close(descriptor)
        _wait_for_end(handle)
        shutil.rmtree(directory, ignore_errors=True)


def _fresh_directory(env: Mapping[str, str]) -> str:
    """A new directory, 0700, outside what containers mount; in /tmp if its path is too long for a socket."""
    try:
        base = os.path.dirname(paths.control_socket(paths.runtime_dir(env) + "/socket"))
        paths.make_private_dir(base)
        directory = tempfile.mkdtemp(prefix=PREFIX, dir=base)
    except (OSError, InsecurePath):
        return tempfile.mkdtemp(prefix=f"{paths.NAME}-")
    try:
        paths.check_socket_path(paths.control_socket(directory + _SOCKET))
    except InsecurePath:
        os.rmdir(directory)
        return tempfile.mkdtemp(prefix=f"{paths.NAME}-", dir="/tmp")
    return directory


def _handle(pid: int) -> int:
    """A pidfd of the process; -1 if there is none."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return -1


def _wait_for_end(handle: int) -> None:
    """Return when the daemon has exited; kill it after `STOP_TIMEOUT_S`."""
    if handle < 0:
        return
    try:
        if not select.select([handle], [], [], STOP_TIMEOUT_S)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
