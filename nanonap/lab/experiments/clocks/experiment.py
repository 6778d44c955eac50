"""What Go's clock costs and how finely it steps: runtime.nanotime, time.Now, the vDSO and the real system call."""

from collections.abc import Iterator

from nanonap.lab.experiments.clocks.runs import FULL, QUICK, SCHEMA, rows
from nanonap.lab.experiments.clocks.tables import cost_table, picture, step_table
from nanonap.lab.experiments.clocks.verdicts import claimed, falls_back
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting


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
    verdicts = (claimed, falls_back)
    shown = (step_table, cost_table)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """A process a run, in shuffled blocks; in a guest also with a clock source that user space cannot read."""
        return rows(setting, QUICK if setting.quick else FULL)

    draw = staticmethod(picture)
