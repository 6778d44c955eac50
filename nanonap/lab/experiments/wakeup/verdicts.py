"""What the runs say of a wake-up's parts, and of what becomes of parallel work without the second thread."""

from collections.abc import Callable, Sequence
from functools import partial

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.claim_parts import Parts, tell_parts
from nanonap.lab.experiments.kit.ratios import Ratio, cell, median_of, median_ratio, outcome_of
from nanonap.lab.judge.verdicts import Interval
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.show.tables import NONE, Section, Table

REBUILT, QUEUED, NEEDED = RUNTIMES = ("rebuilt", "wakep-queued", "wakep-needed")
FLOOR, ONE_P = "floor+slack1", "rebuilt, one processor"
#: The sleeps, and the load that they are; None: a lone sleeper.
SLEEPS: dict[str, str | None] = {"100 µs": None, "1 ms": None, "50 of 1 ms": "sleepers:50"}
LONE = tuple(each for each, load in SLEEPS.items() if load is None)
WORK = {
    "beside": "a sleeper beside one that computes",
    "fork": "work split in two after a timer",
    "echo": "client and server on a TCP connection",
    "stream": "work handed on by a channel",
}
NOT_WORSE = 1.05
#: Of a wake-up: the part's name, and the arm with it and the one without.
_PARTS = (
    ("the kernel", FLOOR, None),
    ("the scheduler", ONE_P, FLOOR),
    ("a thread woken at arming", QUEUED, ONE_P),
    ("a thread woken at firing", REBUILT, QUEUED),
    ("the whole", REBUILT, None),
)
_COLUMNS = {"cpu": "CPU per sleep", "switches": "switches per sleep", "late_p50_ns": "late, p50"}


def per_piece(data: pl.DataFrame) -> pl.DataFrame:
    """The data with what a sleep or a piece of work took: ``cpu`` (ns), ``switches``, ``wall`` (ns)."""
    each = {"cpu": "cpu_ns", "switches": "nvcsw", "wall": "wall_ns"}
    return data.with_columns((pl.col(column) / pl.col("done")).alias(name) for name, column in each.items())


def over(data: pl.DataFrame, column: str, what: str, arm: str, base: str = REBUILT) -> Ratio | None:
    """A column of an arm over that of another, of the same sleeps or work: the median over blocks."""
    pairs = _pairs(data, column, what, arm, base)
    return median_ratio([each for each, _ in pairs], [each for _, each in pairs])


def _pairs(data: pl.DataFrame, column: str, what: str, arm: str, base: str) -> list[tuple[float, float]]:
    own, other = (_by_block(data, what, each) for each in (arm, base))
    both = own.join(other, on="block", how="inner", suffix="_base").sort("block")
    return list(both.select(column, f"{column}_base").iter_rows())


def _by_block(data: pl.DataFrame, what: str, arm: str) -> pl.DataFrame:
    return per_piece(data.filter(pl.col("what") == what, pl.col("arm") == arm)).sort("block")


def part(data: pl.DataFrame, column: str, what: str, arm: str, base: str | None) -> tuple[float, Interval] | None:
    """The median over blocks of a column, or of the difference of two arms in the same block; its 95 % interval."""
    if base is None:
        return median_of(_by_block(data, what, arm)[column].to_list())
    return median_of([own - other for own, other in _pairs(data, column, what, arm, base)])


def second_thread(data: pl.DataFrame) -> Verdict:
    """K1: a wake-up costs less, and ends no later, where the second thread is woken for queued work alone."""
    says = "woken only where a queue holds work, the second thread of a timer's wake-up costs less and makes none later"
    cpu = {each: over(data, "cpu", each, QUEUED) for each in SLEEPS}
    late = {each: over(data, "late_p50_ns", each, QUEUED) for each in SLEEPS}
    parts = {
        **{f"less CPU, {each}": _within(ratio, 1) for each, ratio in cpu.items() if ratio is not None},
        **{f"no later, {each}": _within(ratio, NOT_WORSE) for each, ratio in late.items() if ratio is not None},
    }
    told = [f"{each}: {cell(cpu[each])} the CPU, late by {cell(late[each])}" for each in SLEEPS if cpu[each]]
    return _verdict("K1", says, parts, told)


def bears_the_way_back(data: pl.DataFrame) -> Verdict:
    """K2: the two wake-ups of the second thread are most of the CPU time that a lone sleep takes above the kernel's."""
    says = "of the CPU time of a lone sleep above the kernel's, the second thread is more than half"
    parts: dict[str, bool | None] = {}
    told = []
    for what in LONE:
        above, second = (
            [own - other for own, other in _pairs(data, "cpu", what, REBUILT, base)] for base in (FLOOR, ONE_P)
        )
        if above and len(above) == len(second):
            share = median_of([near / far for near, far in zip(second, above, strict=True)])
            parts[what] = None if share is None else Ratio(*share).within(0.5, float("inf"))
            told.append(f"{what}: {cell(None if share is None else Ratio(*share), '.0%')}")
    return _verdict("K2", says, parts, told)


