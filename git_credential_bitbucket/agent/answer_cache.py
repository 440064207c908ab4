"""Answers to `get` that are given again to the same bytes: to parse, match and format again costs more than all else.

An answer is kept with the index that it was found in, and ends with that: with any change of what is stored or fetched,
and with a lock. Within one index, an answer changes by time alone, and only at `_moments`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from git_credential_bitbucket.agent import rejection, renewal_schedule
from git_credential_bitbucket.agent.matching import KnownAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.matching import Index, Match, RequestKey

MAX_KNOWN, MAX_KNOWN_BYTES = 512, 512
"""So many answers to requests of so many bytes are kept: a peer that asks ever new ones must not fill the memory."""
_SLACK_S = 1.0
"""So near to a moment an answer is not given again, and no comparison has to be exact."""


class Hit(NamedTuple):
    """How a `get` was answered: by `credential`, the first that could be given `at` (epoch seconds), of `match`."""

    within: Index
    match: Match
    credential: Credential
    at: float


def keep(key: RequestKey, answer: bytes, hit: Hit, settings: object) -> None:
    """Keep an answer for the same request."""
    if len(key[1]) > MAX_KNOWN_BYTES:
        return
    moments = [moment for credential in hit.match.candidates for moment in _moments(credential)]
    since = max((moment for moment in moments if moment <= hit.at), default=float("-inf")) + _SLACK_S
    until = min((moment for moment in moments if moment > hit.at), default=float("inf")) - _SLACK_S
    answers = hit.within.answers
    if len(answers) >= MAX_KNOWN:
        answers.clear()
    answers[key] = KnownAnswer(answer, hit.credential, since, until, settings)


def _moments(credential: Credential) -> Iterator[float]:
    """When a decision about a credential may change by time alone, be it that a clock was set back."""
    yield from rejection.moments(credential)
    yield from renewal_schedule.moments(credential)
