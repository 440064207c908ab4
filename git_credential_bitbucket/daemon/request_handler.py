"""Parses a peer's request and has agent/ answer it.

The request is git-credential-cache's: `action=…`, `timeout=…`, then git's lines. The time-out is the lifetime of a
stored secret in seconds; our own clients send a fixed one and may add `vault=…`, the id of the vault that they expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import answer_cache
from git_credential_bitbucket.agent.deferred_answer import map_answer
from git_credential_bitbucket.agent.dispatch import Caller
from git_credential_bitbucket.agent.grants import Grant
from git_credential_bitbucket.git_protocol import emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from git_credential_bitbucket.agent.dispatch import Answer, Dispatcher, Role
    from git_credential_bitbucket.agent.matching import RequestKey
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


class RequestHandler:
    """Answers whole requests. The state is looked at once for those that had arrived before that."""

    def __init__(self, dispatcher: Dispatcher, vault_id: str, settings: Callable[[], object] = lambda: None) -> None:
        """`vault_id` is the served vault's; `settings` is `ConfiguredHosts.current`; without it no answer is known."""
        self._dispatcher = dispatcher
        self._vault_id = vault_id
        self._settings = settings
        self._store = dispatcher.agent.credential_store
        self._seen: tuple[float, object] | None = None

    def look_again(self) -> None:
        """Look at the state again for the next request: it may have arrived after the last look."""
        self._seen = None

    def answer(self, data: bytes, peer: Peer, role: Role) -> Answer | None:
        """The reply to a whole request; None for a request to stop. Refused where another vault is expected.

        Not at a grant's socket, which is one vault's alone: who is given it may not know which.
        """
        key = (role, data)
        if key in self._store.last_index.answers and (known := self._known_answer(key)) is not None:
            return known
        self._seen = None  # what is done now may change anything
        action, lifetime_s, meant, body = parse(data)
        if meant and meant != self._vault_id and action != "ping" and not isinstance(role, Grant):
            return b"" if action == "get" else OTHER_VAULT
        caller = Caller(peer.pid, peer.uid, role, lifetime_s)
        settings = self._settings()
        reply = self._dispatcher.answer(action, body, caller)
        if reply is None or action not in _GIT_CLIENT_ACTIONS:
            return reply
        if action != "get":
            return reply if lifetime_s is None else map_answer(reply, _without_acknowledgement)
        reply = map_answer(reply, _terminated)
        is_settled = settings is not None and settings is self._settings()
        if is_settled and caller.hit is not None and isinstance(reply, bytes) and self._may_repeat(caller):
            answer_cache.keep(key, reply, caller.hit, settings)
        return reply

    def _may_repeat(self, caller: Caller) -> bool:
        return not (caller.was_examined or self._dispatcher.logs_access)

    def _known_answer(self, key: RequestKey) -> bytes | None:
        """The answer that was given before, where it would be the same now."""
        if self._seen is None:
            self._store.index()
            self._seen = (self._dispatcher.agent.clock(), self._settings())
        now, settings = self._seen
        known = self._store.last_index.answers.get(key)
        if known is None or known.settings is not settings or not known.since < now < known.until:
            return None
        self._store.mark_used(known.credential, now)
        self._dispatcher.note_use()
        return known.answer


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
