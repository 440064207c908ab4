"""The documents behind `status` and `explain`: each credential without its secret, and the vault's state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import diagnosis, matching, rejection, renewal_schedule
from git_credential_bitbucket.agent.naming import MAX_NAMED, shown_scope, shown_source
from git_credential_bitbucket.bitbucket import scopes
from git_credential_bitbucket.errors import Error, Problem, VaultMoved
from git_credential_bitbucket.vault.vault import notice as notice_of_damage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.bitbucket import token_kinds
    from git_credential_bitbucket.git_protocol import Request

Pairs = list[tuple[str, str]]
_encode = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii


class CredentialView(TypedDict):
    """A credential as `status` shows it; times are epoch seconds, `expires_in` seconds from now."""

    id: str
    scope: str
    url: str
    project: str | None
    repositories: list[str]
    kind: token_kinds.Kind
    account: str | None
    bitbucket_username: str | None
    account_id: str | None
    username: str
    default: bool
    answers: bool
    bound_to: str | None
    suspended_for: list[str]
    secret: str | None
    state: diagnosis.State | Literal["ready"]
    why: str | None
    hint: str | None
    oauth_scopes: list[str]
    created_at: float
    last_used_at: float | None
    expires_at: float | None
    expires_in: int | None
    ends_at: float | None
    forget_at: float | None
    renewed_at: float | None
    source: str | None
    fetched_at: float | None
    renewal_due_at: float | None
    trouble: str | None
    trouble_hint: str | None
    origin: str
    memory: bool
    replaced_by: str | None


_BOOLEANS = {False: "false", True: "true"}
_INFINITE = float("inf")


class PresentState(NamedTuple):
    """What of a credential's view may change while what is stored of it does not."""

    reason: diagnosis.Diagnosis | None
    suspended: list[str]
    rejected: Problem | None
    last_used_at: float | None
    expires_in: int | None
    is_in_memory: bool
    answers: bool


class GrantView(TypedDict):
    """A grant as `grant list` shows it; times are epoch seconds. `ignored` counts the requests that it refused."""

    id: str
    scope: str
    socket: str
    peer: int | None
    created_at: float
    expires_at: float
    uses: int | None
    used: int
    ignored: int


class Candidate(CredentialView):
    """A credential that may answer a request, as `explain` shows it."""

    outcome: diagnosis.Outcome
    wins: bool


class Winner(Candidate):
    """The one that does, or would be renewed first, and why it goes before the others."""

    because: str


class Dropped(CredentialView):
    """One that would answer, but for the username that git asks for."""

    because: str


def status_view(agent: Agent) -> bytes:
    """The answer to `action=status`: the vault's state and a JSON object for each credential.

    A line is kept with the index, and written anew where it would be another one.
    """
    index, head = agent.credential_store.index(), git_protocol.emit(vault_view(agent))
    now = agent.clock()
    first = _first_of_each_scope(index, now)
    for credential in index:
        present = _present_state(credential, agent, now, answers=credential.id in first)
        known = index.shown.get(credential.id)
        if known is None or known.present != present:
            order = (shown_scope(credential), credential.kind, credential.id)
            line = f"credential[]={encode_credential(credential, present)}\n".encode("ascii")
            index.shown[credential.id] = matching.ShownCredential(order, present, line)
    return b"".join([head, *(one.line for one in sorted(index.shown.values()))])


def _first_of_each_scope(index: Index, now: float) -> set[str]:
    """The ids of those that answer a request for exactly their scope which names no account."""
    first: dict[str, Credential] = {}
    defaults = [credential for credential in index if credential.is_default]
    for credential in index:
        if rejection.is_blocked(credential, now) or credential.is_unsolicited:
            continue
        other = first.get(credential.place)
        if other is None or matching.rank_in_scope(credential, defaults) < matching.rank_in_scope(other, defaults):
            first[credential.place] = credential
    return {credential.id for credential in first.values()}


