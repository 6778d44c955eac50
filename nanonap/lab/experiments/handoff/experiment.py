"""What becomes of a P, and of a quota, while a goroutine sleeps."""

from collections.abc import Iterator

from nanonap.lab.experiments.handoff.picture import picture
from nanonap.lab.experiments.handoff.runs import FULL, QUICK, SCHEMA, rows
from nanonap.lab.experiments.handoff.tables import tables
from nanonap.lab.experiments.handoff.verdicts import verdict
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting


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
    verdicts = (verdict,)

    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks of short runs of gosrc/handoff; traces of the first go to the folder."""
        return rows(setting, QUICK if setting.quick else FULL)

    tables = staticmethod(tables)
    draw = staticmethod(picture)
