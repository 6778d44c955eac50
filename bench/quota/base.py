"""The one face of every way to limit CPU: open a group, run commands inside, read its counters, close it."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import ClassVar, Self

from nanonap.durations import exact_ns, parse_duration_ns
from nanonap.errors import UsageError

DEFAULT_PERIOD_NS = 100_000_000
# Documentation/scheduler/sched-bwc.rst, and min/max_cfs_quota_period in kernel/sched/core.c.
MIN_QUOTA_NS = 1_000_000
MIN_PERIOD_NS = 1_000_000
MAX_PERIOD_NS = 1_000_000_000
_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)%(?:/(.+))?")


@dataclass(frozen=True)
class Quota:
    """CPU time per period, in ns; ``quota_ns`` None means no limit."""

    quota_ns: int | None = None
    period_ns: int = DEFAULT_PERIOD_NS

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.quota_ns is not None

    def __str__(self) -> str:
        """As options write it: ``none``, ``50%``, ``50%/10ms``."""
        if self.quota_ns is None:
            return "none"
        percent = (Decimal(self.quota_ns) * 100 / Decimal(self.period_ns)).normalize()
        period = "" if self.period_ns == DEFAULT_PERIOD_NS else f"/{exact_ns(self.period_ns)}"
        return f"{percent:f}%{period}"


def parse_quota(text: str) -> Quota:
    """``none``, ``50%`` (of one CPU, every 100 ms) or ``50%/10ms``. Raises UsageError, naming the kernel's limit."""
    if text == "none":
        return Quota()
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a quota: write none, 50% (of one CPU) or 50%/10ms (with its period)")
    period_ns = parse_duration_ns(match[2]) if match[2] else DEFAULT_PERIOD_NS
    if not MIN_PERIOD_NS <= period_ns <= MAX_PERIOD_NS or period_ns % 1_000:
        raise UsageError(f"{text!r}: the kernel takes periods of whole µs from 1ms to 1s, not {match[2]}")
    quota_ns = Decimal(match[1]) * period_ns / 100
    if quota_ns < MIN_QUOTA_NS or quota_ns % 1_000:
        asked = f"{match[1]}% of {exact_ns(period_ns)}"
        raise UsageError(f"{text!r}: the kernel takes quotas of whole µs, at least 1ms a period; {asked} is not")
    return Quota(int(quota_ns), period_ns)


@dataclass(frozen=True)
class Throttling:
    """A group's counters: periods with the timer active, those with a stop, time stopped (summed over CPUs)."""

    nr_periods: int
    nr_throttled: int
    throttled_ns: int

    def since(self, before: "Throttling") -> "Throttling":
        """The difference to an earlier reading."""
        return Throttling(
            self.nr_periods - before.nr_periods,
            self.nr_throttled - before.nr_throttled,
            self.throttled_ns - before.throttled_ns,
        )


class Group(ABC):
    """An open group: ``effective`` is what the kernel says it set, read back."""

    effective: Quota

    @abstractmethod
    def command(self, argv: Sequence[str]) -> list[str]:
        """The argument vector that runs ``argv`` inside from its first instruction on."""

    @abstractmethod
    def counters(self) -> Throttling | None:
        """The counters now; None where the machine keeps none."""

    @abstractmethod
    def close(self) -> None:
        """End what still runs inside and remove the group. Safe to call twice."""

    def __enter__(self) -> Self:
        """The group itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close, whatever happened."""
        self.close()


class Backend(ABC):
    """A way to limit CPU on this machine."""

    name: ClassVar[str]

    @abstractmethod
    def prepare(self) -> None:
        """Find where groups go and remove those of dead processes. Raises QuotaUnavailable with reason and remedy."""

    @abstractmethod
    def open(self, quota: Quota) -> Group:
        """A new group with this quota, read back. Raises QuotaUnavailable."""

    @abstractmethod
    def close(self) -> None:
        """Put back what prepare() changed."""
