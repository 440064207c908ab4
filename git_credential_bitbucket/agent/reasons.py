"""`explain`: every credential that covers a request, in the order in which `get` goes through them, and what it does.

Starts no renewal and changes nothing. It says of each what `Agent.serve` would make of it, from the same rules.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from git_credential_bitbucket import wire
from git_credential_bitbucket.agent import freshness, judgement, routing, statement
from git_credential_bitbucket.agent.naming import shown_place
from git_credential_bitbucket.agent.renewal import may_attempt
from git_credential_bitbucket.bitbucket import kinds

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
    A `dropped[]` would answer too, but for the username that git asks for, as its `because` tells.
    `elsewhere[]` are the places on the same host that this request is not for.
    """
    index, now = agent.holdings.index(), agent.clock()

    match = routing.match(index, request, lambda: asked_path)
    found = match.candidates
    outcomes = [outcome(credential, now, match.repository) for credential in found]
    winner = next((i for i, each in enumerate(outcomes) if each != PASSED_OVER), None)
    pairs = [*statement.of_vault(agent)]
    for at, credential in enumerate(found):
        stated = statement.of_credential_at(credential, agent, now, match.repository)
        told = {**stated, "outcome": outcomes[at], "wins": at == winner}
        if at == winner:
            left = " left" if at > 0 else ""
            told["because"] = because(credential, found[at + 1 :], request) or f"it is the only one{left} for this"
        pairs.append(("candidate[]", json.dumps(told, separators=(",", ":"))))
    for credential in match.dropped:
        stated = statement.of_credential_at(credential, agent, now)
        pairs.append(("dropped[]", json.dumps({**stated, "because": why_dropped(credential, request)})))
    pairs += [("elsewhere[]", place) for place in _elsewhere(index, [*found, *match.dropped], request)]
    return pairs


def outcome(credential: Credential, now: float, repository: str) -> str:
    """What a `get` makes of `credential` when its turn has come."""
    if judgement.withheld(credential, now, repository):
        return PASSED_OVER
    must_renew = judgement.awaits_renewal(credential, repository)
    if credential.renewable and (must_renew or freshness.must_wait(credential, now)):
        if may_attempt(credential, now):
            return RENEWED
        if must_renew:
            return PASSED_OVER
    return ANSWERS if freshness.alive(credential, now) else PASSED_OVER


def why_dropped(credential: Credential, request: Request) -> str:
    """Why a credential is not offered for the username that git asks for."""
    username = wire.printable(request.username or "")
    if credential.names:
        return f"it is of {wire.printable(credential.account or min(credential.names))}, and git asks for {username}"
    return f"nobody knows whether it is of {username}, whom git asks for"


def because(winner: Credential, others: list[Credential], request: Request) -> str:
    """Why `winner` goes before `others`, which follow it in the order: the first rule that sets it apart from them.

    Empty where there are no others.
    """
    if not others:
        return ""
    others = [one for one in others if not (one.is_bound or one.kind == kinds.UNKNOWN)]
    if not others:
        return "the others are bound to what git stored them for"
    username = request.username
    if username in kinds.TOKEN_USERNAMES and all(one.username != username for one in others):
        return f"git asks for the username {username}, which goes with its kind"
    depth = winner.place.count("/")
    if all(other.place.count("/") < depth for other in others):
        return f"it is for a narrower scope than the others: {shown_place(winner)}"
    if all(other.place.count("/") > depth for other in others):
        return "git names no repository, and it is for the whole host"
    if winner.is_default:
        return "it is the default that was chosen for its scope"
    return "it was logged in with later than the others for the same scope"


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
