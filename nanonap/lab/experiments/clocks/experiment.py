"""What Go's clock costs and how finely it steps: runtime.nanotime, time.Now, the vDSO and the real system call."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.clocks_runs import FULL, QUICK, SCHEMA, rows
from bench.experiments.clocks_tables import cost_table, picture, step_table
from bench.experiments.clocks_verdicts import claimed, falls_back
from bench.tables import Table


class Clocks(Experiment):
    """Claim T3."""

    name = "clocks"
    limits = False
    cheap = True
    question = "How finely does Go's clock step from one reading to the next, and what does a reading cost?"
    expects = (
        "a reading through the vDSO is a function call, and the system call costs several times as much. Two readings "
        "in a row differ by what a reading costs, some 20 ns or more, so no step of 1 ns is seen, nor one of 15 ns "
        "between system calls, though the unit is 1 ns. With a clock source that user space cannot read (hpet) the "
        "vDSO makes the system call, and nanotime costs the same"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """A process a run, in shuffled blocks; in a guest also with a clock source that user space cannot read."""
        return pl.DataFrame(list(rows(setting, QUICK if setting.quick else FULL)), schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From each run's steps and costs, as ratios to what is claimed."""
        return [claimed(data), falls_back(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """Steps, then costs, a section a clock source."""
        return [step_table(data), cost_table(data)]

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """A panel a clock source: how far successive readings are apart."""
        return picture(data)
