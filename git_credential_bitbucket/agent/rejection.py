"""What a rejection means: an erase by git, a 401 in the middle of a command. Nothing here is final.

A static token is shown only once and cannot be had again, and a 401 may come from an outage or a redirect's target. So
it is suspended and offered again after a growing delay; only three rejections over more than an hour disable it, and
even then it is kept for thirty days. A Data Center locks an account after some failed logins, so there the first one
disables it. REST is not asked for a second opinion: an outage that answers 401 to everything would give the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import scopes, token_kinds
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.agent.credential import Credential

SUSPENSIONS_S = (60, 5 * 60, 15 * 60, 30 * 60, 60 * 60)
"""How long a rejected secret is suspended, by how often it was rejected. git-lfs asks 155 times in 20 s without it."""
DISABLE_AFTER = 3
DISABLE_OVER_S = 60 * 60
KEPT_DISABLED_S = 30 * 86400
SPREAD_S = 10 * 60
"""Within this time, rejections at two repositories count for the whole host."""
FRESH_REJECTION_S = 60
"""At most one renewal in this time is caused by rejections: a fresh token that is rejected again is suspended."""

_COULD_LOCK = "the server rejected it, and sending it again could lock the account"
_WANTS_BEARER = (
    "the server rejected it; an older one takes it by Bearer only (credential.<url>.authtype=bearer, git 2.46), and "
    "then a push of more than 1 MiB needs a larger http.postBuffer"
)
_FRESH_REJECTED: dict[str, object] = {"trouble": "a new token was rejected as well", "trouble_cure": None}


def on_rejection(credential: Credential, now: float, scope: str) -> dict[str, object]:
    """The changes to a credential whose current secret was rejected for `scope`; empty where this is an echo.

    A rejection at one repository suspends the credential there. It counts for the whole host where `scope` is the host,
    or where another repository rejected it within ten minutes and none accepted it since: one hostile address, or one
    repository without access, must not take the token away from all others.
    """
    if credential.set_aside_at is not None:
        return {}
    if credential.kind == token_kinds.UNKNOWN:
        return {"set_aside_at": now, "set_aside_why": "git reported that it was rejected"}
    if is_suspended(credential, now, scope) or needs_renewal(credential, scope):
        return {}  # several gits were handed it at once: one rejection, told many times
    if credential.may_lock_account and not credential.is_renewable:
        if credential.is_fetched:  # another value of its source is offered at once
            return {"rejections": (*credential.rejections, now), "suspect_until": now + SUSPENSIONS_S[-1]}
        why = _WANTS_BEARER if credential.kind == token_kinds.ACCESS_TOKEN else _COULD_LOCK
        return {"rejections": (*credential.rejections, now), "set_aside_at": now, "set_aside_why": why}
    if scope == scopes.host_of(scope):
        return _rejected_everywhere(credential, now)
    suspensions = {k: v for k, v in (credential.suspensions or {}).items() if _is_recent(v, now)}
    own = suspensions.get(scope, {"times": 0})
    others = [v for k, v in suspensions.items() if k != scope and v["counts"] and 0 <= now - v["at"] < SPREAD_S]
    renews = credential.is_renewable and not _is_fresh_replacement(credential, now)
    times = own["times"] + 1
    suspensions[scope] = {
        "at": now,
        "until": now + _suspension_s(times),
        "times": times,
        "counts": True,
        # A token that can be renewed is suspended as this generation, which ends with the renewal.
        "generation": credential.generation if renews else None,
    }
    changes: dict[str, object] = {"suspensions": suspensions}
    if credential.is_renewable and not renews:
        changes |= _FRESH_REJECTED
    if others:
        return changes | _rejected_everywhere(credential, now)
    return changes | {"rejected_at": now} if renews else changes


def _rejected_everywhere(credential: Credential, now: float) -> dict[str, object]:
    if credential.is_renewable:
        return _renewable_rejected(credential, now)
    rejections = (*credential.rejections, now)
    if len(rejections) >= DISABLE_AFTER and not credential.is_fetched and now - rejections[0] > DISABLE_OVER_S:
        why = f"rejected {len(rejections)} times over more than an hour"
        return {"rejections": rejections, "set_aside_at": now, "set_aside_why": why, "suspect_until": None}
    return {"rejections": rejections, "suspect_until": now + _suspension_s(len(rejections))}


def _renewable_rejected(credential: Credential, now: float) -> dict[str, object]:
    if _is_fresh_replacement(credential, now):
        rejections = (*credential.rejections, now)[-len(SUSPENSIONS_S) :]  # until one of its tokens works again
        return {"suspect_until": now + _suspension_s(len(rejections)), "rejections": rejections} | _FRESH_REJECTED
    superseded = credential.superseding()
    return {"secret": Secret(""), "superseded": superseded, "rejected_at": now, "suspect_until": None}


def _is_fresh_replacement(credential: Credential, now: float) -> bool:
    """Whether the rejected token was itself minted to replace a rejected one, moments ago: another will not help."""
    since = credential.rejected_at
    return since is not None and credential.minted_at >= since and 0 <= now - since < FRESH_REJECTION_S


def on_acceptance(credential: Credential, scope: str) -> dict[str, object]:
    """The changes to a credential that git reports as working for `scope`; empty where there is nothing to forgive."""
    changes: dict[str, object] = {}
    if credential.rejections or credential.suspect_until or credential.set_aside_at:
        changes = {"rejections": (), "suspect_until": None, "set_aside_at": None, "set_aside_why": None}
    suspensions = credential.suspensions or {}
    if scope in suspensions or any(one["counts"] for one in suspensions.values()):
        kept = {k: one | {"counts": False} for k, one in suspensions.items() if k != scope}
        changes["suspensions"] = kept or None
    return changes


def is_blocked(credential: Credential, now: float, scope: str = "") -> bool:
    """Whether the credential is not offered now, for `scope` or (without one) for anything."""
    is_out = credential.set_aside_at is not None or credential.kind == token_kinds.APP_PASSWORD
    return is_out or is_past_lifetime(credential, now) or is_suspended(credential, now, scope)


def needs_renewal(credential: Credential, scope: str) -> bool:
    """Whether the current token was rejected at `scope`, and a renewed one may be offered there."""
    one = (credential.suspensions or {}).get(scope)
    return credential.is_renewable and one is not None and one["generation"] == credential.generation


def is_suspended(credential: Credential, now: float, scope: str = "") -> bool:
    """Whether the delay after a rejection is running; one longer than the longest is a clock that was set back."""
    until = credential.suspect_until
    if until is not None and now < until <= now + SUSPENSIONS_S[-1]:
        return True
    if not credential.suspensions:
        return False
    # A credential for one repository that was rejected there is of no use to a request that names none.
    there = [one for at, one in credential.suspensions.items() if at in (scope, credential.place)]
    return any(one["generation"] is None and now < one["until"] <= now + SUSPENSIONS_S[-1] for one in there)


def moments(credential: Credential) -> Iterator[float]:
    """When `is_blocked` may give another answer by time alone."""
    suspended = [one["until"] for one in (credential.suspensions or {}).values()]
    for until in (credential.suspect_until, *suspended):
        if until is not None:
            yield from (until, until - SUSPENSIONS_S[-1])
    if credential.forget_at is not None:
        yield credential.forget_at


def suspended_until(credential: Credential, now: float, scope: str = "") -> float:
    """When a suspended credential is offered again, in epoch seconds."""
    there = [one["until"] for at, one in (credential.suspensions or {}).items() if at in (scope, credential.place)]
    return float(max(credential.suspect_until or now, now, *there))


def suspended_scopes(credential: Credential, now: float) -> list[str]:
    """The repositories at which the credential is suspended now, while it is offered elsewhere."""
    if not credential.suspensions:
        return []
    return sorted(scope for scope in credential.suspensions if is_suspended(credential, now, scope))


def _is_recent(one: dict[str, float], now: float) -> bool:
    return 0 <= now - one["at"] < 2 * SUSPENSIONS_S[-1]


def _suspension_s(times: int) -> int:
    return SUSPENSIONS_S[min(times, len(SUSPENSIONS_S)) - 1]


def is_in_good_standing(credential: Credential, now: float) -> bool:
    """Whether nothing speaks against the credential: offered, not at its end, not rejected since it last worked."""
    ended = credential.expires_at is not None and credential.expires_at <= now
    return not (is_blocked(credential, now) or ended or credential.rejections or credential.is_bound)


def is_past_lifetime(credential: Credential, now: float) -> bool:
    """Whether the lifetime that its owner gave it has ended: it is removed with the next tick."""
    return credential.forget_at is not None and now >= credential.forget_at
