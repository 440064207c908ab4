"""Grants: each opens a socket that answers `get` and `why` for one scope, until a time or a number of uses is spent.

A grant limits which requests are answered, not what the token in an answer is good for. It is in memory only.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import Error, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.git_protocol import Request

    Record = dict[str, Any]

MAX_GRANTS = 128
"""Grants at a time: an upgrade passes each one's socket on, and the system limits how many at once (SCM_MAX_FD)."""
MAX_LIFETIME_S = 30 * 86400
_MAX_DIGITS = 10
_REPOSITORY = 2


class Grant:
    """One grant. As a caller's role it stands for those who connect to its socket."""

    __slots__ = (
        *("created_at", "credentials", "expires_at", "expires_by", "id", "ignored"),
        *("peer", "scope", "socket", "used", "uses"),
    )

    def __init__(self, record: Record) -> None:
        """`expires_at` is in epoch seconds, `expires_by` the same by `Grants.elapsed`; `uses` and `peer` may be None.

        `credentials` are the ids of those whose secret was given, `ignored` counts the requests that were not obeyed.
        """
        self.id: str = record["id"]
        self.scope: str = record["scope"]
        self.socket: str = record["socket"]
        self.peer: int | None = record["peer"]
        self.created_at: float = record["created_at"]
        self.expires_at: float = record["expires_at"]
        self.expires_by: float = record["expires_by"]
        self.uses: int | None = record["uses"]
        self.used: int = record["used"]
        self.ignored: int = record["ignored"]
        self.credentials: list[str] = record["credentials"]

    def to_record(self) -> Record:
        """All of it, as JSON can hold it."""
        return {name: getattr(self, name) for name in self.__slots__}

    def limits(self) -> list[tuple[str, str]]:
        """The answer to `why` where the grant gives nothing, in the fields of that verb."""
        where = git_protocol.printable_name(self.scope.partition("://")[2])
        hint = "ask the owner of the socket for another one: git-credential-bitbucket grant"
        return [
            ("state", "outside-grant"),
            ("error", f"this socket answers for {where} only, until it expires"),
            ("hint", hint),
        ]

    def covers(self, request: Request) -> bool:
        """Whether git's request is for the grant's scope, or for one within it."""
        return scopes.is_within(scopes.scope_of(request.protocol, request.host, request.path), self.scope)


class Grants:
    """The grants of one agent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Without grants; `clock` tells epoch seconds."""
        self.elapsed: Callable[[], float] = time.monotonic
        """Seconds of a clock that is never set. The daemon's runs while the machine sleeps, too."""
        self.open_socket: Callable[[Grant], None] | None = None
        """Opens a grant's socket, and sets its path where that is empty. None: there is no daemon."""
        self.close_socket: Callable[[Grant], None] = lambda _: None
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._rejections: dict[str, tuple[float, str, float]] = {}

    def add(self, fields: Mapping[str, str]) -> Grant:
        """A new grant, with its socket open. Raises an `Error` for what it cannot be given for, or opened at."""
        if self.open_socket is None:
            raise Error("a grant needs a daemon", hint="run: git-credential-bitbucket daemon start")
        self.expire()
        if len(self._grants) >= MAX_GRANTS:
            raise Error(f"there are {MAX_GRANTS} grants already", hint="run: git-credential-bitbucket grant list")
        lifetime = _number(fields, "expires")
        if lifetime is None or lifetime > MAX_LIFETIME_S:
            raise InvalidRequest("a grant lasts from 1 second to 30 days", hint="for example: --expires 30m")
        now = self._clock()
        record: Record = {"id": os.urandom(4).hex(), "scope": _scope(fields), "socket": fields.get("socket", "")}
        record |= {"peer": _number(fields, "peer", least=0), "uses": _number(fields, "uses"), "used": 0, "ignored": 0}
        record |= {"created_at": now, "expires_at": now + lifetime, "expires_by": self.elapsed() + lifetime}
        grant = Grant({**record, "credentials": []})
        self.open_socket(grant)
        self._grants[grant.id] = grant
        return grant

    def end(self, grant_id: str) -> None:
        """Close a grant's socket. Raises an `Error` if there is no such grant."""
        grant = self._grants.pop(grant_id, None)
        if grant is None:
            raise Error("there is no such grant", hint="see: git-credential-bitbucket grant list")
        self.close_socket(grant)

    def is_open(self, grant: Grant) -> bool:
        """Whether a grant still gives. One that has expired ends here, so that no clock set back revives it."""
        if grant.id not in self._grants:
            return False
        if self._seconds_left(grant) <= 0:
            self.end(grant.id)
            return False
        return grant.uses is None or grant.used < grant.uses

    def use(self, grant: Grant, credential: Credential | None) -> bool:
        """Count an answer with this credential's secret; False where the grant does not give it any more."""
        if not self.is_open(grant):
            return False
        grant.used += 1
        if credential is not None and credential.id not in grant.credentials:
            grant.credentials.append(credential.id)
        return True

    def note_rejection(self, grant: Grant, credential: Credential | None) -> None:
        """Keep for the owner that a grant's peer erased a secret which that grant gave."""
        if credential is not None and credential.id in grant.credentials:
            self._rejections[credential.id] = (credential.created_at, grant.id, self._clock())

    def rejection_of(self, credential: Credential) -> tuple[str, float] | None:
        """The grant at which this credential was last rejected, and when; None where that was another secret."""
        created_at, grant_id, at = self._rejections.get(credential.id, (None, "", 0.0))
        return (grant_id, at) if created_at == credential.created_at and at >= credential.minted_at else None

    def expire(self) -> float:
        """End the grants that are spent; returns the seconds until the next one expires."""
        for grant in [*self._grants.values()]:
            if not self.is_open(grant) and grant.id in self._grants:
                self.end(grant.id)
        return min(map(self._seconds_left, self._grants.values()), default=float("inf"))

    def open_grants(self) -> list[Grant]:
        """The grants that give, the newest last."""
        self.expire()
        return [*self._grants.values()]

    def export(self) -> Record:
        """The grants and what was noted at them, for a successor."""
        return {"grants": [grant.to_record() for grant in self.open_grants()], "rejections": self._rejections}

    def restore(self, state: Record) -> None:
        """Go on with the grants of a predecessor; their sockets are the daemon's to pass on."""
        self._grants = {record["id"]: Grant(record) for record in state["grants"]}
        self._rejections = {name: tuple(noted) for name, noted in state["rejections"].items()}

    def _seconds_left(self, grant: Grant) -> float:
        """By the clock that is further: one may have been set, or the other not run while the machine slept."""
        return min(grant.expires_at - self._clock(), grant.expires_by - self.elapsed())


def _scope(fields: Mapping[str, str]) -> str:
    """The scope that a new grant is for. Raises an `Error` for a path that names more than a repository."""
    protocol, path = fields.get("protocol", ""), fields.get("path")
    host = git_protocol.normalise_host(protocol, fields.get("host", ""))
    names = scopes.names_of(path, host)
    last = git_protocol.fold_case(path or "").strip("/").rpartition("/")[2].removesuffix(".git")
    if path and last != (names or [None])[-1]:
        raise InvalidRequest("a grant is for a host, a workspace or a repository", hint="write WORKSPACE/REPOSITORY")
    return scopes.scope_of(protocol, host, path)


def _number(fields: Mapping[str, str], name: str, least: int = 1) -> int | None:
    """A field's whole number; None where there is none. Raises `InvalidRequest`."""
    text = fields.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) >= least):
        raise InvalidRequest(f"{name} is not a whole number from {least}")
    return int(text)
