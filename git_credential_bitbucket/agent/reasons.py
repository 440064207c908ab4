"""`explain`: every credential that covers a request, in the order in which `get` goes through them, and what it does.

Starts no renewal and changes nothing. It says of each what `Agent.serve` would make of it, from the same rules.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from git_credential_bitbucket.agent import freshness, judgement, routing, statement
from git_credential_bitbucket.agent.naming import shown_place
from git_credential_bitbucket.agent.renewal import may_attempt

if TYPE_CHECKING:
    from git_credential_bitbucket.agent.agent import Agent
    from git_credential_bitbucket.agent.credential import Credential
    from git_credential_bitbucket.agent.routing import Index
    from git_credential_bitbucket.wire import Request

ANSWERS, RENEWED, PASSED_OVER = "answers", "renewed", "passed over"
"""What `get` does with a credential: hands it out, has it renewed first, or goes on to the next."""


def explain(agent: Agent, request: Request, asked_path: str | None) -> list[tuple[str, str]]:
    """The vault's state, then a JSON object for each credential that covers `request`, the first to be looked at first.

    `asked_path` stands for what the daemon reads from the asking git where the request has no path. A `candidate[]` is
    the credential as `status` states it, with `outcome` (one of the above), `wins` and, for the winner, `because`.
    `elsewhere[]` are the places on the same host that this request is not for.
    """
    index, now = agent.holdings.index(), agent.clock()

    def recency(credential: Credential) -> float:
        return agent.holdings.last_used(credential) or credential.created_at

    found = routing.candidates(index, request, lambda: asked_path, recency)
    outcomes = [outcome(credential, now) for credential in found]
    winner = next((i for i, each in enumerate(outcomes) if each != PASSED_OVER), None)
    pairs = [*statement.of_vault(agent)]
    for at, credential in enumerate(found):
        stated = statement.of_credential_at(credential, agent, now)
        told = {**stated, "outcome": outcomes[at], "wins": at == winner}
        if at == winner:
            left = " left" if at > 0 else ""
            told["because"] = because(credential, found[at + 1 :], request) or f"it is the only one{left} for this"
        pairs.append(("candidate[]", json.dumps(told, separators=(",", ":"))))
    pairs += [("elsewhere[]", place) for place in _elsewhere(index, found, request)]
    return pairs


def outcome(credential: Credential, now: float) -> str:
    """What a `get` makes of `credential` when its turn has come."""
    if judgement.withheld(credential, now):
        return PASSED_OVER
    if credential.renewable and freshness.must_wait(credential, now) and may_attempt(credential, now):
        return RENEWED
    return ANSWERS if freshness.alive(credential, now) else PASSED_OVER


def because(winner: Credential, others: list[Credential], request: Request) -> str:
    """Why `winner` goes before `others`, which follow it in the order: the first rule that sets it apart from them.

    Empty where there are no others.
    """
    depth = winner.place.count("/")
    if not others:
        return ""
    if all(other.place.count("/") < depth for other in others):
        return f"it is for a narrower place than the others: {shown_place(winner)}"
    if all(other.place.count("/") > depth for other in others):
        return "git names no repository, and it is for the whole host"
    if request.username and routing.named_by(winner, request.username):
        equals = [other for other in others if other.place.count("/") == depth]
        if not any(routing.named_by(other, request.username) for other in equals):
            return "it has the username that git asks for"
    return "it was used, or logged in with, later than the others for the same place"


def _elsewhere(index: Index, found: list[Credential], request: Request) -> list[str]:
    """The places on the request's host that have credentials, but none that may answer here."""
    host = routing.place_of(request.protocol, request.host, None)
    covering = {credential.id for credential in found}
    places = {
        shown_place(credential)
        for credential in index
        if (credential.place == host or credential.place.startswith(host + "/")) and credential.id not in covering
    }
    return sorted(places)