def explain_view(agent: Agent, request: Request, asked_path: str | None) -> Pairs:
    """The vault's state, then a JSON object for each credential that covers `request`, the first to be looked at first.

    `asked_path` stands for what the daemon reads from the asking git where the request has no path. `elsewhere[]` are
    the scopes on the same host that this request is not for.
    """
    index, now = agent.credential_store.index(), agent.clock()
    match = matching.find_candidates(index, request, lambda: asked_path)
    found = match.candidates
    outcomes = [diagnosis.outcome(credential, now, match.repository) for credential in found]
    winner = next((i for i, each in enumerate(outcomes) if each != "passed over"), None)
    pairs = vault_view(agent)
    for at, credential in enumerate(found):
        stated = credential_view(credential, agent, now, match.repository)
        told: Candidate = {**stated, "outcome": outcomes[at], "wins": at == winner}
        if at == winner:
            because = diagnosis.why_chosen(credential, found[at + 1 :], request)
            because = because or f"it is the only candidate{' left' if at > 0 else ''}"
            told = Winner(**told, because=because)
        pairs.append(("candidate[]", _encode(told)))
    for credential in match.dropped:
        because = diagnosis.why_dropped(credential, request)
        dropped: Dropped = {**credential_view(credential, agent, now), "because": because}
        pairs.append(("dropped[]", _encode(dropped)))
    return pairs + [("elsewhere[]", scope) for scope in _elsewhere(index, [*found, *match.dropped], request)]


def _elsewhere(index: Index, found: list[Credential], request: Request) -> list[str]:
    """The scopes on the request's host that have credentials, but none that may answer here."""
    host = scopes.scope_of(request.protocol, request.host, None)
    covering = {credential.id for credential in found}
    places = {
        shown_scope(credential)
        for credential in index
        if (credential.place == host or credential.place.startswith(host + "/")) and credential.id not in covering
    }
    return sorted(places)


def grant_views(agent: Agent) -> list[GrantView]:
    """The open grants, without those that are spent."""
    return [
        {
            "id": grant.id,
            "scope": git_protocol.printable(grant.scope),
            "socket": git_protocol.printable(grant.socket),
            "peer": grant.peer,
            "created_at": grant.created_at,
            "expires_at": grant.expires_at,
            "uses": grant.uses,
            "used": grant.used,
            "ignored": grant.ignored,
        }
        for grant in agent.grants.open_grants()
    ]


def vault_view(agent: Agent) -> Pairs:
    """The vault's state, as of the last look at it, what is wrong with it, and what damage it has been through."""
    trouble = agent.credential_store.trouble or agent.credential_store.vault.storage.fault()
    pairs = [("vault", _state(agent))]
    if trouble is not None:
        pairs += [("trouble", trouble.cause), ("hint", trouble.hint or "")]
    if isinstance(trouble, VaultMoved):
        pairs.append(("moved_to", trouble.to))
    notice = notice_of_damage(agent.credential_store.vault)
    if notice is not None:
        pairs += [("damaged", notice.path), ("damage", notice.cause), ("damage_hint", notice.hint)]
    return pairs


def _state(agent: Agent) -> str:
    """As `Vault.state`; but where there is only a key yet, and no file, a person has no vault.

    `unreadable` where not even that can be seen (a directory under the vault's name, say); the trouble tells why.
    """
    vault = agent.credential_store.vault
    if agent.credential_store.locked_by_person:
        return "locked"
    try:
        return "absent" if vault.state == "open" and vault.storage.watch() is None else vault.state
    except Error:
        return "unreadable"


def credential_view(credential: Credential, agent: Agent, now: float, repository: str = "") -> CredentialView:
    """One credential for `status`, or for a request about `repository`; times are epoch seconds."""
    view: CredentialView = json.loads(encode_credential(credential, _present_state(credential, agent, now, repository)))
    return view


def _present_state(
    credential: Credential, agent: Agent, now: float, repository: str = "", *, answers: bool = False
) -> PresentState:
    ends = credential.expires_at if credential.secret else None
    return PresentState(
        diagnosis.diagnose(credential, now, repository),
        rejection.suspended_scopes(credential, now),
        _guests_rejection(credential, agent, now),
        agent.credential_store.last_used(credential),
        None if ends is None else int(ends - now),
        agent.credential_store.is_in_memory(credential.id),
        answers,
    )


