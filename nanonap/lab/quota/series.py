"""What a series of a group's counters says: when it was throttled, and whether the counters are in order.

A series is a frame of ``nanonap.lab.quota.sampler.SERIES_SCHEMA``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nanonap.lab.ground.frames import write_frame
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.sampler import COUNTERS, SERIES_SCHEMA

Ints = NDArray[np.int64]
STALLS_SCHEMA = pl.Schema({"end_ns": pl.Int64, "throttled_ns": pl.Int64})
#: stat.parquet.
STAT_SCHEMA = pl.Schema([("run_id", pl.String), *SERIES_SCHEMA.items()])
#: A counter that grows while the group is throttled grows by the time between two samples, once per CPU.
_SAME_TIME = 0.15
_MOST = 0.8
_FEWEST = 5


def stalls_in(series: pl.DataFrame) -> pl.DataFrame:
    """The times in which the group was throttled, a row each, in order (STALLS_SCHEMA; CLOCK_MONOTONIC).

    The kernel adds a stall's length to throttled time, which is summed over CPUs, when it ends it (unthrottle_cfs_rq in
    kernel/sched/fair.c): one growth is one stall, which ended between the two samples. A counter that grows along with
    the stall instead shows in the data, and its growths are then joined.
    """
    before, after, throttled = _edges(series.filter(pl.col("throttled_ns").is_not_null()))
    growth = np.diff(throttled)
    grown = np.flatnonzero(growth > 0)
    if grown.size and grows_while_throttled(series):
        groups = np.split(grown, np.flatnonzero(np.diff(grown) > 1) + 1)
        stalls = [(int(group[0]), int(group[-1])) for group in groups]
    else:
        stalls = _stalls(before, after, growth, grown)
    rows = [(int(after[last + 1]), int(growth[first : last + 1].sum())) for first, last in stalls]
    return pl.DataFrame(rows, schema=STALLS_SCHEMA, orient="row")


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


def whole_periods(series: pl.DataFrame) -> Throttling | None:
    """What was counted from the end of the first stall to the end of the last; None with fewer than two stalls.

    Stalls end where periods begin, so these are whole periods: the first and the last of a run are cut off.
    """
    ends = stalls_in(series)["end_ns"]
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
    write_frame(path, pl.concat([pl.DataFrame(schema=STAT_SCHEMA), *parts]))
