"""Which run comes when: seeded, shuffled, interleaved blocks, and how many of them a bench of a size allows."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanonap.base.dice import seeded
from nanonap.base.durations import exact_ns
from nanonap.lab.plan.arms import CONTROL, CYCLICTEST, Arm
from nanonap.lab.plan.conditions import COST, IDLE, IDLE_NS, PRIMARY, SLEEPERS_INTERVAL_NS, Condition
from nanonap.lab.quota.limits import Limits

# What a stock sleep shorter than 1 ms takes: runs are planned for the slowest arm, so that all fit.
_SLOWEST_NS = 1_100_000
_LATE_NS = 200_000
_MAX_WARMUP = 20
_LEAST_WAKES = 4  # of each scheduled sleeper, however long its interval
_MOST_PROCESSORS, _MOST_THREADS = 100, 2_000  # sleepers that take one each; the runtime dies at 10,000 threads
CONTROL_NS = (1_000_000,)
"""What the control arm asks for."""
_RECORDING_NS = 700_000_000  # a recorder's start, its end, and reading what it wrote


@dataclass(frozen=True)
class Size:
    """How much a bench measures. Times in ns."""

    name: str
    limit_ns: int  # for the whole command
    reserve_ns: int  # of it, for the analysis and the report
    blocks: int  # of quiet runs without quota, and of the cost workload
    loaded_blocks: int  # of every other condition
    share_ns: int  # time of one requested duration in a quiet run
    least: int  # samples of a requested duration in a run, however long it is
    cost_samples: int  # wake-ups of each sleeper of the cost workload
    loaded_max_ns: int  # after this much measured time a run with neighbours or under quota starts no new sleep
    recorded_ns: int  # the same for the run apart that is recorded, to see where the time goes


_S = 1_000_000_000
SIZES = {
    size.name: size
    for size in (
        Size("quick", 30 * _S, 7 * _S, 4, 1, 15_000_000, 1, 80, 250_000_000, 300_000_000),
        Size("default", 180 * _S, 20 * _S, 12, 5, 55_000_000, 2, 200, 500_000_000, 1_100_000_000),
        Size("full", 1800 * _S, 120 * _S, 22, 4, 80_000_000, 3, 250, 800_000_000, 2_000_000_000),
    )
}
LEAST_BLOCKS = SIZES["quick"].blocks
"""Dropping blocks to keep the time goes down to what a quick bench measures, and no further."""


@dataclass(frozen=True)
class Run:
    """One process to run: ``plan`` is ((requested_ns, samples), …) for each sleeper."""

    block: int
    arm: Arm
    condition: Condition
    plan: tuple[tuple[int, int], ...]
    max_time_ns: int
    seed: int
    weight: int | None = None
    memory_bytes: int | None = None
    recorded: bool = False

    @property
    def limits(self) -> Limits:
        """What its group is given."""
        return Limits(self.condition.quota, self.weight, self.memory_bytes)

    def options(self, gomaxprocs: int) -> list[str]:
        """sleepbench's options."""
        plan = ",".join(f"{exact_ns(requested_ns)}*{samples}" for requested_ns, samples in self.plan)
        options = ["-method", self.arm.method, "-plan", plan, "-seed", str(self.seed)]
        options += ["-gomaxprocs", str(gomaxprocs), "-warmup", str(_warmup(self.plan[0][0]))]
        options += ["-max-time", f"{self.max_time_ns}ns"]
        options += ["-hold"] if self.arm.live else []
        load = self.condition.load
        if load.kind in ("burn", "sibling", "gc"):
            options += [f"-{load.kind}", str(load.count)]
        if load.scheduled:
            options += ["-sleepers", str(load.count), "-pace", "absolute", "-phase", exact_ns(load.phase_ns)]
        return options

    @property
    def planned(self) -> int:
        """Samples in all, if nothing cuts the run short."""
        sleepers = self.condition.load.count if self.condition.load.scheduled else 1
        return sleepers * sum(samples for _, samples in self.plan)

    @property
    def expected_ns(self) -> int:
        """How long the measured window takes at most, roughly: stock's sleeps, or what -max-time leaves of them."""
        sleeps = sum(samples * max(wanted_ns + _LATE_NS, _SLOWEST_NS) for wanted_ns, samples in self.plan)
        longest = max(wanted_ns for wanted_ns, _ in self.plan)
        return min(sleeps, self.max_time_ns + longest) if self.max_time_ns else sleeps


