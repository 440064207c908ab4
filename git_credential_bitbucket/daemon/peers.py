"""The process at the other end of a connection, as the kernel reports it, and what it may request."""

import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from git_credential_bitbucket import config
from git_credential_bitbucket.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.dispatch import Role
    from git_credential_bitbucket.agent.grants import Grant

SocketName = Literal["git", "control", "guests"]
"""The daemon's sockets: git's, the control socket, and the one for other users."""
PEERS = "GIT_CREDENTIAL_BITBUCKET_PEERS"
"""The environment variable that admits further users: their numeric ids, separated by commas (for containers)."""

_MAX_DIGITS = 10  # a user id has 32 bits
_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))
_XUCRED = struct.Struct("IIh16I")  # struct xucred: version, uid, number of groups, groups (sys/ucred.h)
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # sys/un.h on macOS


class Peer(NamedTuple):
    """A process that connected; `pid` is 0 where it is in another pid namespace."""

    pid: int
    uid: int


def peer_of(connection: socket.SocketType) -> Peer:
    """The process at the other end of `connection`."""
    if sys.platform == "darwin":
        _, uid, *_ = _XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
        return Peer(pid, uid)
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid)


def admission_rules(guests: frozenset[int]) -> "dict[SocketName, Callable[[Peer], Role | None]]":
    """The role of a peer at each of the sockets; None: it is not served.

    This user and root, who could read our memory anyway (as in ssh-agent), have git's role, and the control role at the
    control socket. `guests` have a socket of their own.
    """
    trusted = frozenset({os.getuid(), 0})

    def git(peer: Peer) -> "Role | None":
        return "git" if peer.uid in trusted else None

    return {
        "git": git,
        "control": lambda peer: "control" if peer.uid in trusted else None,
        "guests": lambda peer: "guest" if peer.uid in guests else git(peer),
    }


def is_owners(role: "Role") -> bool:
    """Whether a peer in this role is a program of the daemon's owner: neither a guest nor a grant's."""
    return role in ("git", "control")


def grant_rule(grant: "Grant") -> "Callable[[Peer], Role | None]":
    """Who is served at a grant's socket: the peer that it names, and those who are at git's."""
    admitted = frozenset({os.getuid(), 0, *([] if grant.peer is None else [grant.peer])})
    return lambda peer: grant if peer.uid in admitted else None


def admitted_uids(env: Mapping[str, str]) -> frozenset[int]:
    """The other users that may request credentials. Raises `SettingsError` where the setting is not a list of ids."""
    given = [part.strip() for part in env.get(PEERS, "").split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS for part in given):
        cause = f"{config.describe(PEERS)} is not a list of user ids"
        raise SettingsError(cause, hint=f"write numbers: {PEERS}=1000,1001")
    return frozenset(map(int, given))
