"""Whether a CPU quota stretches a Go program's sleeps: quiet, loaded, as a yielding loop, and as ``go run``."""

from collections.abc import Iterator

from nanonap.lab.experiments.dilation.runs import FULL, QUICK, SCHEMA, go_run_rows, sleeping_rows
from nanonap.lab.experiments.dilation.tables import picture, sleep_table, stat_table
from nanonap.lab.experiments.dilation.verdicts import compiling, goroutines, stretched, throttled, yielding
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting


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
    verdicts = (stretched, compiling, throttled, yielding, goroutines)
    shown = (sleep_table, stat_table)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Interleaved runs; ``--quick`` has sleeps of 200 ms, and fewer of them."""
        plan = QUICK if setting.quick else FULL
        yield from sleeping_rows(setting, plan)
        yield from go_run_rows(setting, plan)

    draw = staticmethod(picture)
