"""The curve of lateness over CPU time: this project's settings, and the runtime that upstream plans, on one plot."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import polars as pl

from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import STOCK, plain_arm
from nanonap.lab.experiments.kit.rivals import rival_arms
from nanonap.lab.experiments.rival.picture import picture
from nanonap.lab.experiments.rival.verdicts import FEW, LOADS, MIXED, MIXED_SLEEPERS, OURS, never_above, table
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import UPSTREAM, Arm
from nanonap.lab.plan.conditions import PRIMARY, Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure
from patcher import patch
from patcher.wait import Wait

SCHEMA = {
    "arm": pl.String,  # stock; a rival's mode and slack; or a setting of ours
    "load": pl.String,
    "block": pl.Int64,
    "sleeps": pl.Int64,
    "missed": pl.Int64,  # deadlines that had passed before their sleeper slept
    "wall_ns": pl.Int64,
    "cpu_ns": pl.Int64,
    "nvcsw": pl.Int64,
    "late_p50_ns": pl.Int64,
    "late_p99_ns": pl.Int64,
}
_GOMAXPROCS, _SEED = 2, 1
_MIXED_NS = (20_000, 50_000, 100_000, 200_000, 350_000, 500_000, 700_000, 1_000_000)
_LEAST_WAKES = 4  # of each sleeper, however long its interval


@dataclass(frozen=True)
class _Plan:
    settings: tuple[str, ...]
    loads: tuple[str, ...]
    blocks: int
    window_ns: int


_FULL = _Plan(tuple(OURS), tuple(LOADS), 72, 120_000_000)
_QUICK = _Plan(("netpoll", "netpoll+slack1", "800 µs"), ("sleepers:1", "sleepers:50", MIXED), 3, 60_000_000)


class Rival(Experiment):
    """No claim of others': at equal lateness less CPU, at equal CPU less lateness, or not."""

    name = "rival"
    limits = False
    question = "Does the patch ever cost more CPU time than the runtime that upstream plans, where sleeps end as late?"
    expects = (
        "upstream rounds what is left until the next timer, not the time at which it is due: two timers join only "
        "where one is due by itself when the other's wait ends. So it saves little, and its figures are near those of "
        "the same wait without rounding, 5 µs less precise. Settings of ours lie on its curve or below it; where "
        "timers are many and out of step, the quantum reaches what upstream cannot: stock's CPU time, less late"
    )
    verdicts = (never_above,)
    shown = (table,)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks of every arm under every load, one run at a time."""
        setting.must_be_here("this machine's own waits are measured")
        plan = _QUICK if setting.quick else _FULL
        with guarded_folder() as folder:
            every = product(_arms(setting, plan, folder), plan.loads)
            due = [(arm, load) for arm, load in every if arm.name not in OURS or _says_more(arm.name, load)]
            for block, (arm, load) in shuffled(setting, plan.blocks, due, lambda one: f"{one[0].name}, {one[1]}"):
                output = measure(_run(arm, load, block, plan.window_ns), _GOMAXPROCS, NoBackend(), setting.stop).output
                yield {
                    "arm": arm.name,
                    "load": load,
                    "block": block,
                    "sleeps": output.header.n,
                    "missed": output.header.missed,
                    "nvcsw": output.header.nvcsw,
                    **paced(output),
                }

    draw = staticmethod(picture)


def _arms(setting: Setting, plan: _Plan, folder: Path) -> list[Arm]:
    arms = [plain_arm(STOCK, setting.program), *rival_arms(setting, UPSTREAM[0], folder)]
    if not setting.quick:
        arms += rival_arms(setting, "rebuilt", folder)
    for name in plan.settings:
        setting.say(f"patching the program: {name}")
        slack_ns, quantum_ns, dense_ns = OURS[name]
        out = folder / f"{setting.program.name}.{len(arms)}"
        patch(setting.program, out, "netpoll", slack_ns=slack_ns, wait=Wait(quantum_ns, dense_ns))
        arms.append(plain_arm(name, out))
    return arms


def _says_more(name: str, load: str) -> bool:
    """Whether a setting of ours is of interest under a load."""
    return name in FEW or load == MIXED or (load.startswith("sleepers") and load != "sleepers:1")


class _Mixed(Run):
    """Several sleepers of unequal times, each in an order of its own, on relative schedules."""

    def options(self, gomaxprocs: int) -> list[str]:
        """sleepbench's options."""
        return [*super().options(gomaxprocs), "-sleepers", str(MIXED_SLEEPERS)]

    @property
    def planned(self) -> int:
        """Samples in all."""
        return MIXED_SLEEPERS * super().planned


def _run(arm: Arm, load: str, block: int, window_ns: int) -> Run:
    if load == MIXED:
        each = max(1, window_ns // sum(_MIXED_NS))
        plan = tuple((requested_ns, each) for requested_ns in _MIXED_NS)
        return _Mixed(block, arm, PRIMARY, plan, window_ns, _SEED + block)  # the time ends it: stock takes longer
    condition = Condition(Quota(), parse_load(load))
    interval_ns = condition.load.interval_ns
    samples = max(_LEAST_WAKES, window_ns // interval_ns)
    return Run(
        block, arm, condition, ((interval_ns, samples),), 4 * max(window_ns, samples * interval_ns), _SEED + block
    )
