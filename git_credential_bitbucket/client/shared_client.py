"""Whom a person's verb asks: one client for all its questions, so that a missing daemon is found, and told of, once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.client import agent_client as front
from git_credential_bitbucket.client import messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def ask(action: str, fields: Iterable[tuple[str, str]] = (), request: bytes = b"") -> front.Pairs:
    """The lines that answer `action`. Raises the `Error` that the answer tells, or `DaemonUnavailable`."""
    return front.ask(action, fields, request, client=_client())


def query(action: str, fields: Iterable[tuple[str, str]] = (), request: bytes = b"") -> front.Pairs:
    """As `ask`, for a question that changes nothing: it starts no daemon, and where none runs this process answers.

    A key that needs a dialogue or a passphrase is not asked for: the vault is locked then.
    """
    return front.ask(action, fields, request, start=False, client=_client())


def find(action: str, fields: Iterable[tuple[str, str]], request: bytes) -> dict[str, str]:
    """As `ask`, for a question that may be answered with nothing."""
    return dict(
        git_protocol.parse_pairs(
            _client().for_request(request).offered(action, git_protocol.emit(list(fields)) + request)
        )
    )


def unknown_host(protocol: str, host: str) -> Mapping[str, str]:
    """What the daemon says against a host that this process's configuration alone names; empty where it knows it.

    From then on this process answers itself.
    """
    named = git_protocol.emit([("protocol", protocol), ("host", host)])
    why = dict(git_protocol.parse_pairs(_client().offered("why", named)))
    return why if _client().fall_back_in_process(why) else {}


def renew(credential_id: str) -> dict[str, str]:
    """What a renewal ended with (`expires_at`, and whether the refresh token `rotated`), however long Bitbucket takes.

    To be interrupted here ends only the wait.
    """
    with messages.WaitNotice(messages.WAITING_FOR_BITBUCKET, "press Ctrl-C to stop waiting; the daemon continues"):
        told = dict(ask("refresh", [("id", credential_id), ("by_hand", "1")]))
        while "pending" in told:
            told = dict(ask("refresh", [("id", credential_id)]))
        return told


@cache
def _client() -> front.AgentClient:
    return front.AgentClient()
