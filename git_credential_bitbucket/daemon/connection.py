"""One connection and how far it has got. Imports nothing of ours but types."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from git_credential_bitbucket.agent.deferred import Deferred
    from git_credential_bitbucket.agent.dispatch import Role
    from git_credential_bitbucket.daemon.peers import Peer


class Stage(Enum):
    """Who is expected to do something next."""

    SENDING = "the peer sends its request"
    WAITING = "a job works on the answer"
    READING = "the peer reads the answer"
    GONE = "nobody: the connection is closed"


class Connection:
    """A class because a connection is served in pieces: what has come, what is waited for, what has not gone out."""

    __slots__ = (
        "chunks",
        "connection",
        "deadline",
        "events",
        "peer",
        "pending",
        "received",
        "role",
        "stage",
        "too_large",
        "unsent",
    )

    def __init__(self, connection: socket.socket, peer: Peer, role: Role, deadline: float) -> None:
        """`role` is what the peer may ask as; `deadline` (monotonic seconds) when the whole request must have come."""
        self.connection = connection
        self.peer = peer
        self.role = role
        self.deadline = deadline
        self.stage = Stage.SENDING
        self.events = 0
        self.chunks: list[bytes] = []
        self.received = 0
        self.too_large = False
        self.pending: Deferred | None = None
        self.unsent = b""

    def take(self, chunk: bytes, limit: int) -> int:
        """Keep a piece of the request; past `limit` bytes all is thrown away. Returns how much more or less is kept."""
        before = 0 if self.too_large else self.received
        self.received += len(chunk)
        if self.received > limit:
            self.too_large = True
            self.chunks.clear()
            return -before
        self.chunks.append(chunk)
        return len(chunk)

    def request(self) -> bytes:
        """All that came; forgotten here, for it may hold a secret."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data

    @property
    def kept(self) -> int:
        """The bytes held for this connection."""
        return 0 if self.too_large or self.stage is not Stage.SENDING else self.received
