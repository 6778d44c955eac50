"""Where a Go sleep waits: the system call, the goroutine's states, and the moments from the request to the wake-up."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from bench.experiments.base import Experiment, Setting, Verdict
from bench.experiments.path_data import SCHEMA
from bench.experiments.path_picture import picture
from bench.experiments.path_runs import FULL, QUICK, rows
from bench.experiments.path_tables import tables
from bench.experiments.path_verdicts import verdicts
from bench.tables import Table


class SleepPath(Experiment):
    """Claims T1 (the limits of epoll's wait), T2 and T5."""

    name = "path"
    question = "Where does a Go sleep wait: in which system call, and what does its goroutine do meanwhile?"
    expects = (
        "stock parks the goroutine (Waiting, sleep), and an idle thread waits for its timer in epoll_pwait, in whole "
        "milliseconds and at least one; netpoll waits in epoll_pwait2, in nanoseconds; sleep keeps the goroutine in "
        "clock_nanosleep (Syscall), on a thread of its own; usleep changes only the naps of the runtime itself, so its "
        "sleeps wait as stock's. None waits in nanosleep, and there is no timerproc: the scheduler runs the timers"
    )
    arms = ("usleep", "sleep", "netpoll", "netpoll+slack1")
    limits = False

    def run(self, setting: Setting) -> pl.DataFrame:
        """Each arm under tracepoints and runtime/trace at once, in shuffled blocks; then under strace and perf trace.

        All of it slows a program down: these runs tell where a sleep waits, and not how long it lasts elsewhere.
        """
        setting.must_be_here("this machine's kernel is traced")
        plan = QUICK if setting.quick else FULL
        return pl.DataFrame(list(rows(setting, plan)), schema=SCHEMA)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """From shares by run."""
        return verdicts(data)

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """Calls, limits, states."""
        return tables(data)

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """One sleep of 100 µs, to scale, stock above patched."""
        return picture(data)
