"""A peer's bytes as a request: which action it is, and what the peer may ask as. What is answered, agent/ decides.

The request is git-credential-cache's: `action=…`, `timeout=…` (a time to live, of no meaning here), then the lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.dispatch import CONTROL, GUEST, Caller

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.dispatch import Answer, Dispatcher
    from git_credential_bitbucket.daemon.peers import Peer


def serve(dispatcher: Dispatcher, trusted: frozenset[int], data: bytes, peer: Peer) -> Answer | None:
    """The answer to a whole request; None when the peer asked us to leave. `trusted` uids may ask for everything."""
    action, body = split(data)
    return dispatcher.answer(action, body, Caller(peer.pid, peer.uid, CONTROL if peer.uid in trusted else GUEST))


def split(data: bytes) -> tuple[str, bytes]:
    """The action, and what follows it. An empty action where the request does not begin with one."""
    line, _, rest = data.partition(b"\n")
    if not line.startswith(b"action="):
        return "", b""
    if rest.startswith(b"timeout="):
        rest = rest.partition(b"\n")[2]
    return line[len(b"action=") :].decode("ascii", "replace"), rest
