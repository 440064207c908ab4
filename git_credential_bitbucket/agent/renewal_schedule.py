"""When an access token is renewed, waited for, or still served: pure functions of wall-clock seconds.

Expiry is looked at on every `get`, so a laptop that wakes up or a clock that jumps is nothing special.
"""

from __future__ import annotations

import math
import os
import zlib
from typing import TYPE_CHECKING

from git_credential_bitbucket import secret_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.agent.credential import Credential

RENEW_AHEAD_S = 30 * 60
"""A token in use is renewed in the background this long before its end, or a quarter of its life if that is less."""
MIN_REMAINING_S = 10 * 60
"""A `get` waits for a new token rather than hand out one with less left, or with less than a twelfth of its life."""
ASSUMED_LIFETIME_S = 10 * 60
"""How long a token is taken to live whose answer names no `expires_in`: short, not for ever."""
MIN_RETRY_S = 5.0
"""The least time between two attempts after one failed; grows with each failure up to `MAX_RETRY_S`."""
MAX_RETRY_S = 15 * 60
CLOCK_SLACK_S = 60
"""A token minted further ahead than this came from a clock that was set back since: its end cannot be trusted."""
IDLE_RENEWAL_S = 75 * 86400
"""An unused refresh token expires after three months (Atlassian CHANGE-3052); one is renewed well before."""
_PROCESS = os.urandom(8)


def lifetime_s(credential: Credential) -> float:
    """The whole life of the current access token, in seconds."""
    return max(0.0, (credential.expires_at or 0.0) - credential.minted_at)


def has_valid_token(credential: Credential, now: float) -> bool:
    """Whether the current access token may still be handed out at all: there is one, and its end has not come."""
    return bool(credential.secret) and (credential.expires_at is None or now < credential.expires_at)


def must_wait(credential: Credential, now: float) -> bool:
    """Whether a `get` waits for a new token: none is valid, or less than `MIN_REMAINING_S` is left."""
    if not has_valid_token(credential, now) or now < credential.minted_at - CLOCK_SLACK_S:
        return True
    if credential.expires_at is None:
        return credential.is_fetched and _is_outdated(credential, now)
    return credential.expires_at - now < _least_remaining_s(credential)


def moments(credential: Credential) -> Iterator[float]:
    """When a decision about a token, or about the next attempt to renew it, may be another one by time alone."""
    yield credential.minted_at - CLOCK_SLACK_S
    if credential.is_fetched:
        yield credential.minted_at + secret_sources.CACHED_S
    if credential.expires_at is not None:
        yield from (credential.expires_at, credential.expires_at - _least_remaining_s(credential))
    if credential.retry_at is not None:
        yield from (credential.retry_at, credential.retry_at - 2 * MAX_RETRY_S)


def _least_remaining_s(credential: Credential) -> float:
    return min(MIN_REMAINING_S, lifetime_s(credential) / 12)


def _is_outdated(credential: Credential, now: float) -> bool:
    """Whether a value without an expiry is fetched again: a file's each time, a command's after some minutes."""
    return secret_sources.is_cheap(credential.source or "") or now - credential.minted_at >= secret_sources.CACHED_S


def renewal_due_at(credential: Credential) -> float:
    """When the background renews a token in use: ahead of its end, jittered so many daemons do not call at once."""
    if not credential.secret or credential.expires_at is None:
        return credential.minted_at
    ahead = min(RENEW_AHEAD_S, lifetime_s(credential) / 4)
    return credential.expires_at - ahead * (1.0 + 0.2 * _jitter(credential))


def idle_renewal_due_at(credential: Credential) -> float:
    """When a token is renewed that nobody uses, so that its refresh token does not expire; jittered as above."""
    return credential.minted_at + IDLE_RENEWAL_S * (1.0 - 0.01 * _jitter(credential))


def was_used_since_renewal(credential: Credential, last_used_at: float | None) -> bool:
    """Whether the credential was used since its token was issued."""
    return last_used_at is not None and last_used_at >= credential.minted_at


def next_attempt_at(now: float, failures: int, retry_after: float | None, jitter: float) -> float:
    """When a failed renewal is tried again: what Bitbucket asked for, or exponential with jitter (0 to 1), bounded."""
    backoff = min(MAX_RETRY_S, MIN_RETRY_S * 2.0 ** min(failures - 1, 12))
    backoff *= 1.0 + 0.5 * jitter
    if retry_after is not None:
        backoff = max(backoff, min(retry_after, float(MAX_RETRY_S)))
    return now + backoff


def _jitter(credential: Credential) -> float:
    """Between 0 and 1, the same each time a process asks, different between credentials, generations and processes.

    Among many hosts with one vault the last part's distribution lets one of them wake seconds before the next, however
    many there are: with a uniform one, 80 of 10,000 would before the first had the answer.
    """
    named = f"{credential.id}:{credential.generation}".encode()
    own = max(_uniform(named + _PROCESS), 1e-9)
    return 0.6 * _uniform(named) + 0.4 * min(1.0, -math.log(own) / 12)


def _uniform(seed: bytes) -> float:
    return zlib.crc32(seed) / 2**32