def make_schedule(
    arms: Sequence[Arm],
    conditions: Sequence[Condition],
    requested_ns: Sequence[int],
    size: Size,
    seed: int,
    *,
    weight: int | None = None,
    memory_bytes: int | None = None,
) -> list[list[Run]]:
    """The blocks: each has every arm once under each condition that is due in it, shuffled.

    The quiet condition and the cost workload are due in every block, the others in ``size.loaded_blocks`` of them,
    spread evenly from the first on. The same seed gives the same schedule.
    """
    # Not for secrets: a seeded order that anyone can repeat.
    dice = seeded(seed)
    primary = {PRIMARY, COST} & set(conditions)
    blocks = []
    for number in range(size.blocks):
        due = [
            condition
            for condition in conditions
            if condition in primary or not primary or _is_due(number, size.loaded_blocks, size.blocks)
        ]
        runs = [
            Run(
                number,
                arm,
                condition,
                *_plan(condition, CONTROL_NS if arm.name == CONTROL else requested_ns, size),
                seed=dice.randrange(1, 2**31),
                weight=weight,
                memory_bytes=memory_bytes,
            )
            for condition in due
            for arm in arms
            if fits(arm, condition)
        ]
        dice.shuffle(runs)
        blocks.append(runs)
    return blocks


def fits(arm: Arm, condition: Condition) -> bool:
    """Whether an arm can be run under a condition, and says something there."""
    load = condition.load
    if arm.method == CYCLICTEST or arm.name == CONTROL:
        return condition == PRIMARY
    if arm.method == "floor":  # it runs without the collector, and a sleeper takes a processor of its own
        return load.kind != "gc" and load.count <= _MOST_PROCESSORS
    if arm.method == "sleep-then-spin":
        return not load.scheduled or load.count <= _MOST_PROCESSORS
    if arm.strategy == "sleep" or arm.method == "nanosleep":
        return not load.scheduled or load.count <= _MOST_THREADS
    return True


def _is_due(number: int, wanted: int, total: int) -> bool:
    """Whether block ``number`` is one of ``wanted`` spread evenly over ``total`` (Bresenham's line, from 0 on)."""
    return number * wanted % total < wanted


def _plan(condition: Condition, requested_ns: Sequence[int], size: Size) -> tuple[tuple[tuple[int, int], ...], int]:
    """((requested_ns, samples), …) and the limit in ns on the measured time, of a run under a condition."""
    load = condition.load
    if load.scheduled:
        window_ns = size.cost_samples * SLEEPERS_INTERVAL_NS
        return ((load.interval_ns, max(_LEAST_WAKES, window_ns // load.interval_ns)),), 4 * window_ns
    if load == IDLE:
        return ((IDLE_NS, 1),), 4 * IDLE_NS
    plan = tuple((wanted_ns, _samples(wanted_ns, size)) for wanted_ns in sorted(requested_ns))
    longest = sum(samples * (wanted_ns + _SLOWEST_NS) for wanted_ns, samples in plan)
    return plan, 4 * longest if condition == PRIMARY else size.loaded_max_ns


def _samples(requested_ns: int, size: Size) -> int:
    return max(size.least, size.share_ns // max(requested_ns, _SLOWEST_NS))


def _warmup(first_ns: int) -> int:
    return max(1, min(_MAX_WARMUP, _MAX_WARMUP * _SLOWEST_NS // max(first_ns, _SLOWEST_NS)))


def _kind(run: Run) -> tuple[str, Condition, bool]:
    return run.arm.name, run.condition, run.recorded


class Budget:
    """Says how many blocks still fit. Fed with the time each run took; times in ns."""

    def __init__(self, size: Size, overhead_ns: int = 40_000_000) -> None:
        """``overhead_ns``: starting a process and reading its output, until runs have shown what it really is."""
        self._size, self._overhead_ns = size, overhead_ns
        self._spent: dict[tuple[str, Condition, bool], list[int]] = {}

    def add(self, run: Run, took_ns: int) -> None:
        """A run took this long from start to record."""
        self._spent.setdefault(_kind(run), []).append(took_ns)

    def estimate_ns(self, runs: Sequence[Run]) -> int:
        """How long these runs will take: the mean of what like runs took, or the plan's expectation."""
        return sum(self._estimate_one_ns(run) for run in runs)

    def _estimate_one_ns(self, run: Run) -> int:
        seen = self._spent.get(_kind(run))
        overhead_ns = _RECORDING_NS if run.recorded else self._overhead_ns
        return sum(seen) // len(seen) if seen else run.expected_ns + overhead_ns

    def affordable(self, blocks: Sequence[Sequence[Run]], elapsed_ns: int, afterwards_ns: int = 0) -> int:
        """How many of the remaining ``blocks`` end within the size's limit, leaving ``afterwards_ns`` free."""
        left_ns = self._size.limit_ns - self._size.reserve_ns - elapsed_ns - afterwards_ns
        for count, block in enumerate(blocks):
            left_ns -= self.estimate_ns(block)
            if left_ns < 0:
                return count
        return len(blocks)
