"""What one timer's wake-up is made of: the kernel, the scheduler's way back, and the second thread it wakes."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from nanonap.base.paths import TRIED
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import patched_arms
from nanonap.lab.experiments.kit.rivals import rival_arms
from nanonap.lab.experiments.wakeup.verdicts import (
    FLOOR,
    ONE_P,
    REBUILT,
    RUNTIMES,
    SLEEPS,
    WORK,
    bears_the_way_back,
    parallel_keeps,
    parallel_table,
    second_thread,
    split_table,
)
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import PRECISE, Arm
from nanonap.lab.plan.conditions import QUIET, Condition, Load, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO

PROGRAM = "parallel"
SCHEMA = {
    "what": pl.String,  # of SLEEPS: so slept the measured program; of WORK: this the program ``parallel`` did
    "arm": pl.String,  # a build mode, all at 1 ns of timer slack; FLOOR, PRECISE, and ONE_P: rebuilt, GOMAXPROCS 1
    "block": pl.Int64,
    "done": pl.Int64,  # sleeps, or pieces of work
    "wall_ns": pl.Int64,
    "cpu_ns": pl.Int64,
    "nvcsw": pl.Int64,
    "late_p50_ns": pl.Int64,  # of work its latency; of ``beside`` the sleeper's lateness
    "late_p99_ns": pl.Int64,
}
_GOMAXPROCS, _SEED = 2, 1
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class _Plan:
    sleeps: tuple[str, ...]
    blocks: int
    window_ns: int


_FULL = _Plan(tuple(SLEEPS), 24, 200_000_000)
_QUICK = _Plan(("100 µs", "50 of 1 ms"), 3, 40_000_000)


class Wakeup(Experiment):
    """No claim of others': where a wake-up's CPU time and lateness go, and whether some of it can be saved."""

    name = "wakeup"
    limits = False
    question = "What is one timer's wake-up made of, and must the scheduler wake a second thread for it?"
    expects = (
        "the kernel takes most of the lateness, and the scheduler some microseconds. Most of the CPU time beside the "
        "kernel's is a second thread, woken twice for a lone sleep, where the timer has fired and where the next one "
        "is armed; each time it finds nothing to run. Woken only for what is queued, it costs half of that. But that "
        "thread also takes over the wait for other timers and sockets: without it a timer that is due while the first "
        "one's goroutine computes is late by that time. So it cannot be left out where there is more to wait for"
    )
    verdicts = (second_thread, bears_the_way_back, *parallel_keeps)
    shown = (split_table, parallel_table)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks of every sleep and every work on every arm, one run at a time."""
        plan = _QUICK if setting.quick else _FULL
        with patched_arms(setting, (PRECISE, FLOOR)) as arms, guarded_folder() as folder:
            for mode in RUNTIMES:
                arms[mode] = rival_arms(setting, mode, folder)[1]
            arms[ONE_P] = arms[REBUILT]
            programs = {mode: build(DEFAULT_GO, mode, programs=(PROGRAM,), out=TRIED)[0].path for mode in RUNTIMES}
            due = [*product(plan.sleeps, arms), *product(WORK, programs)]
            for block, (what, arm) in shuffled(setting, plan.blocks, due, lambda one: f"{one[0]}, {one[1]}"):
                if what in WORK:
                    yield {"what": what, "arm": arm, "block": block, **_worked(setting, programs[arm], what, plan)}
                elif arm != FLOOR or SLEEPS[what] is None:  # of many, each would take a processor
                    yield {
                        "what": what,
                        "arm": arm,
                        "block": block,
                        **_slept(setting, arms[arm], arm, what, block, plan),
                    }


def _slept(setting: Setting, program: Arm, arm: str, what: str, block: int, plan: _Plan) -> Row:
    asked = SLEEPS[what]
    run = _run(program, QUIET if asked is None else parse_load(asked), what, block, plan.window_ns)
    output = measure(run, 1 if arm == ONE_P else _GOMAXPROCS, NoBackend(), setting.stop).output
    return {"done": output.header.n, "nvcsw": output.header.nvcsw, **paced(output)}


def _run(arm: Arm, load: Load, what: str, block: int, window_ns: int) -> Run:
    requested_ns = 100_000 if what == "100 µs" else 1_000_000
    plan = ((requested_ns, window_ns // requested_ns),)
    return Run(block, arm, Condition(Quota(), load), plan, 4 * window_ns, seed=_SEED + block)


def _worked(setting: Setting, program: Path, what: str, plan: _Plan) -> Row:
    words = [str(program), "-kind", what, "-time", f"{plan.window_ns}ns", "-gomaxprocs", str(_GOMAXPROCS)]
    finished = setting.stop.run(words, _TIMEOUT_S)
    if finished.status != 0:
        raise RunFailed(f"{PROGRAM} -kind {what}: exit status {finished.status}; its stderr: {finished.stderr}")
    told: dict[str, Any] = msgspec.json.decode(finished.stdout)
    same = {name: told[name] for name in ("done", "wall_ns", "cpu_ns", "nvcsw")}
    return {**same, "late_p50_ns": told["p50_ns"], "late_p99_ns": told["p99_ns"]}
