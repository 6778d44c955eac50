"""The counters of a run's group, as columns, and what they say of the periods."""

import polars as pl

from nanonap.lab.quota.base import Throttling
from nanonap.lab.show.tables import NONE

COUNTERS = ("nr_periods", "nr_throttled", "throttled_ns")


def counters(grown: Throttling | None, *more: str) -> dict[str, int | None]:
    """The columns COUNTERS, and more of a Throttling's; none where nothing counts."""
    return {} if grown is None else {name: getattr(grown, name) for name in (*COUNTERS, *more)}


def throttled_share(runs: pl.DataFrame) -> float | None:
    """The share of the groups' periods in which the kernel stopped them; None where none was counted."""
    periods, throttled = (int(runs[name].drop_nulls().sum()) for name in ("nr_periods", "nr_throttled"))
    return throttled / periods if periods else None


def used_up(runs: pl.DataFrame) -> bool:
    """Whether the quota stopped the runs in half of their periods, else it was not put to the test; taken as so where
    nothing was counted.
    """
    share = throttled_share(runs)
    return share is None or share >= 0.5


def share_cell(runs: pl.DataFrame) -> str:
    """The same for a table."""
    share = throttled_share(runs)
    return NONE if share is None else f"{share:.0%}"
