"""What becomes of a P, and of a quota, while a goroutine sleeps."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.handoff_picture import picture
from bench.experiments.handoff_runs import FULL, QUICK, SCHEMA, rows
from bench.experiments.handoff_tables import tables
from bench.experiments.handoff_verdicts import verdict
from bench.tables import Table


class Handoff(Experiment):
    """Claim T4."""

    name = "handoff"
    question = "When a goroutine sleeps, does its thread hand its P to another one, and who gets the quota?"
    expects = (
        "time.Sleep hands nothing over: the goroutine parks, its thread keeps the P and runs the next goroutine, or "
        "puts the P on the idle list and waits. For a goroutine locked to its thread it does: that thread may run no "
        "other, and hands the P over at once. A blocking system call keeps its P until sysmon takes it away, some "
        "20 µs to 20 ms later; the sleep patched to block hands it over at once, to another thread. The quota belongs "
        "to the group: what a sleeper does not use the others may, however it sleeps, and a group of sleepers uses none"
    )

    def run(self, setting: Setting) -> pl.DataFrame:
        """Shuffled blocks of short runs of gosrc/handoff; traces of the first go to the folder."""
        return pl.DataFrame(list(rows(setting, QUICK if setting.quick else FULL)), schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """By the threads that ran, and by how far a computing goroutine got."""
        return [verdict(data)]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """Who runs next; Ps and threads while all sleep; the quota."""
        return tables(data)

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """How long the P is held, threads of many sleepers, and shares of the quota."""
        return picture(data)
