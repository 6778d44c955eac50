"""What a CPU quota does to threads that are always busy, and to a sleeper in their group, by arithmetic alone.

The kernel gives a group Q of CPU time every period P, and stops its threads when that is used up until the next period
(Documentation/scheduler/sched-bwc.rst). m threads that run at once use it up after Q/m, so each period has a stall of
P − Q/m, and a sleep that ends at a random instant ends in it with the probability 1 − Q/(mP).

What is simplified:
- The busy threads are always ready, and nobody else wants their CPUs. Where others do, part of a stall is spent waiting
  for a CPU instead: measured stalls are shorter then, and the wait is a run-queue wait.
- CPUs take the quota in slices (kernel.sched_cfs_bandwidth_slice_us, 5 ms), and whether it is used up is looked at
  when the scheduler's tick comes (1 to 10 ms apart, by CONFIG_HZ). So a single stall begins up to ``granularity_ns``
  earlier or later on each CPU. What was used too much is owed: over many periods the share of time in stalls is exact.
  Where the granularity is more than Q/m, a debt takes whole periods to pay, and stalls of several periods come instead
  of one in each (``stall_range_ns``).
- The sleeper itself uses no CPU time to speak of, unless it is alone (``Sleeper``).
- A sleep's end is at a random instant of the period. One sleep after the other is not: each begins where the one
  before ended, in the part of the period in which the group runs.
- A sleeper stops with the busy threads. Where there are more CPUs than these run on, it may wake on another one, which
  has up to 1 ms of the quota left from before (min_cfs_rq_runtime in kernel/sched/fair.c), and is not stopped at all
  while that lasts: the figures for sleeps are upper bounds then (``may_escape``).
- Burst adds to the first periods after the group was idle for a period or more, and to none of a group that never is:
  there is nothing left over to be kept.
"""

import math
import os
from dataclasses import dataclass
from fractions import Fraction

from nanonap.base.durations import exact_ns
from nanonap.base.errors import UsageError
from nanonap.lab.quota.limits import MAX_PERIOD_NS, MIN_PERIOD_NS, MIN_QUOTA_NS, Quota

#: The kernel's default slice. It is above the tick of every usual kernel (250 and 1000 Hz).
GRANULARITY_NS = 5_000_000
MAX_THREADS, MAX_CPUS = 100_000, 10_000


@dataclass(frozen=True)
class Sleeper:
    """``count`` sleepers, each sleeping ``sleep_ns`` (as it lasts without a quota), then using ``wake_cpu_ns``."""

    sleep_ns: int
    wake_cpu_ns: int
    count: int = 1


