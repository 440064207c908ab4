"""Which credential answers a request: the one order that `get`, `token`, `explain`, `why` and `erase` share.

Asking changes nothing: the order depends on what is kept and on the request, never on who asked before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.agent.credential import Credential, binds_account, names_in, scopes_answered
from git_credential_bitbucket.bitbucket import scopes, token_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from git_credential_bitbucket.agent.credential import Record
    from git_credential_bitbucket.git_protocol import Request
    from git_credential_bitbucket.secret import Secret

    RequestKey = tuple[object, bytes]
    """A caller's role, and its request."""

STATE_PREFIX = "bitbucket:"
_PERSONAL = frozenset({token_kinds.API_TOKEN, token_kinds.OAUTH, token_kinds.PERSONAL_TOKEN})
"""Kinds that act for a person; access tokens and consumers belong to none."""


class KnownAnswer(NamedTuple):
    """An answer, the credential in it, and between which epoch seconds and under which settings it is given again."""

    answer: bytes
    credential: Credential
    since: float
    until: float
    settings: object

    def __repr__(self) -> str:
        return f"KnownAnswer({self.credential.id})"


class ShownCredential(NamedTuple):
    """A credential's line in the answer to `status`, its place among the others, and the state that the line shows."""

    order: tuple[str, str, str]
    present: tuple[object, ...]
    line: bytes


class Match(NamedTuple):
    """The credentials that may answer a request, best first.

    `repository` is what a rejection of the answer counts for (see `repository_of`). `dropped` would answer too, but
    belong to another person than the username that git asks for.
    """

    repository: str
    candidates: list[Credential]
    dropped: list[Credential]


def repository_of(request: Request, asked_path: Callable[[], str | None] = lambda: None) -> str:
    """What a 401 to `request` is about: the repository that its path names in any spelling; else the host.

    `asked_path` tells of the repository that git works on where the request names none.
    """
    path = request.path
    if scopes.names_no_repository(path):
        path = asked_path() or path
    return scopes.repository_of(request.protocol, request.host, path)


class Index:
    """All credentials by scope, built once for each state of the vault."""

    def __init__(self, records: Iterable[Record], former: Index | None = None) -> None:
        """Index the vault's records; they are read into credentials only when they are candidates.

        What the `former` index has read and shown is kept where it would be the same again.
        """
        self._records: dict[str, Record] = {}
        self._read: dict[str, Credential] = {}
        self._by_scope: dict[str, list[str]] = {}
        self._persons: dict[str, list[Person]] = {}
        self.answers: dict[RequestKey, KnownAnswer] = {}
        """What was answered from here (see `answer_cache`)."""
        self.shown: dict[str, ShownCredential] = {}
        """The credentials as `status` has shown them, by id (see `status_views`)."""
        for record in records:
            credential_id = record["id"]
            self._records[credential_id] = record
            for scope in scopes_answered(record) if "project" in record else (record["place"],):
                self._by_scope.setdefault(scope, []).append(credential_id)
        if former is not None:
            self._read = former.read_of(self._records)
            self.shown = {i: former.shown[i] for i in self._read if i in former.shown}

    def __iter__(self) -> Iterator[Credential]:
        """Every credential."""
        return (self._credential(i) for i in self._records)

    def get(self, credential_id: str) -> Credential | None:
        """The credential with this id."""
        return self._credential(credential_id) if credential_id in self._records else None

    def read_of(self, records: Mapping[str, Record]) -> dict[str, Credential]:
        """What was read of those `records` that are in this index, too: none is ever changed in place."""
        read = list(self._read.items())  # a thread that still has this index may read more of it
        return {i: credential for i, credential in read if records.get(i) is self._records[i]}

    def replaced_by(self, credential_id: str) -> list[Credential]:
        """The credentials that were disabled for this one."""
        return [self._credential(i) for i, r in self._records.items() if r.get("replaced_by") == credential_id]

    def _credential(self, credential_id: str) -> Credential:
        if credential_id not in self._read:
            self._read[credential_id] = Credential.from_record(self._records[credential_id])
        return self._read[credential_id]

    def covering(self, scope: str) -> list[Credential]:
        """The credentials for `scope`, those of its project, and those for the scopes around it."""
        found: list[Credential] = []
        while scope.count("/") >= 2:  # noqa: PLR2004 - `protocol://host` has two
            found += [self._credential(i) for i in self._by_scope.get(scope, ())]
            scope = scope.rpartition("/")[0]
        return found

    def below(self, host_place: str) -> list[Credential]:
        """The credentials for scopes inside a host; none where the scope is not a whole host."""
        return [self._credential(i) for i in self._ids_below(host_place)]

    def _ids_below(self, host_place: str) -> list[str]:
        if host_place != scopes.host_of(host_place):
            return []
        inside = host_place + "/"
        return [i for i, record in self._records.items() if record["place"].startswith(inside)]

    def persons(self, host: str) -> list[Person]:
        """The persons whose credentials are kept for a host and what lies below it; read once for each index."""
        if host not in self._persons:
            ids = (*self._by_scope.get(host, ()), *self._ids_below(host))
            self._persons[host] = _persons([self._records[i] for i in ids])
        return self._persons[host]


class Person(NamedTuple):
    """One person's names in lower case: emails, Bitbucket usernames, account ids. Without any: unknown."""

    names: frozenset[str]
    has_username: bool


