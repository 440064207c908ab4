"""A client's connection and its state. Imports nothing of ours but types."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from git_credential_bitbucket.agent.deferred_answer import Deferred
    from git_credential_bitbucket.agent.dispatch import Role
    from git_credential_bitbucket.daemon.peers import Peer


class Stage(Enum):
    """What happens next on a connection."""

    SENDING = "the peer sends its request"
    WAITING = "a job works on the answer"
    READING = "the peer reads the answer"
    GONE = "the connection is closed"


class Connection:
    """A connection: the part of the request that was received, the job that it waits for, the part not yet sent."""

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

    def __init__(self, connection: socket.SocketType, peer: Peer, role: Role, deadline: float) -> None:
        """`role` is the peer's; by `deadline` (monotonic seconds) the whole request must have been received."""
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
        self.unsent: bytes | memoryview = b""

    def take(self, chunk: bytes, limit: int) -> int:
        """Add a piece of the request; past `limit` bytes all is discarded. Returns the change of `kept`."""
        before = 0 if self.too_large else self.received
        self.received += len(chunk)
        if self.received > limit:
            self.too_large = True
            self.chunks.clear()
            return -before
        self.chunks.append(chunk)
        return len(chunk)

    def request(self) -> bytes:
        """The whole request, which is removed here: it may hold a secret."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data

    @property
    def kept(self) -> int:
        """The bytes of the unfinished request in memory."""
        return 0 if self.too_large or self.stage is not Stage.SENDING else self.received
