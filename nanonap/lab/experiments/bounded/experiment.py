"""A rule that remembers how often the program woke up, against the quantum, which sees only the next wait."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import polars as pl

from nanonap.base.durations import exact_ns
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import STOCK, plain_arm
from nanonap.lab.experiments.kit.rivals import rival_arms
from nanonap.lab.experiments.rival.experiment import SCHEMA
from nanonap.lab.experiments.rival.verdicts import OURS, table
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import PRECISE, Arm
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure
from nanonap.lab.show.tables import Table
from patcher import patch
from patcher.wait import Wait

DENSE = "800 µs, dense"
RULES = ("counted-1250", "counted-10000", "saved-5000")
SETTINGS = (PRECISE, "50 µs", DENSE)
_US, _MS = 1_000, 1_000_000
_UNEQUAL_NS = (20_000, 50_000, 100_000, 200_000, 350_000, 500_000, 700_000, 1_000_000)
_LEAST_WAKES, _SEED = 4, 1


#: Sleepers, what they ask for, and how long after the one before each is due; None: each sleeps again once awake.
LOADS: dict[str, tuple[int, tuple[int, ...], int | None]] = {
    "One of 100 µs": (1, (100 * _US,), None),
    "A ticker of 100 µs": (1, (100 * _US,), 0),
    "One of 1 ms": (1, (_MS,), 0),
    "10 of 1 ms, 20 µs apart": (10, (_MS,), 20 * _US),
    "50 in 1 ms, then 49 ms nothing": (50, (50 * _MS,), 20 * _US),
    "50 in 1 ms, then 9 ms nothing": (50, (10 * _MS,), 20 * _US),
    "20 of 1 ms, 50 µs apart": (20, (_MS,), 50 * _US),
    "50 of 1 ms, 20 µs apart": (50, (_MS,), 20 * _US),
    "1,000 of 20 ms, 20 µs apart": (1_000, (20 * _MS,), 20 * _US),
    "50 of 20 µs to 1 ms": (50, _UNEQUAL_NS, None),
    "50 of 1 ms, in step": (50, (_MS,), 0),
}


class Bounded(Experiment):
    """No claim of others': whether one rule serves lone sleepers, bursts and dense deadlines."""

    name = "bounded"
    limits = False
    question = "Does a rule that remembers earlier waits serve lone sleepers, bursts and dense deadlines at once?"
    expects = (
        "a lone sleeper of 100 µs wakes up as often as several of 1 ms: a count that bears it lets 50 sleepers take "
        "several times stock's CPU time, and a count that bounds these coalesces the lone one. Savings for short waits "
        "alone leave the lone sleeper precise, and a burst as long as they last, and are never there for long where "
        "all waits are short"
    )
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks of every arm under every load, one run at a time."""
        setting.must_be_here("this machine's own waits are measured")
        loads, blocks, window_ns = (list(LOADS)[3:5], 3, 60 * _MS) if setting.quick else (list(LOADS), 24, 400 * _MS)
        with guarded_folder() as folder:
            arms = [plain_arm(STOCK, setting.program)]
            for name in SETTINGS:
                slack_ns, quantum_ns, dense_ns = OURS[name]
                out = folder / f"{setting.program.name}.{len(arms)}"
                patch(setting.program, out, "netpoll", slack_ns=slack_ns, wait=Wait(quantum_ns, dense_ns))
                arms.append(plain_arm(name, out))
            arms += [rival_arms(setting, mode, folder)[1] for mode in RULES]
            due = list(product(arms, loads))
            for block, (arm, load) in shuffled(setting, blocks, due, lambda one: f"{one[0].name}, {one[1]}"):
                run = _run(arm, load, block, window_ns)
                output = measure(run, 2, NoBackend(), setting.stop).output
                told = output.header
                same = {"sleeps": told.n, "missed": told.missed, "nvcsw": told.nvcsw}
                yield {"arm": arm.name, "load": load, "block": block, **same, **paced(output)}

    def tables(self, data: pl.DataFrame) -> list[Table]:
        """A section a load, a row an arm."""
        return [table(data, {load: load for load in LOADS}, DENSE)]


@dataclass(frozen=True)
class _Sleepers(Run):
    sleepers: int = 1
    phase_ns: int | None = None

    def options(self, gomaxprocs: int) -> list[str]:
        """sleepbench's options."""
        pace = [] if self.phase_ns is None else ["-pace", "absolute", "-phase", exact_ns(self.phase_ns)]
        return [*super().options(gomaxprocs), "-sleepers", str(self.sleepers), *pace]

    @property
    def planned(self) -> int:
        """Samples in all."""
        return self.sleepers * super().planned


def _run(arm: Arm, load: str, block: int, window_ns: int) -> Run:
    sleepers, requested_ns, phase_ns = LOADS[load]
    samples = max(_LEAST_WAKES, window_ns // sum(requested_ns))
    # Stock's relative sleeps take longer than was asked for: there the time ends the run, not the count.
    most_ns = window_ns if phase_ns is None else 4 * max(window_ns, samples * sum(requested_ns))
    plan = tuple((each, samples) for each in requested_ns)
    return _Sleepers(block, arm, PRIMARY, plan, most_ns, _SEED + block, sleepers=sleepers, phase_ns=phase_ns)
