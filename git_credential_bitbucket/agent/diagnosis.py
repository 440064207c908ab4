"""What becomes of each credential that could answer a request, and why: for `why`, `explain` and `status`.

Starts no renewal and changes nothing. It says of each what `Agent.serve` would make of it, from the same rules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from git_credential_bitbucket import git_protocol
from git_credential_bitbucket.agent import matching, rejection, renewal_schedule
from git_credential_bitbucket.agent.agent import error_answer
from git_credential_bitbucket.agent.expiry import DAY_S
from git_credential_bitbucket.agent.naming import (
    MAX_NAMED,
    describe,
    login_command,
    new_token_hint,
    rotate_command,
    shown_scope,
    shown_source,
)
from git_credential_bitbucket.agent.renewal import may_attempt
from git_credential_bitbucket.bitbucket import hosts, scopes, token_kinds
from git_credential_bitbucket.errors import Error, NewerVault, VaultDamaged, VaultLocked
from git_credential_bitbucket.vault.vault import notice as notice_of_damage

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.matching import Index
    from git_credential_bitbucket.git_protocol import Request

State = Literal[
    "none",
    "other-account",
    "unknown-host",
    "locked",
    "damaged",
    "newer",
    "unavailable",
    "app-password",
    "disabled",
    "suspended",
    "expired",
    "login-expired",
    "unreachable",
    "ready",
]
"""Why nothing is offered, for programs: the request's fault, then the vault's, then one credential's."""
Outcome = Literal["answers", "renewed", "passed over"]
"""What `get` does with a credential: hands it out, has it renewed first, or goes on to the next."""


class Diagnosis(NamedTuple):
    """Why nothing is offered: the state for programs, cause and hint for people."""

    state: State
    cause: str
    hint: str


MAX_USERNAMES_REPORTED = 64

_TROUBLES: tuple[tuple[type[Error], State], ...] = (
    (VaultLocked, "locked"),
    (VaultDamaged, "damaged"),
    (NewerVault, "newer"),
)
_RESTORABLE: frozenset[State] = frozenset({"none", "login-expired", "expired", "disabled", "suspended", "unreachable"})
"""States that a credential which damage took from the vault would have spared the person."""


def answer_why(agent: Agent, fields: dict[str, str], body: bytes) -> bytes:
    """The verb `why`. `asked_path` is the repository that git works on, if git's request names none.

    With `telling=1` a person is told now, and what is told once a day is shorter the next time. Where the vault was
    damaged, that is told as well, and `damaged` is the file.
    """
    telling = fields.get("telling") == "1"
    state, cause, hint = diagnose_request(
        agent, git_protocol.parse(body), fields.get("asked_path") or None, telling=telling
    )
    pairs = [("state", state), ("error", cause), ("hint", hint)]
    notice = notice_of_damage(agent.credential_store.vault)
    if state in _RESTORABLE and notice is not None:
        hint = notice.hint if state == "none" else hint
        pairs = [("state", state), ("error", f"{cause}; {notice.cause}"), ("hint", hint), ("damaged", notice.path)]
    return git_protocol.emit(pairs)


def diagnose_request(
    agent: Agent, request: Request, asked_path: str | None = None, *, telling: bool = False
) -> Diagnosis:
    """Why a `get` for `request` got nothing: the vault's own trouble, the best candidate's, or that there is none."""
    if agent.provider_of(request) is None:
        return _diagnose_unknown_host(request)
    credential_store = agent.credential_store
    index = credential_store.index()
    if credential_store.trouble is not None:
        return _diagnose_trouble(credential_store.trouble)
    found = matching.find_candidates(index, request, lambda: asked_path)
    reasons = [(one, _diagnose_candidate(agent, one, found.repository)) for one in found.candidates]
    for credential, reason in reasons:
        if reason is None:
            return Diagnosis(
                git_protocol.READY,
                f"{describe(credential)} was not ready in time, but is ready now",
                "run the command again",
            )
    if reasons and (reason := reasons[0][1]) is not None:
        return reason
    if found.dropped:
        return _diagnose_username(agent, request.username or "", found.dropped, telling=telling)
    scope = scopes.scope_of(request.protocol, request.host, request.path or asked_path)
    where = git_protocol.printable_name(scope.partition("://")[2])
    return Diagnosis("none", f"no credential for {where}", _login_hint(index, scope))


