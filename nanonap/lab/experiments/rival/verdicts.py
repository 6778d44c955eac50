"""Whether ours ever lies above upstream's curve of lateness over CPU time, and where it lies below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, cell, json_of, median_of, median_ratio
from nanonap.lab.judge.verdicts import Interval
from nanonap.lab.plan.arms import PRECISE, UPSTREAM
from nanonap.lab.show.tables import Section, Table
from patcher import RECOMMENDED_DENSE_NS

_US = 1_000
#: Settings of ours: (timer slack or the machine's own, quantum, limit for dense waits), in ns, in a reader's order.
OURS: dict[str, tuple[int | None, int | None, int | None]] = {
    "netpoll": (None, None, None),
    PRECISE: (1, None, None),
    "slack 60 µs": (60 * _US, None, None),
    **{f"{each} µs": (1, each * _US, None) for each in (20, 25, 50, 60, 100, 200, 400, 800)},
    **{f"{each} µs, dense": (1, each * _US, RECOMMENDED_DENSE_NS) for each in (800, 900, 1000)},
}
#: What upstream's own figures are of: goroutines that sleep for unequal times, each as soon as it is awake.
MIXED, MIXED_SLEEPERS = "mixed", 50
LOADS = {
    "sleepers:1": "One sleeper",
    "sleepers:10": "10 out of step",
    "sleepers:50": "50 out of step",
    "sleepers:1000": "1,000 out of step",
    MIXED: "50 of 20 µs to 1 ms",
    "aligned:10": "10 in step",
    "aligned:50": "50 in step",
    "aligned:1000": "1,000 in step",
}
#: Where no two deadlines are near, or all are one, a quantum joins nothing: these settings say enough.
FEW = ("netpoll", PRECISE, "50 µs", "900 µs, dense")
#: What was named before there were data: the setting of the same timer slack,
COUNTERPART = dict(zip(UPSTREAM, ("netpoll", PRECISE), strict=True))
#: and one for each point that the run of 2026-12-01 left open, which was the nearest there: for runs since.
NAMED = {
    ("sleepers:10", UPSTREAM[0]): "slack 60 µs",
    ("sleepers:10", UPSTREAM[1]): "20 µs",
    (MIXED, UPSTREAM[1]): "20 µs",
}
#: Not more is at most this much of it, as for the rebuilt runtime in the bench's verdicts.
NOT_MORE = 1.05


@dataclass(frozen=True)
class Against:
    """A setting of ours against upstream's arm under a load: ratios ours over upstream's; ``tests``: of how many."""

    ours: str
    late: Ratio
    cpu: Ratio
    tests: int

    @property
    def _bounds(self) -> tuple[list[float], list[float]] | None:
        """The intervals (lateness, CPU time), corrected for the choice among the settings."""
        late, cpu = self.late.corrected(self.tests), self.cpu.corrected(self.tests)
        return None if late is None or cpu is None else (late, cpu)

    @property
    def cheaper(self) -> bool:
        """Whether it takes less CPU time, and is not later."""
        bounds = self._bounds
        return bounds is not None and bounds[0][1] <= NOT_MORE and bounds[1][1] < 1

    @property
    def no_worse(self) -> bool:
        """Whether it is not later and takes no more CPU time."""
        bounds = self._bounds
        return bounds is not None and max(bounds[0][1], bounds[1][1]) <= NOT_MORE

    @property
    def worse(self) -> bool:
        """Whether it is clearly later, or clearly takes more."""
        bounds = self._bounds
        return bounds is not None and max(bounds[0][0], bounds[1][0]) > 1

    def __str__(self) -> str:
        """For a person: ``50 µs: 0.80 × [0.75, 0.85] the CPU, late by 0.95 × [0.93, 0.97]``."""
        return f"{self.ours}: {self.cpu} the CPU, late by {self.late}"


def compared(data: pl.DataFrame, load: str, upstream: str) -> list[Against]:
    """Every setting that was run, first and by themselves those that nobody chose for the figures of this run."""
    there = set(data.filter(pl.col("load") == load)["arm"])
    named = [each for each in (COUNTERPART[upstream], NAMED.get((load, upstream), "")) if each in there]
    chosen = [name for name in OURS if name in there and name not in named]
    found = []
    for name, tests in [(each, len(group)) for group in (named, chosen) for each in group]:
        late, cpu = over(data, "late_p50_ns", load, name, upstream), over(data, "each_ns", load, name, upstream)
        if late is not None and cpu is not None:
            found.append(Against(name, late, cpu, tests))
    return found


def over(data: pl.DataFrame, column: str, load: str, arm: str, base: str) -> Ratio | None:
    """A column of an arm over that of another under the same load: the median over blocks that have both.

    ``each_ns``: CPU time per sleep.
    """
    own, other = (_by_block(data, load, name) for name in (arm, base))
    both = own.join(other, on="block", how="inner", suffix="_base").sort("block")
    return median_ratio(both[column].to_list(), both[f"{column}_base"].to_list())


def _by_block(data: pl.DataFrame, load: str, arm: str) -> pl.DataFrame:
    chosen = data.filter(pl.col("load") == load, pl.col("arm") == arm)
    return chosen.with_columns(
        each_ns=pl.col("cpu_ns") / pl.col("sleeps"), wakeups=pl.col("nvcsw") / pl.col("wall_ns") * 1e9
    )


def never_above(data: pl.DataFrame) -> Verdict:
    """U1: at no lateness of upstream's does the best setting of ours cost more."""
    says = f"where sleeps end as late as upstream's, some setting of ours takes at most {NOT_MORE:g} × its CPU time"
    told, figures = [], []
    parts: list[bool | None] = []
    for load, title in LOADS.items():
        for upstream in UPSTREAM:
            found = compared(data, load, upstream)
            if not found:
                continue
            holds, word, best = judged(found)
            parts.append(holds)
            told.append(f"{title}, {upstream}: {word} ({best})")
            figures.append(
                {"load": load, "upstream": upstream, "ours": best.ours, "says": word}
                | {"cpu": json_of(best.cpu), "late": json_of(best.late)}
            )
    outcome: Outcome
    if not parts:
        outcome = "cannot be tested here"
    elif False in parts:
        outcome = "holds in part" if True in parts else "refuted"
    else:
        outcome = "not settled" if None in parts else "holds"
    said = "; ".join([*told, TOO_FEW] if None in parts else told)
    return Verdict("U1", says, outcome, said, {"points": figures})


