"""What a series of a group's counters says: when it was throttled, and whether the counters are in order.

A series is a frame of ``bench.quota.sampler.SERIES_SCHEMA``.
"""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.quota.base import Throttling
from bench.quota.sampler import COUNTERS, SERIES_SCHEMA
from nanonap.files import beside

Ints = NDArray[np.int64]
INTERVALS_SCHEMA = pl.Schema(
    {
        "start_ns": pl.Int64,
        "earliest_start_ns": pl.Int64,
        "end_ns": pl.Int64,
        "gap_ns": pl.Int64,
        "throttled_ns": pl.Int64,
        "cpus_min": pl.Int64,
        "cpus_max": pl.Int64,
        "summed": pl.Boolean,
    }
)
#: stat.parquet.
STAT_SCHEMA = pl.Schema([("run_id", pl.String), *SERIES_SCHEMA.items()])
#: A counter that grows while the group is throttled grows by the time between two samples, once per CPU.
_SAME_TIME = 0.15
_MOST = 0.8
_FEWEST = 5


def throttled_intervals(series: pl.DataFrame, cpus: int = 1) -> pl.DataFrame:
    """The times in which the group was throttled, a row each, in order (INTERVALS_SCHEMA; CLOCK_MONOTONIC).

    The kernel adds a stall's length to throttled time when it ends it (unthrottle_cfs_rq in kernel/sched/fair.c): one
    growth is one stall, seen up to ``gap_ns`` after its end: it ended in (end_ns − gap_ns, end_ns]. A counter that
    grows along with the stall instead shows in the data, and its growths are then joined.

    Throttled time is summed over CPUs, and the counters do not say over how many. ``cpus`` is how many the group's
    threads ran on at most (``cpus_max``); above one, ``summed`` is true. ``cpus_min`` is how many it must have been if
    none was throttled since before the row before it ended (a CPU in debt can be, among several); ``start_ns`` takes
    it that ``cpus_max`` stalled together, ``earliest_start_ns`` that ``cpus_min`` did. The first row's stall may have
    begun before the series: its ``cpus_min`` is 1.
    """
    counted = series.filter(pl.col("throttled_ns").is_not_null())
    before, after, throttled = _edges(counted)
    growth = np.diff(throttled)
    grown = np.flatnonzero(growth > 0)
    rows: list[dict[str, Any]] = []
    if grown.size == 0:
        return pl.DataFrame(schema=INTERVALS_SCHEMA)
    if grows_while_throttled(series):
        for group in np.split(grown, np.flatnonzero(np.diff(grown) > 1) + 1):
            first, last = int(group[0]), int(group[-1])
            rows.append(_interval(before, after, growth, first, last, cpus, int(after[last + 1] - before[first])))
    else:
        possible: int | None = None
        for first, last in _stalls(before, after, growth, grown):
            longest = None if possible is None else int(after[last + 1]) - possible
            rows.append(_interval(before, after, growth, first, last, cpus, longest))
            possible = int(before[first])
    return pl.DataFrame(rows, schema=INTERVALS_SCHEMA)


