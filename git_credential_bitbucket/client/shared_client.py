"""One client for all requests of a command, so that a missing daemon is noticed and reported once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import agent_client as front
from git_credential_bitbucket.client import messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def ask(action: str, fields: Iterable[tuple[str, str]] = (), request: bytes = b"") -> front.Pairs:
    """The reply to `action`. Raises the `Error` that the reply names, or `DaemonUnavailable`."""
    return front.ask(action, fields, request, client=_client())


def query(action: str, fields: Iterable[tuple[str, str]] = (), request: bytes = b"") -> front.Pairs:
    """As `ask`, for an action that changes nothing: no daemon is started; where none runs, this process answers.

    A key that needs a dialogue or a passphrase is not asked for: then the vault is locked.
    """
    return git_protocol.parse_pairs(query_lines(action, fields, request))


def query_lines(action: str, fields: Iterable[tuple[str, str]] = (), request: bytes = b"") -> bytes:
    """As `query`, the reply as it comes: a line a pair."""
    return front.reply_to(action, fields, request, start=False, client=_client())


def find(action: str, fields: Iterable[tuple[str, str]], request: bytes) -> dict[str, str]:
    """As `ask`, for an action whose reply may be empty."""
    data = git_protocol.emit(list(fields)) + request
    return dict(git_protocol.parse_pairs(_client().for_request(request).offered(action, data)))


def unknown_host(protocol: str, host: str) -> Mapping[str, str]:
    """The daemon's reply to `why` for a host that it does not know; empty where it knows it.

    From then on this process answers.
    """
    named = git_protocol.emit([("protocol", protocol), ("host", host)])
    why = dict(git_protocol.parse_pairs(_client().offered("why", named)))
    return why if _client().fall_back_in_process(why) else {}


def renew(credential_id: str) -> dict[str, str]:
    """The result of a renewal: `expires_at`, and whether the refresh token `rotated`. Waits as long as Bitbucket takes.

    An interrupt ends the wait, not the renewal.
    """
    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, "press Ctrl-C to stop waiting; the daemon continues"):
        told = dict(ask("refresh", [("id", credential_id), ("by_hand", "1")]))
        while "pending" in told:
            told = dict(ask("refresh", [("id", credential_id)]))
        return told


@cache
def _client() -> front.AgentClient:
    return front.AgentClient()
