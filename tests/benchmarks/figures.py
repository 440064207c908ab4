"""What was measured, and how it is shown: rows of medians, ratios of rounds, bars; a table and a JSON document."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

MISSED, MET = "MISSED", "met"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure with its spread; `samples` is how many runs it was taken from."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to be at most (or, with `at_least`, at least) `bar`."""

    name: str
    unit: str
    value: float
    bar: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is where it has to be."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass
class Table:
    """One measurement. A class because rows, bars and what was absent are added as they come."""

    letter: str
    title: str
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, samples: Sequence[float], unit: str = "ms") -> None:
        """A row of `samples`: their median, and between which values the middle eight of ten lie."""
        ordered = sorted(samples)
        tenth = len(ordered) // 10
        low, high = ordered[tenth], ordered[-1 - tenth]
        self.rows.append(Row(name, unit, statistics.median(ordered), low, high, len(ordered)))

    def hold(self, name: str, value: float, bar: float, unit: str = "x", *, at_least: bool = False) -> None:
        """A figure with its bar."""
        self.bars.append(Bar(name, unit, value, bar, at_least))

    def lines(self) -> Iterable[str]:
        """The table as text."""
        yield f"({self.letter}) {self.title}"
        for row in self.rows:
            spread = f"{row.low:.6g} to {row.high:.6g}" if row.samples > 1 else ""
            yield f"    {row.name:<52} {shown(row.median):>9} {row.unit:<6} {spread}"
        for bar in self.bars:
            sign = ">=" if bar.at_least else "<="
            verdict = MET if bar.met else MISSED
            yield f"  = {bar.name:<52} {shown(bar.value):>9} {bar.unit:<6} bar {sign} {bar.bar:g}: {verdict}"
        for name in self.absent:
            yield f"    absent: {name}"
        for note in self.notes:
            yield f"    {note}"

    def document(self) -> dict[str, object]:
        """The table for machines."""
        bars = [{**asdict(bar), "met": bar.met} for bar in self.bars]
        return {**asdict(self), "bars": bars}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: a machine that is slower for a while is slower for both."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def less(samples: Sequence[float], without: Sequence[float]) -> list[float]:
    """What each round took more than the same round without."""
    return [each - other for each, other in zip(samples, without, strict=True)]


def shown(value: float) -> str:
    """Three digits that count, and none that do not."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
