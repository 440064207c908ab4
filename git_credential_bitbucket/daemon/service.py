"""A peer's bytes as a request: which action it is, and what the peer may ask as. What is answered, agent/ decides.

The request is git-credential-cache's: `action=…`, `timeout=…`, then the lines. The time-out is how long a secret that
is stored may be kept, in seconds; our own front ends send one that says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.dispatch import CONTROL, GUEST, Caller

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.dispatch import Answer, Dispatcher
    from git_credential_bitbucket.daemon.peers import Peer


OWN_TIMEOUT = b"35"
"""What our own front ends send (client/exchange, relay.c), and what they store is kept for good."""
MAX_DIGITS = 9
"""Of a time-out in seconds: some thirty years."""


def serve(dispatcher: Dispatcher, trusted: frozenset[int], data: bytes, peer: Peer) -> Answer | None:
    """The answer to a whole request; None when the peer asked us to leave. `trusted` uids may ask for everything."""
    action, lifetime_s, body = split(data)
    role = CONTROL if peer.uid in trusted else GUEST
    return dispatcher.answer(action, body, Caller(peer.pid, peer.uid, role, lifetime_s))


def split(data: bytes) -> tuple[str, float | None, bytes]:
    """The action, the life of what it stores in seconds, and what follows. An empty action where there is none."""
    line, _, rest = data.partition(b"\n")
    if not line.startswith(b"action="):
        return "", None, b""
    lifetime_s = None
    if rest.startswith(b"timeout="):
        timeout, _, rest = rest.removeprefix(b"timeout=").partition(b"\n")
        if timeout != OWN_TIMEOUT:
            lifetime_s = float(timeout) if timeout.isdigit() and len(timeout) <= MAX_DIGITS else 0.0
    return line[len(b"action=") :].decode("ascii", "replace"), lifetime_s, rest