@dataclass(frozen=True)
class Prediction:
    """What the model says of ``threads`` busy threads under ``quota``; times in ns, of wall time. See ``predict``."""

    quota: Quota
    threads: int
    cpus: int
    gomaxprocs: int | None = None
    granularity_ns: int = GRANULARITY_NS
    sleeper: Sleeper | None = None

    @property
    def busy(self) -> int:
        """How many threads run at once: no more than CPUs, nor than GOMAXPROCS where it is given."""
        return min(self.threads, self.cpus, self.threads if self.gomaxprocs is None else self.gomaxprocs)

    @property
    def throttled(self) -> bool:
        """Whether the busy threads want more than the quota."""
        return self.quota.quota_ns is not None and self.quota.quota_ns < self.busy * self.quota.period_ns

    @property
    def stall(self) -> Fraction:
        """P − Q/m exactly, ns; 0 where nothing is throttled."""
        if self.quota.quota_ns is None or not self.throttled:
            return Fraction(0)
        return self.quota.period_ns - Fraction(self.quota.quota_ns, self.busy)

    @property
    def stall_ns(self) -> int:
        """How long the group stands still in a period, on average."""
        return round(self.stall)

    @property
    def stall_range_ns(self) -> tuple[int, int]:
        """The shortest and the longest that a single stall may be, by the granularity and the debt that it makes."""
        if self.quota.quota_ns is None or not self.throttled:
            return 0, 0
        periods = 1 + self.busy * self.granularity_ns // self.quota.quota_ns
        longest = math.ceil(periods * self.stall) + self.granularity_ns
        return max(0, math.floor(self.stall) - self.granularity_ns), longest

    @property
    def run_ns(self) -> int:
        """How long the group runs in a period, on average."""
        return self.quota.period_ns - self.stall_ns

    @property
    def hit_probability(self) -> float:
        """Of a sleep that ends at a random instant: that this lies in a stall."""
        return float(self.stall / self.quota.period_ns)

    @property
    def late_mean_ns(self) -> int:
        """The mean lateness that stalls add to a sleep that ends at a random instant: S²/(2P)."""
        return round(self.stall**2 / (2 * self.quota.period_ns))

    @property
    def may_escape(self) -> bool:
        """Whether a sleeper can wake on a CPU that the busy threads leave alone."""
        return self.throttled and self.busy < self.cpus

    @property
    def late_mean_range_ns(self) -> tuple[int, int]:
        """The same with stalls of unequal length: Σs²/(2NP) is least when all are S, and most when all are longest.

        From 0 where the sleeper may escape.
        """
        most = self.stall * self.stall_range_ns[1] / (2 * self.quota.period_ns)
        return 0 if self.may_escape else self.late_mean_ns, math.ceil(most)

    def late_quantile_ns(self, q: float) -> int:
        """The lateness that the share ``q`` of the sleeps ending at random instants stays at or below."""
        return max(0, round(self.stall - (1 - Fraction(q)) * self.quota.period_ns))

    def late_probability(self, late_ns: int) -> float:
        """Of a sleep that ends at a random instant: to be late by more than this."""
        return float(max(Fraction(0), self.stall - late_ns) / self.quota.period_ns)

    @property
    def first_stall_after_ns(self) -> int | None:
        """How long busy threads run before their first stall, from a period's beginning after an idle one.

        The group has Q + B then. Each period takes mP and brings Q, until what is left does not last. None: no stall.
        """
        if self.quota.quota_ns is None or not self.throttled:
            return None
        period_ns, quota_ns = self.quota.period_ns, self.quota.quota_ns
        periods, left = divmod(self.quota.burst_ns, self.busy * period_ns - quota_ns)
        return periods * period_ns + round(Fraction(quota_ns + left, self.busy))

    @property
    def own_share(self) -> float | None:
        """How much of the quota the sleepers need for themselves; above 1 they stretch each other's sleeps.

        None without sleepers or without a quota.
        """
        if self.sleeper is None or self.quota.quota_ns is None:
            return None
        one = self.sleeper.sleep_ns + self.sleeper.wake_cpu_ns
        needed = Fraction(self.sleeper.count * self.sleeper.wake_cpu_ns * self.quota.period_ns, one)
        return float(needed / self.quota.quota_ns)

    @property
    def own_stretch(self) -> float | None:
        """By what factor sleeping and waking take longer where only the sleepers run: their rate is Q/(P·w) at most."""
        share = self.own_share
        return None if share is None else max(1.0, share)

    def to_json(self) -> dict[str, object]:
        """Every figure under its name, and what it was made from."""
        return {
            "quota": str(self.quota),
            "quota_ns": self.quota.quota_ns,
            "period_ns": self.quota.period_ns,
            "burst_ns": self.quota.burst_ns,
            "threads": self.threads,
            "cpus": self.cpus,
            "gomaxprocs": self.gomaxprocs,
            "busy": self.busy,
            "throttled": self.throttled,
            "may_escape": self.may_escape,
            "run_ns": self.run_ns,
            "stall_ns": self.stall_ns,
            "stall_range_ns": list(self.stall_range_ns),
            "granularity_ns": self.granularity_ns,
            "hit_probability": self.hit_probability,
            "late_mean_ns": self.late_mean_ns,
            "late_mean_range_ns": list(self.late_mean_range_ns),
            "late_p50_ns": self.late_quantile_ns(0.5),
            "late_p90_ns": self.late_quantile_ns(0.9),
            "late_p99_ns": self.late_quantile_ns(0.99),
            "late_max_ns": self.stall_range_ns[1],
            "first_stall_after_ns": self.first_stall_after_ns,
            "sleeper": None if self.sleeper is None else vars(self.sleeper),
            "own_share": self.own_share,
            "own_stretch": self.own_stretch,
        }


def predict(
    quota: Quota,
    threads: int,
    cpus: int | None = None,
    gomaxprocs: int | None = None,
    granularity_ns: int = GRANULARITY_NS,
    sleeper: Sleeper | None = None,
) -> Prediction:
    """The model's answer for ``threads`` busy threads. ``cpus`` None: those that this process may use.

    Raises UsageError for what the kernel would not take.
    """
    check_quota(quota)
    usable = len(os.sched_getaffinity(0)) if cpus is None else cpus
    for name, value, least, most in (
        ("threads", threads, 0, MAX_THREADS),
        ("CPUs", usable, 1, MAX_CPUS),
        ("GOMAXPROCS", gomaxprocs, 1, MAX_THREADS),
        ("sleepers", sleeper.count if sleeper else None, 1, MAX_THREADS),
        ("ns of a sleep", sleeper.sleep_ns if sleeper else None, 1, MAX_PERIOD_NS * 1_000),
        ("ns of CPU time per wake-up", sleeper.wake_cpu_ns if sleeper else None, 1, MAX_PERIOD_NS),
        ("ns of granularity", granularity_ns, 0, MAX_PERIOD_NS),
    ):
        if value is not None and not least <= value <= most:
            raise UsageError(f"{value} {name}: the model takes {least} to {most}")
    return Prediction(quota, threads, usable, gomaxprocs, granularity_ns, sleeper)


def check_quota(quota: Quota) -> None:
    """Raises UsageError for a quota, a period or a burst outside the kernel's limits (kernel/sched/core.c)."""
    if not MIN_PERIOD_NS <= quota.period_ns <= MAX_PERIOD_NS:
        raise UsageError(f"a period of {exact_ns(quota.period_ns)}: the kernel takes 1ms to 1s")
    if quota.quota_ns is None:
        return
    if quota.quota_ns < MIN_QUOTA_NS:
        raise UsageError(f"a quota of {exact_ns(quota.quota_ns)} per period: the kernel takes 1ms at least")
    if not 0 <= quota.burst_ns <= quota.quota_ns:
        raise UsageError(f"a burst of {exact_ns(quota.burst_ns)}: the kernel takes up to the quota")
