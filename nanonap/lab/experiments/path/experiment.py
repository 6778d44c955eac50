"""Where a Go sleep waits: the system call, the goroutine's states, and the moments from the request to the wake-up."""

from collections.abc import Iterator

from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.path.data import SCHEMA
from nanonap.lab.experiments.path.picture import picture
from nanonap.lab.experiments.path.runs import FULL, QUICK, rows
from nanonap.lab.experiments.path.tables import call_table, duration_table, limit_table, state_table
from nanonap.lab.experiments.path.verdicts import bounded_waits, located, states


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

    verdicts = (bounded_waits, states, located)
    shown = (call_table, limit_table, state_table, duration_table)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Each arm under tracepoints and runtime/trace at once, in shuffled blocks; then under strace and perf trace.

        All of it slows a program down: these runs tell where a sleep waits, and not how long it lasts elsewhere.
        """
        setting.must_be_here("this machine's kernel is traced")
        return rows(setting, QUICK if setting.quick else FULL)

    draw = staticmethod(picture)