def _login_hint(index: Index, scope: str) -> str:
    """To log in; or to look again where a project of that workspace may have a new repository."""
    host, workspace = scopes.host_of(scope), "/".join(scope.split("/")[:4])
    near = [one for one in index.below(host) if one.project and one.place.rpartition("/")[0] == workspace]
    if scope == workspace or not near:
        return f"run: {login_command(scope)}"
    looking = [f"{one.project}: git-credential-bitbucket refresh {one.id}" for one in near[:MAX_NAMED]]
    return f"if it is in project {'; in project '.join(looking)}; else log in"


def or_diagnosis(agent: Agent, credential_id: str, repository: str, answer: bytes) -> bytes:
    """`answer`, or instead of an empty one why that credential could not give it for `repository`, as a refusal."""
    credential = None if answer else agent.credential_store.index().get(credential_id)
    reason = None if credential is None else _diagnose_candidate(agent, credential, repository)
    return answer if reason is None else error_answer(Error(reason.cause, hint=reason.hint))


def _diagnose_candidate(agent: Agent, credential: Credential, repository: str) -> Diagnosis | None:
    now = agent.clock()
    trouble = agent.renewals.troubles.get(credential.id)
    if trouble is not None and not (credential.login_expired or renewal_schedule.has_valid_token(credential, now)):
        return _diagnose_trouble(trouble)
    if agent.renewals.is_under_way(credential.id) and not renewal_schedule.has_valid_token(credential, now):
        asking = ", and Bitbucket has not answered yet" if agent.renewals.is_requesting_for(credential.id) else ""
        under_way = f"fetched from {shown_source(credential)}" if credential.is_fetched else f"renewed{asking}"
        cause = f"{describe(credential)} is being {under_way}"
        return Diagnosis(
            "unreachable", cause, "run the command again; the renewal waits up to 5 minutes for Bitbucket's answer"
        )
    return diagnose(credential, now, repository)


def _diagnose_username(agent: Agent, username: str, dropped: list[Credential], *, telling: bool) -> Diagnosis:
    """That git asks for an unknown username; which accounts have credentials is told once a day."""
    shown, now = git_protocol.printable_name(username), agent.clock()
    told = agent.usernames_reported
    hint = "see: git-credential-bitbucket explain"
    if telling and 0 <= now - told.get(shown, -math.inf) < DAY_S:
        return Diagnosis(git_protocol.OTHER_ACCOUNT, f"no stored credential is known to belong to {shown}", hint)
    if telling:
        told[shown] = now
        while len(told) > MAX_USERNAMES_REPORTED:
            del told[next(iter(told))]
    accounts = sorted({git_protocol.printable(one.account or "an unnamed account") for one in dropped})
    others = f"{', '.join(accounts[:MAX_NAMED])}{' and others' if len(accounts) > MAX_NAMED else ''}"
    cause = f"git asks for the username {shown}, but the stored credentials belong to {others}"
    return Diagnosis(
        git_protocol.OTHER_ACCOUNT, cause, "log in as that account, or remove the username from the URL; " + hint
    )


def _diagnose_unknown_host(request: Request) -> Diagnosis:
    host = git_protocol.printable(f"{request.protocol}://{request.host}")
    cause = f"{host} is not configured as Bitbucket in git's system or global configuration, which the daemon reads"
    return Diagnosis(git_protocol.UNKNOWN_HOST, cause, hosts.provider_hint(host))


def _diagnose_trouble(trouble: Error) -> Diagnosis:
    state: State = next((name for kind, name in _TROUBLES if isinstance(trouble, kind)), "unavailable")
    return Diagnosis(state, trouble.cause, trouble.hint or "run: git-credential-bitbucket status")