def _edges(series: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
    before = series["monotonic_ns"].to_numpy()
    return before, before + series["read_ns"].to_numpy(), series["throttled_ns"].to_numpy()


def _stalls(before: Ints, after: Ints, growth: Ints, grown: Ints) -> list[tuple[int, int]]:
    """Growths as (first, last): two samples in a row that grew saw one end of stalls, if the later's began before it.

    The CPUs of a group are let go one after the other; a sample may fall between.
    """
    stalls: list[tuple[int, int]] = []
    for each in map(int, grown):
        adjacent = bool(stalls) and stalls[-1][1] == each - 1
        if adjacent and growth[each] > after[each + 1] - before[stalls[-1][0]]:
            stalls[-1] = (stalls[-1][0], each)
        else:
            stalls.append((each, each))
    return stalls


def _interval(
    before: Ints, after: Ints, growth: Ints, first: int, last: int, cpus: int, longest: int | None
) -> dict[str, Any]:
    """A row; growth number i lies between samples i and i + 1. ``longest``: how long one CPU's stall can have been."""
    total, end = int(growth[first : last + 1].sum()), int(after[last + 1])
    least = 1 if longest is None else max(1, -(-total // max(longest, 1)))
    most = max(cpus, least)
    return {
        "start_ns": end - total // most,
        "earliest_start_ns": end - total // least,
        "end_ns": end,
        "gap_ns": end - int(before[first]),
        "throttled_ns": total,
        "cpus_min": least,
        "cpus_max": most,
        "summed": most > 1,
    }


def grows_while_throttled(series: pl.DataFrame) -> bool:
    """Whether throttled time grows during a stall, and not only at its end.

    Then the samples in the midst of a stall differ by the time between them, once per CPU: told from growths whose
    neighbours grew too. Too few of those (stalls that are shorter than three samples, too): false, as Linux has it.
    """
    counted = series.filter(pl.col("throttled_ns").is_not_null())
    before, _, throttled = _edges(counted)
    growth, gaps = np.diff(throttled), np.diff(before)
    amid = (
        np.flatnonzero((growth[:-2] > 0) & (growth[1:-1] > 0) & (growth[2:] > 0)) + 1 if growth.size > 2 else growth[:0]
    )
    if amid.size < _FEWEST:
        return False
    times = growth[amid] / gaps[amid]
    whole = np.maximum(np.round(times), 1)
    return bool(np.mean(np.abs(times - whole) <= _SAME_TIME) >= _MOST)


def whole_periods(series: pl.DataFrame, cpus: int = 1) -> Throttling | None:
    """What was counted from the end of the first stall to the end of the last; None with fewer than two stalls.

    Stalls end where periods begin, so these are whole periods: the first and the last of a run are cut off.
    """
    ends = throttled_intervals(series, cpus)["end_ns"]
    if len(ends) < 2:
        return None
    at = series.filter((pl.col("monotonic_ns") + pl.col("read_ns")).is_in([ends[0], ends[-1]])).select(COUNTERS)
    return Throttling(*at.row(-1)).since(Throttling(*at.row(0)))


@dataclass(frozen=True)
class Checked:
    """What ``check`` found in ``samples`` samples.

    ``more_throttled`` samples had nr_throttled above nr_periods; ``torn`` of them are explained by the reading: the
    kernel prints the counters one after the other without a lock (cpu_cfs_stat_show in kernel/sched/core.c), and the
    next sample had caught up. ``backwards`` samples had a counter below the one before. ``first`` describes the first
    finding; None if there is none.
    """

    samples: int
    more_throttled: int
    torn: int
    backwards: int
    first: str | None

    @property
    def holds(self) -> bool:
        """Whether the counters are in order, but for torn readings."""
        return self.more_throttled == self.torn and self.backwards == 0

    def to_json(self) -> dict[str, Any]:
        """The fields and ``holds``."""
        return {**asdict(self), "holds": self.holds}


def check(series: pl.DataFrame) -> Checked:
    """Look at every sample: nr_throttled is at most nr_periods, and no counter goes back."""
    excess = (pl.col("nr_throttled") > pl.col("nr_periods")).fill_null(value=False)
    caught_up = (pl.col("nr_throttled") <= pl.col("nr_periods").shift(-1)).fill_null(value=False)
    lower = {name: (pl.col(name) < pl.col(name).shift(1)).fill_null(value=False) for name in COUNTERS}
    marked = series.select(
        "monotonic_ns",
        *COUNTERS,
        excess.alias("excess"),
        (excess & caught_up).alias("torn"),
        *(each.alias(f"{name} lower") for name, each in lower.items()),
        pl.any_horizontal(*lower.values()).alias("backwards"),
    ).with_row_index("sample")
    found = marked.filter(pl.col("excess") | pl.col("backwards")).head(1).to_dicts()
    return Checked(
        series.height,
        int(marked["excess"].sum()),
        int(marked["torn"].sum()),
        int(marked["backwards"].sum()),
        _sentence(found[0]) if found else None,
    )


def _sentence(row: dict[str, Any]) -> str:
    where = f"sample {row['sample']} at {row['monotonic_ns']} ns"
    if row["excess"]:
        kind = "; the next sample has caught up, so the reading was torn" if row["torn"] else ""
        return f"{where}: nr_throttled is {row['nr_throttled']} and nr_periods {row['nr_periods']}{kind}"
    lower = ", ".join(f"{name} (now {row[name]})" for name in COUNTERS if row[f"{name} lower"])
    return f"{where}: lower than before: {lower}"


def write_series(path: Path, series: dict[str, pl.DataFrame]) -> None:
    """Write ``stat.parquet``: the series of each run id, with a column ``run_id`` before the others.

    Whole or not at all. Raises OutputNotWritable, DiskFull.
    """
    parts = [each.select(pl.lit(run_id).alias("run_id"), *SERIES_SCHEMA.names()) for run_id, each in series.items()]
    joined = pl.concat([pl.DataFrame(schema=STAT_SCHEMA), *parts])
    # Polars' own writer hides which error the system gave; a full disk must be told apart.
    buffer = io.BytesIO()
    joined.write_parquet(buffer, compression="zstd")
    with beside(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
        temporary.chmod(0o644)