def encode_credential(credential: Credential, present: PresentState) -> str:
    """A `CredentialView` in JSON. Written out field by field: with thousands, to build each first takes twice as long.

    It depends on nothing but its arguments.
    """
    reason, suspended = present.reason, present.suspended
    bound_to = _bound_to(credential) if credential.is_unsolicited else None
    problem = reason or _restriction(credential, bound_to, suspended) or present.rejected
    is_renewable = credential.is_renewable
    return (
        f'{{"id":{_quoted(credential.id)}'
        f',"scope":{_quoted(shown_scope(credential))}'
        f',"url":{_quoted(git_protocol.printable(credential.place))}'
        f',"project":{_text(credential.project)}'
        f',"repositories":{_texts(credential.repositories)}'
        f',"kind":{_quoted(credential.kind)}'
        f',"account":{_text(credential.account)}'
        f',"bitbucket_username":{_text(credential.bitbucket_username)}'
        f',"account_id":{_text(credential.account_id)}'
        f',"username":{_quoted(credential.username)}'
        f',"default":{_BOOLEANS[credential.is_default]}'
        f',"answers":{_BOOLEANS[present.answers]}'
        f',"bound_to":{_text(bound_to)}'
        f',"suspended_for":{_texts([git_protocol.printable(at.partition("://")[2]) for at in suspended])}'
        f',"secret":{_quoted(credential.secret.masked()) if credential.secret else "null"}'
        f',"state":{_quoted(reason.state if reason else "ready")}'
        f',"why":{_text(problem.cause if problem else None)}'
        f',"hint":{_text(problem.hint if problem else None)}'
        f',"oauth_scopes":{_texts(credential.scopes)}'
        f',"created_at":{_number(credential.created_at)}'
        f',"last_used_at":{_number(present.last_used_at)}'
        f',"expires_at":{_number(credential.expires_at if credential.secret else None)}'
        f',"expires_in":{_number(present.expires_in)}'
        f',"ends_at":{_number(credential.ends_at)}'
        f',"forget_at":{_number(credential.forget_at)}'
        f',"renewed_at":{_number(credential.minted_at if is_renewable else None)}'
        f',"source":{_text(shown_source(credential) or None)}'
        f',"fetched_at":{_number((credential.minted_at or None) if credential.is_fetched else None)}'
        f',"renewal_due_at":{_number(renewal_schedule.renewal_due_at(credential) if is_renewable else None)}'
        f',"trouble":{_text(credential.trouble)}'
        f',"trouble_hint":{_text(credential.trouble_cure)}'
        f',"origin":{_quoted(credential.origin)}'
        f',"memory":{_BOOLEANS[present.is_in_memory]}'
        f',"replaced_by":{_text(credential.replaced_by)}}}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value) if abs(value) < _INFINITE else _encode(value)


def _texts(values: Sequence[str]) -> str:
    return _encode(list(values)) if values else "[]"


def _restriction(credential: Credential, bound_to: str | None, suspended: list[str]) -> Problem | None:
    """Why a credential is offered for some requests only, not at the `suspended` scopes, and what to do about it."""
    if bound_to is not None:
        return Problem(f"answers only {bound_to}", "to use it for other requests, log in with it")
    if not suspended:
        return None
    named = ", ".join(git_protocol.printable(scope.partition("://")[2]) for scope in suspended[:MAX_NAMED])
    hint = f"check that it has access there; to try again now, run: git-credential-bitbucket restore {credential.id}"
    return Problem(f"suspended for {named}, where it was rejected", hint)


def _guests_rejection(credential: Credential, agent: Agent, now: float) -> Problem | None:
    """That git at a grant's socket erased the secret: rejected there, which changes nothing here."""
    noted = agent.grants.rejection_of(credential)
    if noted is None:
        return None
    cause = f"git at the socket of grant {noted[0]} reported {int(now - noted[1])} s ago that Bitbucket rejected it"
    return Problem(cause, "run: git-credential-bitbucket status --check")


def _bound_to(credential: Credential) -> str:
    """The username, and the path if there is one, that alone is answered with what git stored unasked."""
    path = f" at {credential.typed_path}" if credential.typed_path else ""
    return git_protocol.printable(f"{credential.typed_username}{path}")