def diagnose(credential: Credential, now: float, repository: str = "") -> Diagnosis | None:
    """Why this credential is not offered now, for `repository` or (without one) for anything; None where it is."""
    if credential.kind == token_kinds.APP_PASSWORD:
        gone = token_kinds.APP_PASSWORDS_GONE
        return Diagnosis("app-password", gone.cause, gone.hint or "")
    is_blocked = rejection.is_blocked(credential, now, repository)
    has_token = renewal_schedule.has_valid_token(credential, now) and not is_blocked
    is_over = credential.login_expired or (credential.refresh_rejected and not has_token)
    is_suspended = credential.set_aside_at is None and rejection.is_suspended(credential, now, repository)
    if is_blocked and not (is_over and is_suspended):
        return _diagnose_blocked(credential, now, repository)
    if is_over:
        cure = credential.trouble_cure or f"run: {login_command(credential.place)} --oauth"
        return Diagnosis("login-expired", f"{describe(credential)} has expired: {credential.trouble}", cure)
    is_rejected = rejection.needs_renewal(credential, repository)
    if renewal_schedule.has_valid_token(credential, now) and not is_rejected:
        return None
    if credential.is_fetched and not credential.trouble:
        return None  # it is fetched when it is asked for
    if credential.is_obtainable and credential.trouble:
        seconds = max(0, int((credential.retry_at or now) - now)) + 1
        again = f"the next attempt is in {seconds} s"
        hint = f"{credential.trouble_cure} ({again})" if credential.trouble_cure else again
        failed = f"fetched from {shown_source(credential)}" if credential.is_fetched else "renewed"
        return Diagnosis("unreachable", f"{describe(credential)} could not be {failed}: {credential.trouble}", hint)
    if credential.is_renewable:
        return Diagnosis("expired", f"{describe(credential)} is due for renewal", "run the command again")
    is_static = credential.kind in token_kinds.STATIC
    hint = new_token_hint(credential.id, None) if is_static else f"run: {login_command(credential.place)}"
    return Diagnosis("expired", f"{describe(credential)} has expired", hint)


def _diagnose_blocked(credential: Credential, now: float, repository: str) -> Diagnosis:
    name = describe(credential)
    if credential.set_aside_at is not None:
        hint = f"create a new one and log in, or run: git-credential-bitbucket restore {credential.id}"
        if credential.replaced_by is not None:
            hint = f"revoke it at Bitbucket, or to use it again, run: git-credential-bitbucket restore {credential.id}"
        return Diagnosis("disabled", f"{name} was disabled: {credential.set_aside_why}", hint)
    if rejection.is_past_lifetime(credential, now):
        cause = f"{name} has reached the end of the lifetime that you set"
        return Diagnosis("expired", cause, f"run: {login_command(credential.place)}")
    seconds = int(rejection.suspended_until(credential, now, repository) - now) + 1
    cause = credential.trouble or "Bitbucket rejected it"
    hint = "check that it has access to this repository"
    if not repository and credential.origin != "environment":
        hint = "to ask Bitbucket whether it is valid, run: git-credential-bitbucket status --check"
    if credential.is_fetched:
        hint += f"; a valid one is fetched from {shown_source(credential)} once it is there"
    elif credential.kind in token_kinds.STATIC:
        hint += f"; if it was revoked, run: {rotate_command(credential.id)}"
    if credential.origin != "environment":  # else it is in no list that a person could restore it from
        hint += f"; to try again now, run: git-credential-bitbucket restore {credential.id}"
    return Diagnosis("suspended", f"{name} is suspended for {seconds} s: {cause}", hint)


def outcome(credential: Credential, now: float, repository: str) -> Outcome:
    """What a `get` makes of `credential` when its turn has come."""
    if rejection.is_blocked(credential, now, repository):
        return "passed over"
    must_renew = rejection.needs_renewal(credential, repository)
    if credential.is_obtainable and (must_renew or renewal_schedule.must_wait(credential, now)):
        if may_attempt(credential, now):
            return "renewed"
        if must_renew:
            return "passed over"
    return "answers" if renewal_schedule.has_valid_token(credential, now) else "passed over"


def why_dropped(credential: Credential, request: Request) -> str:
    """Why a credential is not offered for the username that git asks for."""
    username = git_protocol.printable_name(request.username or "")
    if credential.names:
        owner = git_protocol.printable(credential.account or min(credential.names))
        return f"it belongs to {owner}, and git asks for {username}"
    return f"it is not known to belong to {username}, which git asks for"


def why_chosen(winner: Credential, others: list[Credential], request: Request) -> str:
    """Why `winner` goes before `others`, which follow it in the order: the first rule that sets it apart from them.

    Empty where there are no others.
    """
    if not others:
        return ""
    others = [one for one in others if not (one.is_bound or one.kind == token_kinds.UNKNOWN)]
    if not others:
        return "the others answer only the requests that git stored them for"
    username = request.username
    if username in token_kinds.TOKEN_USERNAMES and all(one.username != username for one in others):
        return f"git asks for the username {username}, which is the one for its kind"
    if all(other.depth < winner.depth for other in others):
        return f"its scope is narrower than that of the others: {shown_scope(winner)}"
    if all(other.depth > winner.depth for other in others):
        return "git names no repository, and its scope is the whole host"
    if winner.is_default:
        return "it is the default for its scope"
    if any(one.is_default and one.names & winner.names for one in others):
        return "it belongs to the default account for its scope"
    return "it is the newest login for its scope"
