"""What a rejection means: an erase by git, a 401 in the middle of a command. Nothing here is final.

A static token is shown only once and cannot be had again, and a 401 may come from an outage or a redirect's target. So
it becomes suspect and is offered again after a growing delay; only three rejections over more than an hour set it
aside, and even then it is kept for thirty days. REST is not asked for a second opinion: an outage that answers 401 to
everything would give the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_credential_bitbucket.bitbucket import kinds
from git_credential_bitbucket.secret import Secret

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.credential import Credential

SUSPECT_DELAYS_S = (60, 5 * 60, 15 * 60, 30 * 60, 60 * 60)
"""How long a rejected secret is held back, by how often it was rejected. git-lfs asks 155 times in 20 s without it."""
SET_ASIDE_AFTER = 3
SET_ASIDE_OVER_S = 60 * 60
KEPT_ASIDE_S = 30 * 86400
FRESH_REJECTION_S = 60
"""A token minted because its predecessor was rejected, and rejected itself within this time, is not minted again."""


def rejected(credential: Credential, now: float) -> dict[str, object]:
    """The changes to a credential whose current secret was rejected; empty where this rejection is an echo."""
    if credential.set_aside_at is not None:
        return {}
    if credential.kind == kinds.UNKNOWN:
        return {"set_aside_at": now, "set_aside_why": "git was refused with it"}
    if _suspect(credential, now):
        return {}  # several gits were handed it at once: one rejection, told many times
    if credential.renewable:
        return _renewable_rejected(credential, now)
    rejections = (*credential.rejections, now)
    if len(rejections) >= SET_ASIDE_AFTER and now - rejections[0] > SET_ASIDE_OVER_S:
        why = f"rejected {len(rejections)} times over more than an hour"
        return {"rejections": rejections, "set_aside_at": now, "set_aside_why": why, "suspect_until": None}
    delay = SUSPECT_DELAYS_S[min(len(rejections), len(SUSPECT_DELAYS_S)) - 1]
    return {"rejections": rejections, "suspect_until": now + delay}


def _renewable_rejected(credential: Credential, now: float) -> dict[str, object]:
    if rejected_again(credential, now):
        rejections = (*credential.rejections, now)[-len(SUSPECT_DELAYS_S) :]  # until one of its tokens works again
        delay = SUSPECT_DELAYS_S[len(rejections) - 1]
        trouble = "a token minted seconds before was rejected too"
        return {"suspect_until": now + delay, "trouble": trouble, "trouble_cure": None, "rejections": rejections}
    superseded = credential.superseding()
    return {"secret": Secret(""), "superseded": superseded, "rejected_at": now, "suspect_until": None}


def rejected_again(credential: Credential, now: float) -> bool:
    """Whether the rejected token was itself minted to replace a rejected one, moments ago: another will not help."""
    since = credential.rejected_at
    return since is not None and credential.minted_at >= since and 0 <= now - since < FRESH_REJECTION_S


def accepted(credential: Credential) -> dict[str, object]:
    """The changes to a credential that git reports as working (`store`); empty where there is nothing to forgive."""
    if credential.rejections or credential.suspect_until or credential.set_aside_at:
        return {"rejections": (), "suspect_until": None, "set_aside_at": None, "set_aside_why": None}
    return {}


def withheld(credential: Credential, now: float) -> bool:
    """Whether the credential is not offered now."""
    if credential.set_aside_at is not None or credential.kind == kinds.APP_PASSWORD or over(credential, now):
        return True
    return _suspect(credential, now)


def in_good_standing(credential: Credential, now: float) -> bool:
    """Whether nothing speaks against the credential: offered, not at its end, not rejected since it last worked."""
    ended = credential.expires_at is not None and credential.expires_at <= now
    return not (withheld(credential, now) or ended or credential.rejections)


def over(credential: Credential, now: float) -> bool:
    """Whether the lifetime that its owner gave it has ended: it is removed with the next tick."""
    return credential.forget_at is not None and now >= credential.forget_at


def _suspect(credential: Credential, now: float) -> bool:
    """Whether the delay after a rejection is running; one longer than the longest is a clock that was set back."""
    until = credential.suspect_until
    return until is not None and now < until <= now + SUSPECT_DELAYS_S[-1]
