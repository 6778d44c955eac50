"""What timers and polling say to the claim: lateness and CPU of the stock timers over those of every other way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from nanonap.base.durations import asked, format_ns
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.claim_parts import all_hold, tell_parts
from nanonap.lab.experiments.kit.ratios import Ratio, cell, outcome_of, ratio_by_block
from nanonap.lab.plan.arms import PRECISE
from nanonap.lab.show.tables import NONE, Section, Table
from nanonap.lab.stats.resampling import interval, mean_distribution

WAYS = {
    "stock": "stock",
    PRECISE: PRECISE,
    "poll1ms": "polling, 1 ms",
    "poll10ms": "polling, 10 ms",
    "busy": "busy loop",
}
#: More precise is what is late by at most this much of the other at the median: less is no difference in kind.
CLEARLY = 0.8
#: Little is due where polling at 1 ms looks at least this often for each deadline.
LITTLE_DUE_NS = 10_000_000
#: A quantile of 99 % of fewer deadlines is but their greatest lateness.
P99_FROM = 100
_SMALL, _LARGE = 0.1, 10
_SEED = 1
_SAYS = (
    "timers in a heap, with waits that end at the next deadline, are precise and cheap where polling at fixed "
    "intervals and busy loops are not"
)


@dataclass(frozen=True, order=True)
class Workload:
    """So many sleepers, each with a deadline every interval (ns)."""

    sleepers: int
    interval_ns: int

    def __str__(self) -> str:
        """For a person: ``50 sleepers, 1.07 ms``."""
        return f"{self.sleepers} sleeper{'' if self.sleepers == 1 else 's'}, {asked(self.interval_ns)}"

    def of(self, way: str) -> dict[str, str | int]:
        """The values that its rows of a way have."""
        return {"way": way, "sleepers": self.sleepers, "interval_ns": self.interval_ns}

    @property
    def little_due(self) -> bool:
        """Whether far fewer deadlines pass than polling at 1 ms has ticks."""
        return self.interval_ns / self.sleepers >= LITTLE_DUE_NS


def workloads(data: pl.DataFrame) -> list[Workload]:
    """In the order of a reader."""
    return sorted(Workload(*row) for row in data.select("sleepers", "interval_ns").unique().iter_rows())


def with_share(data: pl.DataFrame) -> pl.DataFrame:
    """The data with ``share``, the CPU time of the process over wall time (1: a processor)."""
    return data.with_columns((pl.col("cpu_ns") / pl.col("wall_ns")).alias("share"))


def over(data: pl.DataFrame, column: str, workload: Workload, base: str, way: str = "stock") -> Ratio | None:
    """A column of a way over that of another under the same workload, by blocks."""
    return ratio_by_block(with_share(data), column, workload.of(way), workload.of(base))


def verdicts(data: pl.DataFrame) -> list[Verdict]:
    """Of the claim's parts: against the busy loop, and against polling at 10 ms and at 1 ms."""
    found = workloads(data)
    busy = _ratios(data, "share", found, "busy")
    coarse, fine = (_ratios(data, "late_p50_ns", found, way) for way in ("poll10ms", "poll1ms"))
    cheap = _ratios(data, "share", found, "poll1ms")
    quiet, rest = ({each: cheap[each] for each in found if each.little_due == little} for little in (True, False))
    parts = {
        "less CPU than a busy loop": _all_within(busy, 1),
        "more precise than polling at 10 ms": _all_within(coarse, CLEARLY),
        "more precise than polling at 1 ms": _all_within(fine, CLEARLY),
        "less CPU than polling at 1 ms where little is due": _all_within(quiet, 1),
        "less CPU than polling at 1 ms whatever is due": _all_within(cheap, 1),
    }
    said = [
        f"CPU of stock's timers over a busy loop's {_range(busy)}",
        f"their median lateness over that of polling at 10 ms {_range(coarse)}, at 1 ms {_range(fine)}",
        f"their CPU over that of polling at 1 ms, where little is due, {_range(quiet)}, otherwise {_range(rest)}",
        f"netpoll+slack1, the same waits in nanoseconds, is late by {_precise(data, found)} that of polling at 1 ms",
        tell_parts(parts),
    ]
    figures = {
        "parts": parts,
        "cpu_over_busy": _json(busy),
        "late_over_poll10ms": _json(coarse),
        "late_over_poll1ms": _json(fine),
        "cpu_over_poll1ms": _json(cheap),
    }
    return [Verdict("T1 polling", _SAYS, outcome_of(parts.values()), "; ".join(said), figures)]


Ratios = Mapping[Workload, Ratio | None]


def _ratios(data: pl.DataFrame, column: str, which: Sequence[Workload], base: str, way: str = "stock") -> Ratios:
    return {each: over(data, column, each, base, way) for each in which}


