"""Parses a peer's request and has agent/ answer it.

The request is git-credential-cache's: `action=…`, `timeout=…`, then git's lines. The time-out is the lifetime of a
stored secret in seconds; our own clients send a fixed one and may add `vault=…`, the id of the vault that they expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent.deferred import map_answer
from git_credential_bitbucket.agent.dispatch import Caller
from git_credential_bitbucket.agent.grants import Grant
from git_credential_bitbucket.git_protocol import emit

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.dispatch import Answer, Dispatcher, Role
    from git_credential_bitbucket.daemon.peers import Peer


OWN_TIMEOUT = b"35"
"""Sent by our own clients (client/ipc, relay.c): no limit of the lifetime."""
MAX_DIGITS = 9
"""The digits of a time-out in seconds: some thirty years."""
_GIT_CLIENT_ACTIONS = frozenset({"get", "store", "erase", "exit"})
"""What git-credential-cache sends, which prints the answer."""
OTHER_VAULT = emit(
    [
        ("error", "the daemon at this socket serves another vault"),
        ("hint", "set GIT_CREDENTIAL_BITBUCKET_SOCKET to another path, so that this vault has a daemon of its own"),
        ("state", "other-vault"),
    ]
)


def serve(dispatcher: Dispatcher, vault_id: str, data: bytes, peer: Peer, role: Role) -> Answer | None:
    """The reply to a whole request; None for a request to stop. Refused where another vault is expected.

    Not at a grant's socket, which is one vault's alone: who is given it may not know which.
    """
    action, lifetime_s, meant, body = parse(data)
    if meant and meant != vault_id and action != "ping" and not isinstance(role, Grant):
        return b"" if action == "get" else OTHER_VAULT
    reply = dispatcher.answer(action, body, Caller(peer.pid, peer.uid, role, lifetime_s))
    if reply is None or action not in _GIT_CLIENT_ACTIONS:
        return reply
    if action == "get":
        return map_answer(reply, _terminated)
    return reply if lifetime_s is None else map_answer(reply, _without_acknowledgement)


def _terminated(answer: bytes) -> bytes:
    """An answer to `get` with the blank line at its end, by which our clients know a whole answer of ours."""
    return answer + b"\n" if answer else b""


def _without_acknowledgement(answer: bytes) -> bytes:
    """An answer to git's own client, which would print the acknowledgement."""
    return b"" if answer.startswith(b"ok=1\n") else answer


def parse(data: bytes) -> tuple[str, float | None, str, bytes]:
    """The action, the lifetime of what it stores in seconds, the vault's id (empty: any) and the lines.

    The action is empty where the request does not begin with one.
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
