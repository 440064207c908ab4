"""The faults that strike a fleet: what, and at which step of the protocol. All of them are in `ALL`."""

from typing import Literal, NamedTuple

from tests.fault_injection.fleet_servers import Deployment
from tests.fault_injection.server_proxy import Moment

Kind = Literal["kill", "stop", "cut", "restart", "failover", "lagging failover", "split"]
POST, SLOT = "request", "answer's file"
BEFORE_REQUEST = ("lease", "read", "intent", "intent proved")
"""So far a renewal gets while the replica has nothing, where that is not promised."""
STEPS = (*(*BEFORE_REQUEST, POST, SLOT), *("commit", "commit proved", "announcement", "withdrawal", "release"))
POINTS: tuple[tuple[str, Moment], ...] = tuple(
    (step, moment) for step in STEPS for moment in ("before", "after") if (step, moment) != ("announcement", "before")
)
KINDS: dict[Deployment, tuple[Kind, ...]] = {
    "alone": ("kill", "stop", "cut", "restart"),
    "promised": ("failover", "lagging failover", "split"),
    "unpromised": ("failover", "lagging failover", "split"),
}


class Fault(NamedTuple):
    """What strikes, at which point, in which deployment."""

    deployment: Deployment
    kind: Kind
    step: str
    moment: Moment

    @property
    def is_lagging_from_the_start(self) -> bool:
        """Whether the replica has nothing of this renewal; else it has what was written up to the point.

        One that must have it, for a request to be sent, has. Who is told of a change may be told by the replica.
        """
        can_go_on = self.deployment == "unpromised" and self.step != "announcement"
        return self.kind == "lagging failover" and (can_go_on or self.step in BEFORE_REQUEST)

    def __str__(self) -> str:
        return f"{self.deployment}: {self.kind} {self.moment} {self.step}"


ALL = [Fault(deployment, kind, *point) for deployment, kinds in KINDS.items() for kind in kinds for point in POINTS]
