"""The sockets of grants: each in a directory of its own, closed and removed at the grant's end, handed to a successor.

A daemon that is killed leaves them behind; the next one that opens such a socket removes those that nobody serves.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from git_credential_bitbucket import paths
from git_credential_bitbucket.daemon.listener import Identity, Listener, adopt_listener
from git_credential_bitbucket.daemon.peers import SocketName, grant_rule
from git_credential_bitbucket.errors import DaemonUnavailable, InsecurePath, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from git_credential_bitbucket.agent.grants import Grant, Grants
    from git_credential_bitbucket.daemon.server import Server

OPTION = "--grant-"
"""The name of a grant's descriptor, with its id, as a successor is told it."""
_OTHERS_MAY_ENTER = 0o711


class GrantSockets:
    """The listening sockets of a daemon's grants."""

    def __init__(self, path: str, server: Server, grants: Grants) -> None:
        """Open and close the sockets of `grants` from now on, and serve them; `path` is git's socket."""
        self._path = path
        self._parent = os.path.dirname(os.path.dirname(paths.grant_socket(path, "ID")))
        self._server = server
        self._grants = grants
        self._open: dict[str, tuple[socket.socket, Listener]] = {}
        grants.open_socket, grants.close_socket = self._listen, self._close

    def adopt(self, descriptors: Mapping[str, int], held: Mapping[str, Mapping[str, Identity]]) -> None:
        """Serve the sockets of a predecessor's grants, and remove those of grants that have expired meanwhile.

        A grant whose socket was not handed over ends.
        """
        grants = {grant.id: grant for grant in self._grants.open_grants()}
        for name, found in held.items():
            ((path, identity),) = found.items()
            try:
                listener = adopt_listener(descriptors[OPTION + name])
            except (KeyError, SettingsError):
                continue
            claim = Listener(path, {path: (identity[0], identity[1])})
            if name in grants:
                self._serve(grants[name], listener, claim)
            else:
                self._remove(listener, claim)
        for name in grants.keys() - self._open.keys():
            self._grants.end(name)

    def descriptors(self) -> dict[str, int]:
        """The open sockets' descriptors by the names that a successor knows them by."""
        return {OPTION + name: listener.fileno() for name, (listener, _) in self._open.items()}

    def held(self) -> dict[str, dict[str, Identity]]:
        """The paths of each grant with device and inode, for a successor."""
        return {name: claim.held for name, (_, claim) in self._open.items()}

    def close(self) -> None:
        """End all grants: the daemon does."""
        for name in [*self._open]:
            self._grants.end(name)

    def _listen(self, grant: Grant) -> None:
        """Open a grant's socket. Raises an `Error` where its path is taken, not private, or cannot be made."""
        kind: SocketName = "git" if grant.peer is None else "guests"
        if not grant.socket:
            grant.socket = paths.grant_socket(self._path, grant.id)
            _make_parent(self._parent)
        elif grant.peer is not None:
            _check_entry(os.path.dirname(grant.socket), grant.peer)
        if _is_served(grant.socket):
            hint = "name another path: --socket PATH"
            raise DaemonUnavailable(f"another program listens at {paths.shown(grant.socket)}", hint=hint)
        claim = Listener(grant.socket)
        self._serve(grant, claim.open({kind: grant.socket})[kind], claim)

    def _serve(self, grant: Grant, listener: socket.socket, claim: Listener) -> None:
        self._open[grant.id] = (listener, claim)
        self._server.add_listener(listener, grant_rule(grant))

    def _close(self, grant: Grant) -> None:
        if grant.id in self._open:
            self._remove(*self._open.pop(grant.id))

    def _remove(self, listener: socket.socket, claim: Listener) -> None:
        claim.unlink()
        directory = os.path.dirname(claim.path)
        if os.path.dirname(directory) == self._parent:
            _remove_directory(directory)
        self._server.remove_listener(listener)


def _make_parent(directory: str) -> None:
    """Make the directory of grants' directories, and remove those of killed daemons.

    Another daemon's socket that is bound and does not listen yet counts as one, and its user has to ask again.
    """
    paths.make_private_dir(directory)
    for name in os.listdir(directory):
        path = f"{directory}/{name}/socket"
        try:
            if not _is_served(path):
                os.unlink(path)
                os.rmdir(f"{directory}/{name}")
        except OSError:
            pass  # it is removed already, or not a socket's


def _check_entry(directory: str, peer: int) -> None:
    """Raise `InsecurePath` where the user `peer` could not enter a directory that a person made."""
    if os.path.isdir(directory) and os.stat(directory).st_mode & 0o777 != _OTHERS_MAY_ENTER:
        cause = f"the user {peer} cannot enter {paths.shown(directory)}, or others could do more than that"
        hint = f"run: chmod {_OTHERS_MAY_ENTER:04o} {paths.typed(directory)}, or name a new directory"
        raise InsecurePath(cause, hint=hint)


def _is_served(path: str) -> bool:
    """Whether a process listens at a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(0.0)
        try:
            connection.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True


def _remove_directory(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass  # somebody has put something there
