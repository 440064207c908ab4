"""Owns the count of what came of the kills, and how it is told."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Tally:
    """What came of the kills."""

    kills: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    unwritten: int = 0
    in_flight: int = 0
    asking_s: list[float] = field(default_factory=list)
    writing_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many daemons were killed."""
        return sum(self.kills.values())

    def lines(self) -> list[str]:
        """The result for a person."""
        told = [f"{self.total} kills: {len(self.wrong)} wrong"]
        told += [f"  {count:5} {where}" for where, count in sorted(self.kills.items())]
        told += [
            f"{self.in_flight} of them while a renewal was under way; refresh tokens lost in the window:",
            f"  {self.unanswered} before Bitbucket's answer had come",
            f"  {self.unwritten} after it had come, and before it was in a file",
        ]
        if self.asking_s and self.writing_s:
            asking, writing = median(self.asking_s) * 1000, median(self.writing_s) * 1000
            told.append(f"median: asking {asking:.0f} ms, from the answer to the file {writing:.2f} ms")
        return told + [f"WRONG: {one}" for one in self.wrong]
