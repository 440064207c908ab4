"""A peer's bytes as a request: which action it is, and for which vault. What is answered, agent/ decides.

The request is git-credential-cache's: `action=…`, `timeout=…`, then the lines. The time-out is how long a secret that
is stored may be kept, in seconds; our own front ends send one that says nothing, and after it may add `vault=…`, the id
of the vault that they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.deferred import map_answer
from git_credential_bitbucket.agent.dispatch import Caller
from git_credential_bitbucket.git_protocol import emit

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.dispatch import Answer, Dispatcher, Role
    from git_credential_bitbucket.daemon.peers import Peer


OWN_TIMEOUT = b"35"
"""What our own front ends send (client/ipc, relay.c), and what they store is kept for good."""
MAX_DIGITS = 9
"""Of a time-out in seconds: some thirty years."""
_GIT_OPERATIONS = frozenset({"get", "store", "erase"})
OTHER_VAULT = emit(
    [
        ("error", "the daemon at this socket serves another vault"),
        ("hint", "set GIT_CREDENTIAL_BITBUCKET_SOCKET to another path, so that this vault has a daemon of its own"),
        ("state", "other-vault"),
    ]
)


def serve(dispatcher: Dispatcher, vault_id: str, data: bytes, peer: Peer, role: Role) -> Answer | None:
    """The answer to a whole request; None when the peer asked us to leave. Refused where another vault is meant."""
    action, lifetime_s, meant, body = parse(data)
    if meant and meant != vault_id and action != "ping":
        return b"" if action == "get" else OTHER_VAULT
    reply = dispatcher.answer(action, body, Caller(peer.pid, peer.uid, role, lifetime_s))
    if reply is None or action not in _GIT_OPERATIONS:
        return reply
    if action == "get":
        return map_answer(reply, _terminated)
    return reply if lifetime_s is None else map_answer(reply, _without_acknowledgement)


def _terminated(answer: bytes) -> bytes:
    """An answer to `get` with the blank line that ends it for git too: no stranger's has it, and none that was cut."""
    return answer + b"\n" if answer else b""


def _without_acknowledgement(answer: bytes) -> bytes:
    """An answer to git's own client, which would print that all is well."""
    return b"" if answer.startswith(b"ok=1\n") else answer


def parse(data: bytes) -> tuple[str, float | None, str, bytes]:
    """The action, the life of what it stores in seconds, the vault's id (empty: any) and the lines.

    An empty action where the request begins with none.
    """
    line, _, rest = data.partition(b"\n")
    if not line.startswith(b"action="):
        return "", None, "", b""
    lifetime_s, vault_id = None, b""
    if rest.startswith(b"timeout="):
        timeout, _, rest = rest.removeprefix(b"timeout=").partition(b"\n")
        if timeout != OWN_TIMEOUT:
            lifetime_s = float(timeout) if timeout.isdigit() and len(timeout) <= MAX_DIGITS else 0.0
        elif rest.startswith(b"vault="):
            vault_id, _, rest = rest.removeprefix(b"vault=").partition(b"\n")
    return line[len(b"action=") :].decode("ascii", "replace"), lifetime_s, vault_id.decode("ascii", "replace"), rest
