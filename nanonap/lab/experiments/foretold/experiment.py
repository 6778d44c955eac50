"""Whether `advise`, which sees a stock program alone, foretells what its patched copies then do."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from nanonap.lab.advise.advice import Advice
from nanonap.lab.advise.asking import ask, started
from nanonap.lab.experiments.foretold.verdicts import cost, lateness, table
from nanonap.lab.experiments.kit.base import Experiment, Row, Setting
from nanonap.lab.experiments.kit.blocks import paced, shuffled
from nanonap.lab.experiments.kit.copies import STOCK, plain_arm
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure
from patcher import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, Wait, patch

SCHEMA = pl.Schema(
    {
        "work": pl.String(),
        "arm": pl.String(),
        "told": pl.Boolean(),  # by advise, of stock; else it was run
        "block": pl.Int64(),
        "late_p50_ns": pl.Float64(),
        "late_p99_ns": pl.Float64(),
        "cpu": pl.Float64(),  # in parts of a core
    }
)
_US, _MS = 1_000, 1_000_000
#: (what each sleeper asks for, options of the measured program).
WORK: dict[str, tuple[int, tuple[str, ...]]] = {
    "one, 100 µs": (100 * _US, ()),
    "one, 2 ms by schedule": (2 * _MS, ("-pace", "absolute")),
    "three, 2.5 ms": (2_500 * _US, ("-sleepers", "3")),
    "10, 1 ms out of step": (_MS, ("-sleepers", "10", "-pace", "absolute", "-phase", "20us")),
    "50, 1 ms out of step": (_MS, ("-sleepers", "50", "-pace", "absolute", "-phase", "20us")),
    "50, 1 ms in step": (_MS, ("-sleepers", "50")),
    "10, 10 ms apart": (10 * _MS, ("-sleepers", "10", "-pace", "absolute", "-phase", "700us")),
    "a ticker of 5 ms": (5 * _MS, ("-method", "ticker")),
}
#: The ways of an advice, in its order, and how each is patched.
ARMS: dict[str, tuple[int | None, Wait]] = {
    "netpoll": (None, Wait()),
    "netpoll+slack1": (1, Wait()),
    "netpoll+quantum": (None, Wait(RECOMMENDED_QUANTUM_NS, RECOMMENDED_DENSE_NS)),
}
_GOMAXPROCS, _SEED = 2, 1
_LONGEST_NS = 10_000 * _MS  # what advise takes before it watches


@dataclass(frozen=True)
class _Plan:
    work: tuple[str, ...]
    blocks: int
    window_ns: int
    watch_s: float


_FULL = _Plan(tuple(WORK), 8, 1_000 * _MS, 5.0)
_QUICK = _Plan(tuple(WORK)[:2], 1, 200 * _MS, 1.0)


@dataclass(frozen=True)
class _Work(Run):
    """A run with options of the work's own behind the usual ones: the later counts."""

    more: tuple[str, ...] = ()

    def options(self, gomaxprocs: int) -> list[str]:
        """As of any run, and the work's own."""
        return [*super().options(gomaxprocs), *self.more]

    @property
    def planned(self) -> int:
        """Of all sleepers."""
        sleepers = self.more[self.more.index("-sleepers") + 1] if "-sleepers" in self.more else "1"
        return super().planned * int(sleepers)


class Foretold(Experiment):
    """No claim of others': what is promised of ``advise``."""

    name = "foretold"
    limits = False
    question = "Does `advise`, which watches a stock program, foretell what patched copies of it do and cost?"
    expects = (
        "how much sooner the median sleep ends within 20 %, the CPU time within 30 %; nearer for few sleepers, whose "
        "wake-ups follow from their timers, than for many, which share them"
    )
    verdicts = (lateness, cost)
    shown = (table,)
    schema = SCHEMA

    def rows(self, setting: Setting) -> Iterator[Row]:
        """Shuffled blocks: of each work, stock watched, and every arm run. Raises RunFailed."""
        setting.must_be_here("this machine's own waits are measured")
        plan = _QUICK if setting.quick else _FULL
        with guarded_folder() as folder:
            arms = {STOCK: plain_arm(STOCK, setting.program)}
            for name, (slack_ns, wait) in ARMS.items():
                done = patch(setting.program, folder / name, slack_ns=slack_ns, wait=wait)
                arms[name] = plain_arm(name, done.out)
            due = [(work, arm) for work in plan.work for arm in ("advise", *arms)]
            for block, (work, arm) in shuffled(setting, plan.blocks, due, ", ".join):
                if arm == "advise":
                    yield from _told(setting, plan, work, block)
                else:
                    yield _ran(setting, plan, work, arms[arm], block)


def _run(work: str, arm: Arm, block: int, window_ns: int, samples: int) -> _Work:
    requested_ns, more = WORK[work]
    return _Work(block, arm, PRIMARY, ((requested_ns, samples),), window_ns, seed=_SEED + block, more=more)


def _ran(setting: Setting, plan: _Plan, work: str, arm: Arm, block: int) -> Row:
    run = _run(work, arm, block, plan.window_ns, plan.window_ns // WORK[work][0])
    found = paced(measure(run, _GOMAXPROCS, NoBackend(), setting.stop).output)
    late = {name: found[name] for name in ("late_p50_ns", "late_p99_ns")}
    cpu = found["cpu_ns"] / found["wall_ns"]
    return {"work": work, "arm": arm.name, "told": False, "block": block, **late, "cpu": cpu}


def _told(setting: Setting, plan: _Plan, work: str, block: int) -> Iterator[Row]:
    """What a watched process is told to gain, a row for each way. Raises RunFailed."""
    longest_ns = _LONGEST_NS + int(plan.watch_s * 1e9)
    run = _run(work, plain_arm(STOCK, setting.program), block, longest_ns, longest_ns // WORK[work][0])
    with started([str(each) for each in (*run.arm.words, *run.options(_GOMAXPROCS))]) as pid:
        told = ask(pid, plan.watch_s, lambda _: setting.stop.check())
    if not isinstance(told, Advice):
        raise RunFailed(f"advise: {told.reason}")
    for arm, way in zip((STOCK, *ARMS), told.ways, strict=True):
        late = {"late_p50_ns": way.late_p50_ns, "late_p99_ns": way.late_p99_ns}
        yield {"work": work, "arm": arm, "told": True, "block": block, **late, "cpu": way.cpu}
