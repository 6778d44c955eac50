"""What it saves to round waits up so that near deadlines share a wake-up, and how late sleeps end for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import polars as pl

from nanonap.base.terminal import messages
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.kit.rivals import rival_arms
from nanonap.lab.experiments.quantum.verdicts import enough, picture, serves_both, tables
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import UPSTREAM, Arm
from nanonap.lab.plan.conditions import QUIET, Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run import syscalls
from nanonap.lab.run.runner import measure
from nanonap.toolchain.errors import BuildFailed, CannotRebuild
from nanonap.toolchain.patched import patch_quanta
from patcher import RECOMMENDED_DENSE_NS

SCHEMA = {
    "arm": pl.String,
    "quantum_ns": pl.Int64,  # null: the program as built, or with upstream's runtime; 0: patched, no quantum
    "dense_ns": pl.Int64,  # only waits shorter than this are rounded up; null: all shorter than the quantum
    "load": pl.String,
    "block": pl.Int64,
    "requested_ns": pl.Int64,
    "sleeps": pl.Int64,
    "wall_ns": pl.Int64,
    "cpu_ns": pl.Int64,
    "nvcsw": pl.Int64,
    "late_p50_ns": pl.Int64,
    "late_p99_ns": pl.Int64,
    "epoll_per_second": pl.Float64,  # of one run apart, the same in every row of the arm and load
}
DENSE_NS = RECOMMENDED_DENSE_NS
"""About what a thread takes to wake up; a power of two is the cheapest to test for."""
LONE, FEW, MANY = "quiet", "sleepers:10", "sleepers:50"
_US = 1_000
_LONE_NS = 100 * _US
_SEED = 1


@dataclass(frozen=True)
class _Plan:
    plain: tuple[int, ...]
    dense: tuple[int, ...]
    blocks: int
    window_ns: int


_QUICK = _Plan((500 * _US,), (500 * _US,), 3, 100_000_000)
_FULL = _Plan(
    tuple(each * _US for each in (50, 100, 200, 300, 400, 500, 600, 700, 800, 1_000)),
    tuple(each * _US for each in (200, 300, 400, 500, 600, 700, 800, 1_000)),
    10,
    250_000_000,
)


class Quantum(Experiment):
    """No claim of others': which quantum to take."""

    name = "quantum"
    limits = False
    question = "What does rounding waits up save, with many timers and with few, and how late do sleeps end for it?"
    expects = (
        "fifty sleepers out of step wake the program some 20,000 times a second, each wake-up costs tens of "
        "microseconds of CPU; a quantum limits the wake-ups to one per quantum, so CPU falls as it grows and lateness "
        "rises to half of it at the median. A quantum for dense deadlines only leaves a lone sleeper its precision"
    )

    verdicts = (enough, serves_both)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """A counted run for each arm under the load of many timers, then shuffled blocks, one run at a time."""
        setting.must_be_here("this machine's own waits are measured")
        plan = _QUICK if setting.quick else _FULL
        with guarded_folder() as folder:
            arms = _arms(setting, plan, folder)
            counts = _count(setting, plan, arms)
            due = list(product(arms, (LONE, FEW, MANY)))
            for block, (each, load) in shuffled(setting, plan.blocks, due, lambda one: f"{one[0].arm.name}, {one[1]}"):
                output = measure(_run(each, load, block, plan.window_ns), 2, NoBackend(), setting.stop).output
                yield {
                    "arm": each.arm.name,
                    "quantum_ns": each.quantum_ns,
                    "dense_ns": each.dense_ns,
                    "load": load,
                    "block": block,
                    "requested_ns": int(output.samples[0][0]),
                    "sleeps": output.header.n,
                    "nvcsw": output.header.nvcsw,
                    "epoll_per_second": counts.get((each.arm.name, load)),
                    **paced(output),
                }

    tables = staticmethod(tables)
    draw = staticmethod(picture)


@dataclass(frozen=True)
class _Rounded:
    arm: Arm
    quantum_ns: int | None
    dense_ns: int | None


def _arms(setting: Setting, plan: _Plan, folder: Path) -> list[_Rounded]:
    quanta = [*((each, None) for each in plan.plain), *((each, DENSE_NS) for each in plan.dense)]
    setting.say("patching the program with every quantum")
    plain, *files = patch_quanta(setting.program, folder, [(None, None), *quanta])
    found = [
        _Rounded(plain_arm("stock", setting.program), None, None),
        _Rounded(plain_arm("no quantum", plain), 0, None),
        *(_Rounded(each, None, None) for each in _rivals(setting, folder)),
    ]
    for file, (quantum_ns, dense_ns) in zip(files, quanta, strict=True):
        name = f"{quantum_ns // _US} µs" + (", dense" if dense_ns else "")
        found.append(_Rounded(plain_arm(name, file), quantum_ns, dense_ns))
    return found


def _rivals(setting: Setting, folder: Path) -> list[Arm]:
    """The runtime that upstream plans, where it can be built: the curve is whole without it."""
    try:
        return rival_arms(setting, UPSTREAM[0], folder)
    except (CannotRebuild, BuildFailed) as error:
        messages().print(f"{UPSTREAM[0]} is left out: {error}", highlight=False, markup=False)
        return []


def _run(each: _Rounded, load: str, block: int, window_ns: int) -> Run:
    condition = Condition(Quota(), QUIET if load == LONE else parse_load(load))
    interval_ns = _LONE_NS if load == LONE else condition.load.interval_ns
    # Stock's sleep of 100 µs lasts a millisecond: the time ends the run, not the count.
    return Run(block, each.arm, condition, ((interval_ns, window_ns // interval_ns),), window_ns, seed=_SEED + block)


def _count(setting: Setting, plan: _Plan, arms: list[_Rounded]) -> dict[tuple[str, str], float]:
    """epoll calls a second by (arm, load), each of a run apart; {} where nothing here can count them."""
    counter = syscalls.find_counter()
    counts: dict[tuple[str, str], float] = {}
    if counter is None:
        return counts
    for each in arms:
        setting.say(f"counting system calls: {each.arm.name}")
        try:
            counted = syscalls.count(counter, _run(each, MANY, 0, plan.window_ns), 2, setting.stop)
        except RunFailed:
            continue  # the measured runs are whole without it
        counts[each.arm.name, MANY] = counted.epoll_per_second
    return counts