def _all_within(ratios: Ratios, most: float) -> bool | None:
    return all_hold(None if ratio is None else ratio.within(0, most) for ratio in ratios.values())


def _range(ratios: Ratios) -> str:
    """The least and the greatest, each with its workload."""
    known = sorted(((ratio.value, each, ratio) for each, ratio in ratios.items() if ratio is not None))
    if not known:
        return "not measured"
    (_, first, least), (_, last, most) = known[0], known[-1]
    return f"{_text(least)} ({first})" + (f" to {_text(most)} ({last})" if len(known) > 1 else "")


def _text(ratio: Ratio | None) -> str:
    """As a ratio writes itself, small ones with two significant digits, and large ones with one decimal."""
    if ratio is None or _SMALL <= ratio.value < _LARGE:
        return cell(ratio)
    return ratio.text(".2g" if ratio.value < _SMALL else ".1f", " ×")


def _precise(data: pl.DataFrame, found: Sequence[Workload]) -> str:
    return _range(_ratios(data, "late_p50_ns", found, "poll1ms", PRECISE))


def _json(ratios: Ratios) -> dict[str, object]:
    return {str(each): None if ratio is None else ratio.to_json() for each, ratio in ratios.items()}


def mean_with(data: pl.DataFrame, column: str, workload: Workload, way: str) -> tuple[float, list[float] | None] | None:
    """The mean over runs and its 95 % interval; None where there are no runs."""
    chosen = data.filter(*(pl.col(name) == value for name, value in workload.of(way).items())).sort("block")
    values = chosen[column].to_list()
    return (sum(values) / len(values), interval(mean_distribution(values, _SEED))) if values else None


def tables(data: pl.DataFrame) -> list[Table]:
    """One table per number of sleepers, one section per interval."""
    shared, made = with_share(data), []
    for sleepers in sorted(set(data["sleepers"])):
        own = [each for each in workloads(data) if each.sleepers == sleepers]
        sections = [
            Section(f"every {asked(each.interval_ns)}", [_row(shared, each, way) for way in _there(data)])
            for each in own
        ]
        title = f"{sleepers} sleepers, out of step" if sleepers > 1 else "One sleeper"
        made.append(Table(title, _COLUMNS, sections, list(_NOTES)))
    return made


_COLUMNS = ("way", "late p50", "late p99", "p50 × 1 ms polling", "CPU", "CPU × 1 ms polling", "CPU each")
_NOTES = (
    "every: from one deadline of a sleeper to its next; from 10 ms on another in each block, 1 to 4 ms away from this, "
    "so that deadlines fall everywhere between two ticks. late: from a deadline to the moment at which its sleeper "
    f"runs, the mean over runs of each run's quantile; no p99 below {P99_FROM} deadlines per run. Deadlines lie "
    "on a schedule, so those that passed during another wait count too.",
    "CPU: of the whole process, in shares of a processor; GOMAXPROCS 1 in every way. CPU each: CPU time for each "
    "deadline. × 1 ms polling: the ratio, with its 95 % interval over runs.",
    "stock and netpoll+slack1 wait by the runtime's timers. polling: one thread waits in clock_nanosleep for the next "
    "point of a grid and looks at every sleeper's deadline, whether any is due or not; busy loop: the same without the "
    "wait. In both the runtime's sysmon wakes up too, some hundred times per second, since the processor is never "
    "idle.",
)


def _there(data: pl.DataFrame) -> list[str]:
    return [way for way in WAYS if way in set(data["way"])]


def _row(data: pl.DataFrame, workload: Workload, way: str) -> list[str]:
    chosen = data.filter(*(pl.col(name) == value for name, value in workload.of(way).items()))
    late, worst = (mean_with(data, name, workload, way) for name in ("late_p50_ns", "late_p99_ns"))
    if late is None or worst is None:
        return [WAYS[way], *[NONE] * (len(_COLUMNS) - 1)]
    ratios = [over(data, name, workload, "poll1ms", way) for name in ("late_p50_ns", "share")]
    few = min(chosen["deadlines"]) < P99_FROM
    wall_ns, cpu_ns = int(chosen["wall_ns"].sum()), int(chosen["cpu_ns"].sum())
    return [
        WAYS[way],
        format_ns(late[0]),
        NONE if few else format_ns(worst[0]),
        "1" if way == "poll1ms" else _text(ratios[0]),
        _cpu_share(cpu_ns / wall_ns),
        "1" if way == "poll1ms" else _text(ratios[1]),
        format_ns(cpu_ns / int(chosen["deadlines"].sum())),
    ]


def _cpu_share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.2%}"
