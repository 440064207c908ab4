"""Which credential answers for which repository: places, and the most specific one wins.

A place is `protocol://host`, `…/workspace` or `…/workspace/repository`, ASCII case-folded as Bitbucket's own names are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from git_credential_bitbucket.agent.credential import Credential
from git_credential_bitbucket.bitbucket import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.secret import Secret
    from git_credential_bitbucket.wire import Request

STATE_PREFIX = "bitbucket:"


def place_of(protocol: str, host: str, path: str | None) -> str:
    """The narrowest place that a request or a person names; the host alone where the path names no repository."""
    return "/".join((f"{protocol}://{host}", *_names(path)))


def _names(path: str | None) -> tuple[str, ...]:
    """Workspace and repository of a path such as `acme/app.git/info/lfs`; empty where there is none to be read.

    LFS verify addresses have been seen with UUIDs in place of names (`{}/{uuid}/info/lfs/…`): these name no place.
    """
    if not path:
        return ()
    segments = _ascii_folded(path).strip("/").split("/")[:2]
    names = [segment.removesuffix(".git") for segment in segments]
    if not names[0] or any(name in {"", ".", ".."} or _begins_with_uuid(name) for name in names):
        return ()
    return tuple(names)


def _begins_with_uuid(path: str) -> bool:
    return unquote(path[:9]).lstrip("/").startswith("{")


def _ascii_folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


class Index:
    """All credentials by place. A class because it is built once for each state of the vault and asked often."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Index the vault's records; they are read into credentials only when they are candidates."""
        self._records: dict[str, Record] = {}
        self._read: dict[str, Credential] = {}
        self._by_place: dict[str, list[str]] = {}
        self._below: dict[str, list[str]] = {}
        for record in records:
            self._records[record["id"]] = record
            place: str = record["place"]
            self._by_place.setdefault(place, []).append(record["id"])
            host = "/".join(place.split("/", 3)[:3])
            if host != place:
                self._below.setdefault(host, []).append(record["id"])

    def __iter__(self) -> Iterator[Credential]:
        """Every credential."""
        return (self._credential(i) for i in self._records)

    def get(self, credential_id: str) -> Credential | None:
        """The credential with this id."""
        return self._credential(credential_id) if credential_id in self._records else None

    def _credential(self, credential_id: str) -> Credential:
        if credential_id not in self._read:
            self._read[credential_id] = Credential.from_record(self._records[credential_id])
        return self._read[credential_id]

    def covering(self, place: str) -> list[Credential]:
        """The credentials for `place` and the places around it, narrowest first."""
        found: list[Credential] = []
        while place.count("/") >= 2:  # noqa: PLR2004 - `protocol://host` has two
            found += [self._credential(i) for i in self._by_place.get(place, ())]
            place = place.rpartition("/")[0]
        return found

    def below(self, host_place: str) -> list[Credential]:
        """The credentials for places inside a host; none where the place is not a whole host."""
        return [self._credential(i) for i in self._below.get(host_place, ())]


def candidates(
    index: Index,
    request: Request,
    asked_path: Callable[[], str | None],
    last_used: Callable[[Credential], float],
) -> list[Credential]:
    """The credentials that may answer `request`, best first: git's own `state[]`, narrowest place, username, last used.

    Where git names no path (`useHttpPath` is off), or UUIDs, and credentials for single repositories or workspaces are
    kept, `asked_path` may tell which repository git works on. Where it cannot, those for the whole host come first.
    """
    host_place = place_of(request.protocol, request.host, None)
    place = place_of(request.protocol, request.host, request.path)
    inside: list[Credential] = []
    if place == host_place and (not request.path or _begins_with_uuid(request.path)):
        inside = index.below(host_place)
        if inside and (path := asked_path()) is not None:
            place, inside = place_of(request.protocol, request.host, path), []
    found = [c for c in (*index.covering(place), *inside) if may_answer(c, request)]
    stated = {state.split(":")[1] for state in request.states if state.startswith(STATE_PREFIX)}

    def rank(credential: Credential) -> tuple[bool, int, bool, float]:
        depth = credential.place.count("/")
        return (
            credential.id not in stated,
            depth if inside else -depth,
            not _asked_for(credential, request.username),
            -last_used(credential),
        )

    return sorted(found, key=rank)


def may_answer(credential: Credential, request: Request) -> bool:
    """Whether the contract lets this credential answer: one of unknown kind must match as typed, and an API token that
    git stored beside another account's must be asked for by its username.

    As git's own helpers match (credential.c, credential_match): whatever the request names, the entry must have, so one
    without a path answers no request with a path.
    """
    if credential.kind != kinds.UNKNOWN:
        return credential.typed_username in (None, request.username)
    if request.username is not None and request.username != credential.typed_username:
        return False
    return request.path is None or request.path == credential.typed_path


def _asked_for(credential: Credential, username: str | None) -> bool:
    if not username:
        return False
    named = (credential.account, credential.typed_username, credential.username)
    return username.lower() in {name.lower() for name in named if name}


def state_of(credential: Credential) -> str:
    """The `state[]` value that git hands back when the server refuses the answer: id and generation, no secret."""
    return f"{STATE_PREFIX}{credential.id}:{credential.generation}"


def named_by(credential: Credential, username: str | None) -> bool:
    """Whether a username is one of the credential's, or there is none."""
    return username is None or _asked_for(credential, username)


def erased(
    index: Index, request: Request, secret: Secret | None, last_used: Callable[[Credential], float]
) -> list[Credential]:
    """What an `erase` is about: what has the `secret` that it names, else what would answer it by that username."""
    if secret is None:
        found = candidates(index, request, lambda: None, last_used)
        return [c for c in found if named_by(c, request.username)]
    place = place_of(request.protocol, request.host, request.path)
    held = [c for c in (*index.covering(place), *index.below(place)) if c.has_secret(secret)]
    return [c for c in held if c.kind != kinds.UNKNOWN or may_answer(c, request)]
