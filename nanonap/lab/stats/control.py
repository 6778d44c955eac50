"""The control arm: an idle raw sleep of 1 ms in every block. What delays it is the machine, and no arm's doing."""

import numpy as np
import polars as pl
from msgspec import Struct

from nanonap.lab.plan.arms import CONTROL
from nanonap.lab.stats.resampling import quantile
from nanonap.lab.store.read import Result

_LEAST_HICCUP_NS = 1_000_000
_TIMES_MEDIAN = 10


class Control(Struct, frozen=True, kw_only=True):
    """What the control saw. Times in ns.

    A hiccup is a sleep that is late by more than 1 ms and by more than ten times the control's own median lateness:
    a whole further sleep, and nothing that the timer's usual lateness on this machine explains. ``blocks``: numbers of
    the blocks that had any, ascending.
    """

    runs: int
    n: int
    late_p50_ns: int
    late_p99_ns: int
    late_max_ns: int
    hiccup_from_ns: int
    hiccups: int
    hiccup_share: float
    blocks: list[int]


def control_summary(result: Result) -> Control | None:
    """For summary.json; None where no control ran."""
    block_of = {run.run_id: run.block for run in result.runs if run.arm == CONTROL}
    samples = result.samples.filter(pl.col("run_id").is_in(list(block_of)))
    if samples.is_empty():
        return None
    late = (samples["actual_ns"] - samples["requested_ns"]).to_numpy()
    ordered = np.sort(late)
    limit_ns = max(_LEAST_HICCUP_NS, _TIMES_MEDIAN * quantile(ordered, 0.5))
    hit = samples.filter(pl.lit(late > limit_ns))["run_id"].unique()
    return Control(
        runs=samples["run_id"].n_unique(),
        n=int(ordered.size),
        late_p50_ns=quantile(ordered, 0.5),
        late_p99_ns=quantile(ordered, 0.99),
        late_max_ns=int(ordered[-1]),
        hiccup_from_ns=limit_ns,
        hiccups=int(np.sum(late > limit_ns)),
        hiccup_share=float(np.mean(late > limit_ns)),
        blocks=sorted({block_of[str(run_id)] for run_id in hit}),
    )
