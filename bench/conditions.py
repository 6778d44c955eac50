"""Conditions: what surrounds a sleeper in a run (its quota and its neighbours), as options write them."""

import itertools
import re
from dataclasses import dataclass

from bench.quota.base import Quota, parse_quota
from nanonap.durations import parse_duration_ns
from nanonap.errors import UsageError

DEFAULT_REQUESTED_NS = (50_000, 100_000, 500_000, 1_000_000, 5_000_000, 100_000_000)
MAX_REQUESTED_NS = 10_000_000_000
MAX_NEIGHBOURS = 1_000
# The cost workload: sleepers on absolute schedules, each a little after the one before, so that every wake-up
# stands alone. On relative schedules they fall into step, wake together, and the cost of precision cannot be seen.
SLEEPERS_INTERVAL_NS = 1_000_000
SLEEPERS_PHASE_NS = 20_000
_LOAD = re.compile(r"quiet|(burn|sleepers):([0-9]+)")


@dataclass(frozen=True)
class Load:
    """``quiet`` (one sleeper), ``burn:N`` (beside N CPU-burning goroutines) or ``sleepers:N`` (the cost workload)."""

    kind: str
    count: int = 0

    def __str__(self) -> str:
        """As options write it."""
        return self.kind if self.kind == "quiet" else f"{self.kind}:{self.count}"


QUIET = Load("quiet")
COST_LOAD = Load("sleepers", 50)


def parse_load(text: str) -> Load:
    """``quiet``, ``burn:1``, ``sleepers:50``. Raises UsageError."""
    match = _LOAD.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a load: write quiet, burn:1 (CPU burners) or sleepers:50")
    if match[1] is None:
        return QUIET
    count = int(match[2])
    if not 1 <= count <= MAX_NEIGHBOURS:
        raise UsageError(f"{text!r}: the number of {match[1]} is from 1 to {MAX_NEIGHBOURS}")
    return Load(match[1], count)


@dataclass(frozen=True)
class Condition:
    """A quota and a load."""

    quota: Quota
    load: Load

    def __str__(self) -> str:
        """For a person."""
        return f"quota {self.quota}, load {self.load}"


PRIMARY = Condition(Quota(), QUIET)
COST = Condition(Quota(), COST_LOAD)


def conditions(quota: str | None, load: str | None) -> tuple[Condition, ...]:
    """Every quota of ``--quota`` with every load of ``--load``; by default none and 50% with quiet and burn:1, and
    the cost workload without quota. Raises UsageError.
    """
    quotas = [parse_quota(part) for part in _parts("--quota", quota or "none,50%")]
    loads = [parse_load(part) for part in _parts("--load", load or "quiet,burn:1")]
    crossed = [Condition(*pair) for pair in itertools.product(quotas, loads)]
    if load is None and Quota() in quotas:
        crossed.append(COST)
    return tuple(dict.fromkeys(crossed))


def requested_durations(text: str | None) -> tuple[int, ...]:
    """The durations of ``--requested 50us,1ms`` in ns, ascending. Raises UsageError."""
    if text is None:
        return DEFAULT_REQUESTED_NS
    values = sorted({parse_duration_ns(part) for part in _parts("--requested", text)})
    if values[-1] > MAX_REQUESTED_NS:
        raise UsageError("--requested takes durations up to 10s: a run must end")
    return tuple(values)


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{option} is empty")
    return parts
