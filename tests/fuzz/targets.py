"""What is fuzzed, and what must hold whatever comes: the request parser, and the daemon behind its socket.

The daemon's loop, service and agent run in this process, over a vault in memory, so that a coverage-guided fuzzer sees
into them; the socket and the bytes on it are real.
"""

import os
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import retention
from git_credential_bitbucket.agent.agent import Agent
from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.agent.dispatch import Dispatcher
from git_credential_bitbucket.bitbucket import token_kinds
from git_credential_bitbucket.bitbucket.providers import Endpoint, Provider
from git_credential_bitbucket.daemon.limits import Limits
from git_credential_bitbucket.daemon.request_handler import RequestHandler, parse
from git_credential_bitbucket.daemon.server import Server
from git_credential_bitbucket.errors import Error, InvalidRequest
from git_credential_bitbucket.secret import Secret
from git_credential_bitbucket.vault.storage.memory import MemoryStorage
from git_credential_bitbucket.vault.vault import Vault
from tests.fake_bitbucket import tokens
from tests.sockets import listener_at

TURNS = 2000
"""More than any request needs: what has no answer by then hangs."""
FRESH_AFTER = 500
"""Requests that one agent sees: what they store must not fill the memory of the fuzzer itself."""
HOST, NEIGHBOUR = "bitbucket.org", "neighbour.example"
_NOWHERE = "https://127.0.0.1:1"


def parser(data: bytes) -> None:
    """`wire.parse` refuses, or understands what it can write down again with the same meaning."""
    try:
        request = git_protocol.parse(data)
    except InvalidRequest:
        return
    assert request.protocol
    assert not any("A" <= character <= "Z" for character in request.host)
    assert not any(set(text or "") & {"\n", "\0"} for text in (request.host, request.path, request.password))
    named = {"protocol": request.protocol, "host": request.host, "path": request.path, "username": request.username}
    written = git_protocol.emit([(key, value) for key, value in named.items() if value is not None])
    again = git_protocol.parse(written)
    assert (again.protocol, again.host, again.path, again.username) == tuple(named.values())


class Daemon:
    """A daemon's inside, with a secret for the host that is ours and one for a host that is not. A class for its state:
    the server, its socket, and how many requests this agent has seen.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="gcb-fuzz-", dir="/tmp")
        self._path = f"{self._folder}/socket"
        self._listener = listener_at(self._path)
        self._server = Server({self._listener: lambda _: "control"}, self._answer, Limits(peer_s=1.0, answer_s=1.0))
        self.renew()

    def renew(self) -> None:
        """A new agent over a new vault."""
        self._seen = 0
        self.ours, self.theirs = tokens.access_token(), tokens.access_token()
        vault = Vault(MemoryStorage())
        agent = Agent(vault, Vault(MemoryStorage()), _find, lambda _: None, _at_once)
        for host, secret in ((HOST, self.ours), (NEIGHBOUR, self.theirs)):
            credential = Credential(
                id=retention.new_id(), kind=token_kinds.ACCESS_TOKEN, place=f"https://{host}", secret=Secret(secret)
            )
            retention.add(agent.credential_store, credential, 0.0)
        self._handler = RequestHandler(Dispatcher(agent, leave=lambda _: None), "", lambda: agent)
        self._server.on_answered = self._handler.look_again

    def close(self) -> None:
        """Leave nothing behind."""
        self._server.close()
        os.unlink(self._path)
        os.rmdir(self._folder)

    def __call__(self, data: bytes) -> None:
        """One connection with these bytes on it: answered, without a fault, and without a secret out of place."""
        self._seen += 1
        if self._seen > FRESH_AFTER:
            self.renew()
        answer = self._exchange(data)
        assert not self._server.fault, self._server.fault
        assert self._server.clients == 0
        assert self.theirs.encode() not in answer
        if self.ours.encode() in answer:
            action, _, _, body = parse(data)
            assert action in {"get", "token"}, action
            request = git_protocol.parse(body)
            assert (request.protocol, request.host) == ("https", HOST)

    def _exchange(self, data: bytes) -> bytes:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._path)
            connection.setblocking(False)
            answer, unsent = b"", data
            for _ in range(TURNS):
                if unsent:
                    try:
                        unsent = unsent[connection.send(unsent) :]
                    except BlockingIOError:
                        pass
                    except OSError:
                        return answer
                    if not unsent:
                        connection.shutdown(socket.SHUT_WR)
                elif data == b"":
                    connection.shutdown(socket.SHUT_WR)
                    data = b"\0"
                self._server.turn(0.0)
                try:
                    chunk = connection.recv(65536)
                except BlockingIOError:
                    continue
                except OSError:
                    return answer
                if not chunk:
                    self._server.turn(0.0)
                    return answer
                answer += chunk
            raise AssertionError("no answer came")
        finally:
            connection.close()

    def _answer(self, data: bytes, peer: Any, role: Any) -> Any:  # noqa: ANN401 - the server's own types
        reply = self._handler.answer(data, peer, role)
        return b"" if reply is None else reply  # `exit`: nobody leaves here


def _find(protocol: str, host: str) -> Provider | None:
    endpoint = Endpoint(_NOWHERE, _NOWHERE, _NOWHERE, _NOWHERE)
    return Provider(protocol, host, endpoint) if (protocol, host) == ("https", HOST) else None


def _at_once(job: Callable[[], Any]) -> Future[Any]:
    """Jobs end before they are waited for."""
    future: Future[Any] = Future()
    try:
        future.set_result(job())
    except Error as exc:
        future.set_exception(exc)
    return future
