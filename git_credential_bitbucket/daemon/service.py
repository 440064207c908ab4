"""What a whole request means: git's three operations and our verbs, and who may ask for which. No sockets here.

The request is git-credential-cache's: `action=…`, `timeout=…` (a time to live, of no meaning here), then the lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent import noted
from git_credential_bitbucket.agent.agent import refusal
from git_credential_bitbucket.agent.deferred import Deferred
from git_credential_bitbucket.errors import Error
from git_credential_bitbucket.journal import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.daemon.hosts import Hosts
    from git_credential_bitbucket.daemon.peers import Peer
    from git_credential_bitbucket.journal import Journal
    from git_credential_bitbucket.wire import Request

OPERATIONS = frozenset({"get", "store", "erase"})
"""git's own. What is wrong with such a request is answered with nothing: git would take a message for an answer."""
FOR_GUESTS = OPERATIONS | {"why", "ping"}
"""What users admitted by setting may ask for: what git does, and the reason of an empty answer."""
_FOR_CALLERS_CONSUMER = frozenset({"add", "mint"})
"""These keep the host's endpoint, CA and proxy with a credential, so git's configuration is read for every host."""


class Service:
    """Answers whole requests. A class for what it is asked with: the agent, the hosts, and who is trusted."""

    def __init__(
        self,
        agent: Agent,
        hosts: Hosts,
        trusted: frozenset[int],
        facts: Callable[[], list[tuple[str, str]]],
        leave: Callable[[bool], None],
        journal: Journal | None = None,
    ) -> None:
        """`trusted` uids may ask for everything; `facts` tells about this process, for `status` and `ping`.

        `leave(force)` begins to end it; without `force` only if nothing is lost.
        """
        self._agent = agent
        self._hosts = hosts
        self._trusted = trusted
        self._facts = facts
        self._leave = leave
        self._journal = journal

    def answer(self, data: bytes, peer: Peer) -> bytes | Deferred | None:
        """The answer; None when the peer asked us to leave."""
        action, body = split(data)
        reply = self._answer(action, body, peer)
        if self._journal is None or action not in noted.OPERATIONS:
            return reply
        return self._noted(self._journal, action, body, peer, reply)

    def _noted(
        self, journal: Journal, action: str, body: bytes, peer: Peer, reply: bytes | Deferred | None
    ) -> bytes | Deferred | None:
        """The same reply, and a line in the audit log once it is known."""
        if isinstance(reply, Deferred):

            def whole(answer: bytes | Deferred) -> bytes | Deferred:
                if isinstance(answer, Deferred):
                    return Deferred(answer.future, lambda: whole(answer.resume()), lambda: given(answer.give_up()))
                return given(answer)

            def given(answer: bytes) -> bytes:
                self._note(journal, action, body, peer, answer)
                return answer

            return whole(reply)
        self._note(journal, action, body, peer, reply or b"")
        return reply

    def _note(self, journal: Journal, action: str, body: bytes, peer: Peer, reply: bytes) -> None:
        asker = {"uid": peer.uid, "pid": peer.pid, "program": programs(peer.pid)}
        journal.note({**noted.entry(self._agent, action, body, reply), **asker})

    def _answer(self, action: str, body: bytes, peer: Peer) -> bytes | Deferred | None:
        if peer.uid not in self._trusted and action not in FOR_GUESTS:
            return b""
        if action in OPERATIONS:
            return self._operation(action, body, peer)
        if action == "exit":
            self._leave(b"force=1" in body.split(b"\n"))
            return None
        if action == "ping":
            return wire.emit(self._facts())
        if action == "status":
            return _after(wire.emit(self._facts()), self._control(action, body, peer))
        return self._control(action, body, peer)

    def _operation(self, operation: str, body: bytes, peer: Peer) -> bytes | Deferred:
        try:
            request = wire.parse(body)
        except Error:
            return b""
        if not self._hosts.known(request.protocol, request.host):
            return self._hosts.read_then(lambda: self._asked(operation, request, peer))
        return self._asked(operation, request, peer)

    def _asked(self, operation: str, request: Request, peer: Peer) -> bytes | Deferred:
        try:
            if operation == "get":
                return self._agent.get(request, lambda: _asked_path(peer, request))
            if operation == "store":
                return self._agent.store(request, lambda: _asked_path(peer, request))
            return self._agent.erase(request)
        except Error as exc:
            return b"" if operation == "get" else refusal(exc)

    def _control(self, action: str, body: bytes, peer: Peer) -> bytes | Deferred:
        from git_credential_bitbucket.agent.control import control  # here, not above: git itself needs none of it

        def asked_path() -> str | None:
            return _asked_path(peer, wire.parse(body))

        if action in _FOR_CALLERS_CONSUMER or not all(self._hosts.known(*named) for named in _named(body)):
            return self._hosts.read_then(lambda: control(self._agent, action, body, asked_path))
        return control(self._agent, action, body, asked_path)


def split(data: bytes) -> tuple[str, bytes]:
    """The action, and what follows it. An empty action where the request does not begin with one."""
    line, _, rest = data.partition(b"\n")
    if not line.startswith(b"action="):
        return "", b""
    if rest.startswith(b"timeout="):
        rest = rest.partition(b"\n")[2]
    return line[len(b"action=") :].decode("ascii", "replace"), rest


def _named(body: bytes) -> Iterable[tuple[str, str]]:
    """The protocol and host that a verb names; nothing where it names none, or is refused further on."""
    try:
        single, _ = wire.parse_fields(body)
    except Error:
        return
    if "host" in single:
        protocol = single.get("protocol", "")
        yield protocol, wire.normalise_host(protocol, single["host"])


def _after(head: bytes, reply: bytes | Deferred) -> bytes | Deferred:
    if isinstance(reply, bytes):
        return head + reply
    return Deferred(reply.future, lambda: _after(head, reply.resume()), lambda: head + reply.give_up())


def _asked_path(peer: Peer, request: Request) -> str | None:
    from git_credential_bitbucket.agent import asker  # here, not above: most requests are answered without it

    return asker.asked_path(peer.pid, request.protocol, request.host)