def judged(found: Sequence[Against]) -> tuple[bool | None, str, Against]:
    """(whether the part holds, a word for it, the setting that says most)."""
    if cheaper := [each for each in found if each.cheaper]:
        return True, "less", min(cheaper, key=lambda each: each.cpu.value)
    if even := [each for each in found if each.no_worse]:
        return True, "no more", even[0]
    nearest = min(found, key=lambda each: max(each.cpu.value, each.late.value))
    return (False, "more", nearest) if all(each.worse for each in found) else (None, "not settled", nearest)


def table(data: pl.DataFrame, loads: Mapping[str, str] = LOADS, base: str = UPSTREAM[1]) -> Table:
    """A section a load, a row an arm; CPU time over stock's, and over the arm ``base``."""
    sections = []
    for load, title in loads.items():
        own = data.filter(pl.col("load") == load)
        sections += [Section(title, [_row(own, load, arm, base) for arm in arms_of(own)])] if own.height else []
    columns = ("arm", "CPU/sleep", "× stock", f"× {base}", "wake-ups/s", "late p50", "late p99")
    return Table("Lateness and CPU time", columns, sections, [_NOTE])


_NOTE = (
    "Settings of ours are netpoll at the timer slack that is named, else at 1 ns; a number alone is the quantum. late: "
    "after the deadline. Each figure is the median over runs; a ratio that over blocks, with its 95 % interval."
)


def arms_of(data: pl.DataFrame) -> list[str]:
    """Stock, the rivals, and ours, in this order."""
    there = set(data["arm"])
    rivals = sorted(there - {*OURS, "stock"})
    return [each for each in ("stock", *rivals, *OURS) if each in there]


def _row(data: pl.DataFrame, load: str, arm: str, base: str) -> list[str]:
    wakeups = middle(data, "wakeups", load, arm)
    return [
        arm,
        format_ns(middle(data, "each_ns", load, arm)[0]),
        *("1" if arm == of else cell(over(data, "each_ns", load, arm, of)) for of in ("stock", base)),
        f"{wakeups[0]:,.0f}",
        *(format_ns(middle(data, name, load, arm)[0]) for name in ("late_p50_ns", "late_p99_ns")),
    ]


def middle(data: pl.DataFrame, column: str, load: str, arm: str) -> tuple[float, Interval]:
    """The median of a column over runs, and its 95 % interval; (0, None) where there are none."""
    return median_of(_by_block(data, load, arm)[column].to_list()) or (0.0, None)
