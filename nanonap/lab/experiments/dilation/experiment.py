"""Whether a CPU quota stretches a Go program's sleeps: quiet, loaded, as a yielding loop, and as ``go run``."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.dilation_runs import FULL, QUICK, SCHEMA, go_run_rows, sleeping_rows
from bench.experiments.dilation_tables import picture, sleep_table, stat_table
from bench.experiments.dilation_verdicts import compiling, goroutines, stretched, throttled, yielding
from bench.tables import Table


class Dilation(Experiment):
    """Claims D1 to D4."""

    name = "dilation"
    question = "Does a quota of 50 % of a CPU make a sleep of 1 s last 2 s?"
    expects = (
        "no: a sleeping process uses no CPU time, so there is nothing to throttle. Beside burners a sleep that ends in "
        "a stall lasts until the stall's end, so it is late by one stall at most (P − Q/n: 50 ms for one burner, 75 ms "
        "for two). A yielding loop ends on time but for one stall, and does half its rounds. `go run` compiles first: "
        "that uses up the quota, and the whole command takes longer"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """Interleaved runs; ``--quick`` has sleeps of 200 ms, and fewer of them."""
        plan = QUICK if setting.quick else FULL
        rows = [*sleeping_rows(setting, plan), *go_run_rows(setting, plan)]
        return pl.DataFrame(rows, schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From ratios to the runs without quota of the same blocks."""
        return [stretched(data), compiling(data), throttled(data), yielding(data), goroutines(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """Ratios by load; then what the group's counters say, and the wrong ones."""
        return [sleep_table(data), stat_table(data)]

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """The ratios beside what is claimed."""
        return picture(data)