def _keeps(runtime: str, claim: str, data: pl.DataFrame) -> Verdict:
    """K3, K4: parallel work is no worse with the runtime: latency, CPU time and wall time of a piece."""
    says = f"with {runtime} parallel work is as fast as before, within {NOT_WORSE - 1:.0%}"
    parts: dict[str, bool | None] = {}
    told = []
    for work in WORK:
        late, cpu, wall = (over(data, name, work, runtime) for name in ("late_p50_ns", "cpu", "wall"))
        if late is None:
            continue
        parts[f"{work}, latency"] = _within(late, NOT_WORSE)
        if work != "beside":  # whose deadlines come by the clock
            parts[f"{work}, throughput"] = _within(wall, NOT_WORSE)
        told.append(f"{work}: latency {late}, CPU {cell(cpu)}, wall time {cell(wall)}")
    return _verdict(claim, says, parts, told)


parallel_keeps: Sequence[Callable[[pl.DataFrame], Verdict]] = (
    partial(_keeps, QUEUED, "K3"),
    partial(_keeps, NEEDED, "K4"),
)


def _within(ratio: Ratio | None, most: float) -> bool | None:
    return None if ratio is None else ratio.within(0, most)


def _verdict(claim: str, says: str, parts: Parts, told: Sequence[str]) -> Verdict:
    said = "; ".join([*told, tell_parts(parts)]) if parts else "nothing was measured"
    return Verdict(claim, says, outcome_of(parts.values()), said, {"parts": dict(parts)})


def split_table(data: pl.DataFrame) -> Table:
    """What a lone sleep is made of, and every arm's figures, a section for each sleep."""
    sections = []
    for what in (each for each in SLEEPS if each in set(data["what"])):
        if what in LONE:
            rows = [[name, *(_part_cell(data, column, what, *arms) for column in _COLUMNS)] for name, *arms in _PARTS]
            sections.append(Section(f"{what}: its parts", rows))
        arms = [each for each in (FLOOR, ONE_P, *RUNTIMES, PRECISE) if _by_block(data, what, each).height]
        rows = [[arm, *(_part_cell(data, column, what, arm, None) for column in _COLUMNS)] for arm in arms]
        sections.append(Section(f"{what}: as measured", rows))
    return Table("One timer's wake-up", ("", *_COLUMNS.values()), sections, [_SPLIT_NOTE])


_SPLIT_NOTE = (
    "A part is the difference of two arms in the same block: the median over blocks, and its 95 % interval. The "
    "scheduler: its way into the wait and back to the goroutine. At firing: after the timer's goroutine was found, and "
    "before it runs; at arming: as it sleeps again. floor: the bare clock_nanosleep. one processor: GOMAXPROCS 1, so "
    "there is no second thread to wake. wakep-queued: the second thread is woken only where a queue holds work; "
    "wakep-needed: also where nobody would wait for other timers and sockets. All at 1 ns of timer slack."
)


def _part_cell(data: pl.DataFrame, column: str, what: str, arm: str, base: str | None) -> str:
    found = part(data, column, what, arm, base)
    if found is None:
        return NONE
    shown: Callable[[float], str] = (lambda value: f"{value:.2f}") if column == "switches" else _time
    middle, low_high = found
    return shown(middle) + ("" if low_high is None else f" [{shown(low_high[0])}, {shown(low_high[1])}]")


def _time(value_ns: float) -> str:
    return f"−{format_ns(-value_ns)}" if value_ns < 0 else format_ns(value_ns)


def parallel_table(data: pl.DataFrame) -> Table:
    """Of parallel work a row for each runtime."""
    sections = []
    for work, title in WORK.items():
        rows = []
        for arm in RUNTIMES:
            own = _by_block(data, work, arm)
            if own.height:
                ratios = [over(data, name, work, arm) for name in ("late_p50_ns", "cpu", "wall")]
                middles = [part(data, name, work, arm, None) for name in ("late_p50_ns", "late_p99_ns")]
                late = [NONE if each is None else format_ns(each[0]) for each in middles]
                rows.append([arm, *late, *("1" if arm == REBUILT else cell(each) for each in ratios)])
        sections += [Section(title, rows)] if rows else []
    columns = ("runtime", "latency p50", "p99", "p50 × rebuilt", "CPU × rebuilt", "wall × rebuilt")
    return Table("Parallel work", columns, sections, [_WORK_NOTE])


_WORK_NOTE = (
    "latency: of a piece of work; beside a computing goroutine, the sleeper's lateness after its deadlines. CPU, wall: "
    "for each piece. At the machine's own timer slack, GOMAXPROCS 2."
)
