"""What a verdict is made of, and how an interval decides it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nanonap.base.durations import format_ns
from nanonap.lab.stats.cells import Cell, Cells, Cost, Key
from nanonap.lab.stats.effects import Interval
from nanonap.lab.stats.resampling import CONFIDENCE, interval

Outcome = Literal["yes", "no", "not settled", "not measured"]
Costs = dict[tuple[str, str, str], Cost]
QUIET = ("none", "quiet")
COST = ("none", "sleepers:50")
RANGE_NS = (50_000, 1_000_000)
"""Requested durations for which the limits of the short sleeps are meant, both included."""


@dataclass(frozen=True)
class Figure:
    """A number behind a verdict: a ratio, or a time in ns, with its interval (None from fewer than two runs).

    ``outcome``: None for a number that stands beside the verdict and takes no part in it.
    """

    what: str
    arm: str
    requested_ns: int
    value: float
    interval: Interval
    outcome: Outcome | None = None
    threads_peak: int | None = None
    confidence: float = CONFIDENCE

    @property
    def times(self) -> str:
        """A ratio for a person."""
        bounds = f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]" if self.interval else ""
        return f"{self.value:.2f} ×{bounds}"

    @property
    def duration(self) -> str:
        """A time for a person."""
        bounds = f" [{format_ns(self.interval[0])}, {format_ns(self.interval[1])}]" if self.interval else ""
        return f"{format_ns(self.value)}{bounds}"


@dataclass(frozen=True)
class Verdict:
    """An answer: ``sentence`` for a person, ``figures`` for a program; ``expected`` is what the lab predicts."""

    name: str
    question: str
    outcome: Outcome
    sentence: str
    expected: Outcome
    figures: list[Figure] = field(default_factory=list)


def judge(low_high: Interval, *, least: float = float("-inf"), most: float = float("inf")) -> Outcome:
    """Whether a value lies in [least, most]: yes or no if its whole interval says so, else not settled."""
    if low_high is None:
        return "not settled"
    low, high = low_high
    if least <= low and high <= most:
        return "yes"
    return "no" if high < least or low > most else "not settled"


def weakest(figures: Sequence[Figure]) -> Outcome:
    """The outcome of several figures that must all hold; those without one take no part."""
    outcomes = {figure.outcome for figure in figures}
    return "no" if "no" in outcomes else "not settled" if "not settled" in outcomes else "yes"


def pairs(cells: Cells, arm: str, base: str) -> Iterator[tuple[Key, Cell, Cell]]:
    """An arm's cells of the quiet condition without quota, each with its base's."""
    for key, cell in cells.items():
        other = cells.get(key._replace(arm=base))
        if key.arm == arm and key.condition == QUIET and other is not None:
            yield key, cell, other


def in_range(requested_ns: int) -> bool:
    """Whether a requested duration is one of RANGE_NS."""
    return RANGE_NS[0] <= requested_ns <= RANGE_NS[1]


def cost_ratio(costs: Costs, arm: str, base: str, condition: tuple[str, str]) -> tuple[float, Interval] | None:
    """An arm's CPU time per sleep over the base's under a condition, with its interval; None where one is not known."""
    own, other = costs.get((arm, *condition)), costs.get((base, *condition))
    if own is None or other is None or own.cpu_ns_per_sleep is None or not other.cpu_ns_per_sleep:
        return None
    above, below = own.distribution, other.distribution
    low_high = None if above is None or below is None else interval(above / below)
    return own.cpu_ns_per_sleep / other.cpu_ns_per_sleep, low_high


def say(outcome: Outcome) -> str:
    """How a sentence begins."""
    return {"yes": "Yes", "no": "No"}.get(outcome, "Not settled (too few runs)")


def not_measured(name: str, question: str, what: str, expected: Outcome) -> Verdict:
    """The verdict where arms are missing; ``what`` it takes."""
    return Verdict(name, question, "not measured", f"Not measured: it needs {what}", expected)
