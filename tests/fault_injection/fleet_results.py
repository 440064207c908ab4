"""What came of the faults in a fleet: counts by step and by fault, losses by name, and what was wrong."""

from collections import Counter
from dataclasses import dataclass, field

from tests.fault_injection.fleet_faults import STEPS


@dataclass
class FleetResults:
    """Of any number of fleets. `wrong` is empty if every promise was kept."""

    namespaces: bool = False
    """Whether the network was cut for real, in namespaces; else in the proxies on loopback."""
    faults: Counter[str] = field(default_factory=Counter)
    """By deployment and kind."""
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the step of the protocol at which something was cut off, and whether before or after it."""
    posts: int = 0
    tokens: int = 0
    """How many access tokens were issued by a renewal; one request each, but for those counted in `named`."""
    served: int = 0
    skipped: int = 0
    """Faults that need namespaces, where there are none."""
    promotions: int = 0
    named: Counter[str] = field(default_factory=Counter)
    """What nobody can prevent, or the deployment did not promise: how often."""
    unrecovered: list[str] = field(default_factory=list)
    """What hosts said of a login that was lost, other than that."""
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many faults there were."""
        return sum(self.faults.values())

    def lines(self) -> list[str]:
        """The result for a person."""
        network = "network namespaces" if self.namespaces else "proxies on loopback (namespaces are not allowed here)"
        told = [f"{self.total} faults in {network}: {len(self.wrong)} wrong"]
        told += [f"  {count:4} {kind}" for kind, count in sorted(self.faults.items())]
        told += [f"  {self.skipped:4} skipped, as they need namespaces"] if self.skipped else []
        told.append("before and after each step of the protocol:")
        told += [f"  {self.steps[step, 'before']:4} {self.steps[step, 'after']:4} {step}" for step in STEPS]
        told.append(f"{self.posts} requests to Bitbucket for {self.tokens} tokens; {self.served} answers to git")
        told.append(f"{self.promotions} promotions by Sentinel; what could not be prevented, or was not promised:")
        told += [f"  {count:4} {name}" for name, count in sorted(self.named.items())] or ["     0"]
        told += [f"  {one}" for one in self.unrecovered]
        return told + [f"WRONG: {one}" for one in self.wrong]
