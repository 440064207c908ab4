"""Compares what a fleet did with what Bitbucket knows, and tells what is wrong from what nobody can prevent."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from tests.fake_bitbucket.journal import Entry
from tests.fault_injection.fleet_faults import POST, SLOT, Fault
from tests.fault_injection.fleet_hosts import Host
from tests.fault_injection.fleet_results import FleetResults

_OK = 200


class Evidence(NamedTuple):
    """What there is of one round."""

    victim: Host
    hosts: Sequence[Host]
    sent: Sequence[Entry]
    """The requests that Bitbucket's token endpoint had."""
    issued: Sequence[str]
    """All tokens that it ever issued, access tokens first, in order."""
    began: float
    is_lost: bool
    """Whether the login did not work any more, although all was right again."""
    has_relapsed: bool
    """Whether Sentinel promoted a node again that lacked the last writes."""


def judge(fault: Fault, found: Evidence, results: FleetResults) -> None:
    """Count what happened in `results`, with every loss by its name, and what is `wrong`."""
    results.posts += len(found.sent)
    results.tokens += sum(one.status == _OK for one in found.sent)
    reasons = [_reason(fault, found, senders) for senders in _repeated(found)]
    if any(one.fault == "hang" for one in found.sent):
        results.named["a request that Bitbucket never acted on, sent once more by its own host"] += 1
    if found.is_lost:
        reasons.append(_reason_of_loss(fault, was_repeated=bool(reasons), has_relapsed=found.has_relapsed))
    for reason in reasons:
        if reason.startswith("wrong: "):
            results.wrong.append(f"{fault}: {reason}")
        else:
            results.named[reason] += 1
    reserved = sum(at >= found.began for host in found.hosts for at in host.reserved())
    if len(found.sent) > reserved:
        results.wrong.append(f"{fault}: {len(found.sent)} requests, of which {reserved} were noted before")
    _judge_served(fault, found, results)


def _repeated(found: Evidence) -> list[list[int]]:
    """The hosts that presented a refresh token, for each one that was presented more than once."""
    senders: dict[str, list[int]] = {}
    for one in found.sent:
        if "refresh_token" in one.form:
            senders.setdefault(one.form["refresh_token"], []).append(_sender(found.hosts, one.at))
    return [hosts for hosts in senders.values() if len(hosts) > 1]


def _sender(hosts: Sequence[Host], at: float) -> int:
    """The host that was the last to note that it would send a request."""
    return max((max((t for t in host.reserved() if t <= at), default=0.0), host.number) for host in hosts)[1]


def _reason(fault: Fault, found: Evidence, senders: list[int]) -> str:
    if fault.kind == "kill" and fault.step in (POST, SLOT) and senders == [found.victim.number] * 2:
        return "a request whose answer died with the daemon, sent once more by its own host"
    in_turn = [host for host, _ in itertools.groupby(senders)]  # one that is rejected is sent again, as a person asks
    if fault.deployment == "unpromised" and 1 < len(set(in_turn)) == len(in_turn):
        return "a refresh token presented by two hosts, as the note of the first was lost with the primary"
    return f"wrong: a refresh token was presented by hosts {senders}"


def _reason_of_loss(fault: Fault, *, was_repeated: bool, has_relapsed: bool) -> str:
    if fault.kind == "kill" and (fault.step == POST or (fault.step, fault.moment) == (SLOT, "before")):
        return f"a login lost in the one window, killed {fault.moment} the {fault.step}"
    if fault.deployment == "unpromised" and was_repeated:
        return "a login lost, as two hosts presented its refresh token"
    if fault.deployment == "unpromised" and has_relapsed:
        return "a login lost, as Sentinel went back to the older node and the withdrawal of a note was lost"
    return "wrong: the login is lost"


def _judge_served(fault: Fault, found: Evidence, results: FleetResults) -> None:
    """Only what was issued, and never an older token after a newer one."""
    numbers = {token: number for number, token in enumerate(found.issued)}
    for host in found.hosts:
        order = [numbers.get(token, -1) for token in host.served]
        results.served += len(order)
        if -1 in order:
            results.wrong.append(f"{fault}: host {host.number} served what was never issued")
        if order != sorted(order):
            results.wrong.append(f"{fault}: host {host.number} went back to an older token")
        del host.served[:-1]