def _persons(records: Iterable[Record]) -> list[Person]:
    """Credentials that share a name are one person's; all that have none count as one more."""
    groups: list[set[str]] = []
    usernames: set[str] = set()
    nameless = False
    for record in records:
        is_bound = record.get("typed_username") is not None and not binds_account(record)
        if record["kind"] not in _PERSONAL or is_bound:
            continue
        names, username = names_in(record)
        nameless = nameless or not names
        usernames |= username
        shared = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names]
        if names:
            groups.append(names.union(*shared))
    persons = [Person(frozenset(group), bool(group & usernames)) for group in groups]
    return [*persons, Person(frozenset(), has_username=False)] if nameless else persons


def find_candidates(index: Index, request: Request, asked_path: Callable[[], str | None]) -> Match:
    """What may answer `request`, in this order.

    git's own `state[]` first; credentials of other persons than the asked username's are dropped; then the longest
    scope, the scope's default as a person set it, others of the default's account, and the newest login. What git
    stored unasked, and secrets of unknown kind, come after everything else.

    Where git names no path (`useHttpPath` is off), or UUIDs, `asked_path` may tell which repository git works on; it is
    called only where that matters. Where it cannot, credentials for the whole host come first.
    """
    host = scopes.scope_of(request.protocol, request.host, None)
    scope = scopes.scope_of(request.protocol, request.host, request.path)
    found = index.covering(scope)
    below: list[Credential] = []
    path = request.path
    if scope == host and scopes.names_no_repository(request.path):
        below = index.below(host)
        if (below or any(c.suspensions for c in found)) and (asked := asked_path()) is not None:
            path, below = asked, []
            found = index.covering(scopes.scope_of(request.protocol, request.host, path))
    repository = scopes.repository_of(request.protocol, request.host, path)
    able = [credential for credential in (*found, *below) if may_answer(credential, request)]
    wanted = _names_of_person(index.persons(host), request.username) if request.username else None
    kept = able if wanted is None else [c for c in able if not _is_personal(c) or c.names & wanted]
    defaults = [c for c in kept if c.is_default]
    stated = {state.split(":")[1] for state in request.states if state.startswith(STATE_PREFIX)}

    def rank(credential: Credential) -> tuple[object, ...]:
        return (
            credential.id not in stated,
            _trust_rank(credential),
            request.username in token_kinds.TOKEN_USERNAMES and credential.username != request.username,
            credential.depth if below else -credential.depth,
            rank_in_scope(credential, defaults),
        )

    ids = {credential.id for credential in kept}
    return Match(repository, sorted(kept, key=rank), [c for c in able if c.id not in ids])


def rank_in_scope(credential: Credential, defaults: Iterable[Credential]) -> tuple[object, ...]:
    """Sorts credentials of one scope: the default that a person set, others of its account, then the newest login."""
    return (
        _trust_rank(credential),
        not credential.is_default,
        not any(one.place == credential.place and one.names & credential.names for one in defaults),
        credential.is_fallback,
        -credential.created_at,
        credential.id,
    )


def _trust_rank(credential: Credential) -> int:
    """0 for what is known to work with Bitbucket; 1 for a secret of unknown kind, 2 for what is unsolicited."""
    return 2 if credential.is_unsolicited else int(credential.kind == token_kinds.UNKNOWN)


def _names_of_person(persons: list[Person], username: str) -> frozenset[str] | None:
    """The names of the person that `username` names; none where it may be another person; None: any.

    An unknown username matches all where a single person's credentials are kept, or where every person's Bitbucket
    username is known, and so this is none of theirs.
    """
    if username in token_kinds.TOKEN_USERNAMES:
        return None
    known = [person for person in persons if username.lower() in person.names]
    if known:
        return known[0].names
    if len(persons) <= 1 or all(person.has_username for person in persons):
        return None
    return frozenset()


def _is_personal(credential: Credential) -> bool:
    return credential.kind in _PERSONAL and not credential.is_bound


def is_same_person(names: AbstractSet[str], others: AbstractSet[str]) -> bool:
    """Whether two credentials with these names are one person's, as far as is known: one in common, or none at all."""
    return bool(names & others) or not (names or others)


def may_answer(credential: Credential, request: Request) -> bool:
    """Whether a credential that is unsolicited or of unknown kind fits the request; all others do.

    Unknown kinds follow git's own contract (credential.c, credential_match): whatever the request names, the entry must
    have. An unasked one answers exactly the username, and the path if it has one, that it came with.
    """
    if credential.is_unsolicited:
        same_path = credential.typed_path is None or request.path == credential.typed_path
        return request.username == credential.typed_username and same_path
    if credential.kind != token_kinds.UNKNOWN:
        return True
    if request.username is not None and request.username != credential.typed_username:
        return False
    return request.path is None or request.path == credential.typed_path


def state_of(credential: Credential) -> str:
    """The `state[]` value that git hands back when the server rejects the answer: id and generation, no secret."""
    return f"{STATE_PREFIX}{credential.id}:{credential.generation}"


def has_username(credential: Credential, username: str | None) -> bool:
    """Whether a username is one of the credential's, or there is none."""
    usernames = (None, credential.username, credential.typed_username)
    return username in usernames or (username or "").lower() in credential.names


def find_erased(index: Index, request: Request, secret: Secret | None) -> list[Credential]:
    """What an `erase` is about: what has the `secret` that it names, else what would answer it by that username."""
    if secret is None:
        candidates = find_candidates(index, request, lambda: None).candidates
        return [c for c in candidates if has_username(c, request.username)]
    scope = scopes.scope_of(request.protocol, request.host, request.path)
    held = [c for c in (*index.covering(scope), *index.below(scope)) if c.has_secret(secret)]
    return [c for c in held if c.kind != token_kinds.UNKNOWN or may_answer(c, request)]
