"""Conditions: what surrounds a sleeper in a run (its quota, its neighbours, its processors), as options write them."""

import itertools
import re
from dataclasses import dataclass

from nanonap.base.durations import parse_duration_ns
from nanonap.base.errors import UsageError
from nanonap.lab.quota.limits import Quota, parse_quota

DEFAULT_REQUESTED_NS = (50_000, 100_000, 500_000, 1_000_000, 5_000_000, 100_000_000)
MAX_REQUESTED_NS = 10_000_000_000
MAX_NEIGHBOURS = 1_000
# The cost workload: sleepers on absolute schedules, each a little after the one before, so that every wake-up
# stands alone. On relative schedules they fall into step, wake together, and the cost of precision cannot be seen.
SLEEPERS_INTERVAL_NS = 1_000_000
SLEEPERS_PHASE_NS = 20_000
MAX_PROCESSORS = 1_024
MAX_SLEEPERS = 10_000
_LOAD = re.compile(r"(quiet|idle)|(burn|sibling|gc|sleepers|aligned):([0-9]+)")
_LOADS = (
    "quiet, burn:1 (CPU burners in the process), sibling:1 (in a process beside it), gc:1 (allocators), sleepers:50 "
    "(none in step), aligned:50 (all in step), idle"
)
SCHEDULED = ("sleepers", "aligned")
"""Loads that are sleepers on absolute schedules: what precision costs."""


@dataclass(frozen=True)
class Load:
    """What runs beside the one sleeper, in its group: nothing (``quiet``), ``burn:N`` goroutines that burn CPU,
    ``sibling:N`` of them in a process of their own, ``gc:N`` goroutines that allocate and keep the collector busy.

    ``sleepers:N`` is the cost workload: N sleepers on absolute schedules, never two at an instant; ``aligned:N``
    the same with all of them due at the same instants; ``idle`` one sleeper of a second, so that next to nothing is
    due.
    """

    kind: str
    count: int = 0

    def __str__(self) -> str:
        """As options write it."""
        return f"{self.kind}:{self.count}" if self.count else self.kind

    @property
    def scheduled(self) -> bool:
        """Whether it is sleepers on absolute schedules."""
        return self.kind in SCHEDULED

    @property
    def interval_ns(self) -> int:
        """From one deadline of a scheduled sleeper to its next.

        At least SLEEPERS_INTERVAL_NS, and long enough that no two of ``sleepers:N`` are due at an instant: so the
        number of wake-ups a second that precision asks for is the same from 50 sleepers on.
        """
        return max(SLEEPERS_INTERVAL_NS, self.count * SLEEPERS_PHASE_NS)

    @property
    def phase_ns(self) -> int:
        """From one sleeper's deadline to that of the next sleeper."""
        return SLEEPERS_PHASE_NS if self.kind == "sleepers" else 0


QUIET = Load("quiet")
IDLE = Load("idle")
IDLE_NS = 1_000_000_000
COST_LOAD = Load("sleepers", 50)


def parse_load(text: str) -> Load:
    """``quiet``, ``burn:1``, ``sibling:2``, ``gc:1``, ``sleepers:50``. Raises UsageError."""
    match = _LOAD.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a load: write {_LOADS}")
    if match[1]:
        return Load(match[1])
    count = int(match[3])
    most = MAX_SLEEPERS if match[2] in SCHEDULED else MAX_NEIGHBOURS
    if not 1 <= count <= most:
        raise UsageError(f"{text!r}: the number of {match[2]} must be from 1 to {most}")
    return Load(match[2], count)


@dataclass(frozen=True)
class Condition:
    """A quota, a load, and GOMAXPROCS where it is not to be the number of CPUs."""

    quota: Quota
    load: Load
    gomaxprocs: int | None = None

    def __str__(self) -> str:
        """For a person."""
        return f"quota {self.quota}, load {self.load}" + (f", GOMAXPROCS {self.gomaxprocs}" if self.gomaxprocs else "")


def is_scheduled(label: str) -> bool:
    """Whether a recorded load (or its label) is sleepers on absolute schedules: recorded is lateness then."""
    return label.partition(":")[0] in SCHEDULED


def is_apart(label: str) -> bool:
    """Whether a recorded load is there for what it costs: it belongs into no table of single sleeps."""
    return is_scheduled(label) or label.partition("@")[0] == IDLE.kind


PRIMARY = Condition(Quota(), QUIET)
COST = Condition(Quota(), COST_LOAD)
COST_LOADS = "idle,sleepers:1,sleepers:50,sleepers:1000,sleepers:10000,aligned:50,aligned:1000,aligned:10000"


#: Named sets of quotas and loads; the loads of a container that works as well as sleeps.
SETS = {
    # What the article under examination limits a program to, and the same with true burst.
    "article": ("none,50%,50%+burst=50ms", "quiet,burn:1,burn:2"),
    # Limits as pods have them: thousandths of a CPU, every 100 ms.
    "kubernetes": ("100m,250m,500m,1cpu,2cpu", "quiet,burn:2"),
    # What precision costs: sleepers in and out of step, from one to ten thousand.
    "cost": ("none", COST_LOADS),
}


def conditions(
    quota: str | None,
    load: str | None,
    gomaxprocs: str | None = None,
    named: str | None = None,
    *,
    every_cost: bool = False,
) -> tuple[Condition, ...]:
    """Every quota of ``--quota`` with every load of ``--load`` and every GOMAXPROCS.

    By default none and 50% with quiet and burn:1, and the cost workload without quota (with ``every_cost`` all
    COST_LOADS); ``named`` is ``--conditions``.
    Raises UsageError.
    """
    if named is not None:
        if named not in SETS:
            raise UsageError(f"--conditions {named}: unknown; choose from {', '.join(SETS)}")
        if quota is not None or load is not None:
            raise UsageError("--conditions sets quotas and loads; leave --quota and --load out")
        quota, load = SETS[named]
    quotas = [parse_quota(part) for part in parts_of("--quota", quota or "none,50%")]
    loads = [parse_load(part) for part in parts_of("--load", load or "quiet,burn:1")]
    processors = [None] if gomaxprocs is None else [_processors(part) for part in parts_of("--gomaxprocs", gomaxprocs)]
    crossed = [Condition(*each) for each in itertools.product(quotas, loads, processors)]
    if load is None and Quota() in quotas and gomaxprocs is None:
        crossed += [Condition(Quota(), parse_load(each)) for each in COST_LOADS.split(",")] if every_cost else [COST]
    return tuple(dict.fromkeys(crossed))


def _processors(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PROCESSORS:
        raise UsageError(f"--gomaxprocs {text}: whole numbers from 1 to {MAX_PROCESSORS}, comma-separated")
    return int(text)


def requested_durations(text: str | None) -> tuple[int, ...]:
    """The durations of ``--requested 50us,1ms`` in ns, ascending. Raises UsageError."""
    if text is None:
        return DEFAULT_REQUESTED_NS
    values = sorted({parse_duration_ns(part) for part in parts_of("--requested", text)})
    if values[-1] > MAX_REQUESTED_NS:
        raise UsageError("--requested takes durations up to 10s")
    return tuple(values)


def parts_of(option: str, text: str) -> list[str]:
    """The parts of an option's text, by commas. Raises UsageError for none."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{option} is empty: give it a value, or leave it out")
    return parts
