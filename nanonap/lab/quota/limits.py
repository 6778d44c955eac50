"""What a group may use, as options write it: quota, period, burst, weight, memory."""

import re
from dataclasses import dataclass
from decimal import Decimal

from nanonap.base.durations import exact_ns, parse_duration_ns
from nanonap.base.errors import UsageError

DEFAULT_PERIOD_NS = 100_000_000
# Documentation/scheduler/sched-bwc.rst, and min/max_cfs_quota_period in kernel/sched/core.c.
MIN_QUOTA_NS = 1_000_000
MIN_PERIOD_NS = 1_000_000
MAX_PERIOD_NS = 1_000_000_000
MIN_WEIGHT, MAX_WEIGHT = 1, 10_000  # CGROUP_WEIGHT_MIN and _MAX in include/linux/cgroup.h
PAGE = 4096
_NUMBER = r"[0-9]{1,6}(?:\.[0-9]{1,9})?"
_PATTERN = re.compile(rf"(?P<value>{_NUMBER})(?P<unit>%|m|cpu)(?:/(?P<period>[^+]+))?(?:\+burst=(?P<burst>.+))?")
_OF_A_CPU = {"%": 100, "m": 1000, "cpu": 1}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_HOW = "write none, 50% (of one CPU), 500m or 2cpu, with a period 50%/10ms, with burst 50%/10ms+burst=5ms"


@dataclass(frozen=True)
class Quota:
    """CPU time per period, and how much of what was left over may be added to it later, in ns.

    ``quota_ns`` None means no limit.
    """

    quota_ns: int | None = None
    period_ns: int = DEFAULT_PERIOD_NS
    burst_ns: int = 0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.quota_ns is not None

    def __str__(self) -> str:
        """As options write it: ``none``, ``50%``, ``50%/10ms``, ``50%+burst=50ms``."""
        if self.quota_ns is None:
            return "none"
        percent = (Decimal(self.quota_ns) * 100 / Decimal(self.period_ns)).normalize()
        period = "" if self.period_ns == DEFAULT_PERIOD_NS else f"/{exact_ns(self.period_ns)}"
        burst = f"+burst={exact_ns(self.burst_ns)}" if self.burst_ns else ""
        return f"{percent:f}%{period}{burst}"


@dataclass(frozen=True)
class Limits:
    """Everything that a group can be given; None leaves the kernel's default.

    ``weight`` is cgroup v2's cpu.weight, 100 by default; ``memory_bytes`` is memory.max.
    """

    quota: Quota = Quota()
    weight: int | None = None
    memory_bytes: int | None = None

    @property
    def limited(self) -> bool:
        """Whether anything is asked for."""
        return self.quota.limited or self.weight is not None or self.memory_bytes is not None

    def __str__(self) -> str:
        """For a person."""
        weight = "" if self.weight is None else f", cpu.weight {self.weight}"
        memory = "" if self.memory_bytes is None else f", memory.max {self.memory_bytes}"
        return f"{self.quota}{weight}{memory}"

    def kept_by(self, effective: "Limits") -> bool:
        """Whether ``effective``, as the kernel tells it, is what was asked for here."""
        return (
            (effective.quota == self.quota if self.quota.limited else not effective.quota.limited)
            and self.weight in (None, effective.weight)
            and self.memory_bytes in (None, effective.memory_bytes)
        )


def parse_quota(text: str) -> Quota:
    """A quota as options write it: ``none``; ``50%`` (of one CPU, every 100 ms), ``500m`` (thousandths of a CPU) or
    ``2cpu``; each with ``/PERIOD`` and ``+burst=TIME`` behind it.

    Raises UsageError, naming the kernel's limit that it breaks.
    """
    if text == "none":
        return Quota()
    if text == "0":
        raise UsageError(f"{text!r}: nothing could run in a group without CPU time; for no limit write none")
    if text.startswith("-"):
        raise UsageError(f"{text!r} is not a quota: for no limit write none (cgroup v1 spells it -1, v2 max)")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a quota: {_HOW}")
    period_ns = parse_duration_ns(match["period"]) if match["period"] else DEFAULT_PERIOD_NS
    if not MIN_PERIOD_NS <= period_ns <= MAX_PERIOD_NS or period_ns % 1_000:
        raise UsageError(f"{text!r}: the kernel takes periods of whole µs from 1ms to 1s, not {match['period']}")
    asked = f"{match['value']}{match['unit']} of {exact_ns(period_ns)}"
    quota = Decimal(match["value"]) * period_ns / _OF_A_CPU[match["unit"]]
    if quota == 0:
        raise UsageError(f"{text!r}: nothing could run in a group without CPU time; for no limit write none")
    if quota < MIN_QUOTA_NS or quota % 1_000:
        least = f"; with {match['value']}{match['unit']} take a longer period" if quota < MIN_QUOTA_NS else ""
        raise UsageError(
            f"{text!r}: the kernel takes quotas of whole µs, at least 1ms per period; {asked} is not{least}"
        )
    return Quota(int(quota), period_ns, _burst(text, match["burst"], int(quota)))


def _burst(text: str, written: str | None, quota_ns: int) -> int:
    if written is None:
        return 0
    burst_ns = parse_duration_ns(written)
    if burst_ns % 1_000:
        raise UsageError(f"{text!r}: the kernel takes bursts of whole µs, not {written}")
    if burst_ns > quota_ns:  # tg_set_cfs_bandwidth in kernel/sched/core.c
        raise UsageError(f"{text!r}: the kernel takes bursts up to the quota, {exact_ns(quota_ns)}, not {written}")
    return burst_ns


def parse_weight(text: str) -> int:
    """``--cpu-weight``. Raises UsageError."""
    if not text.isdecimal() or not MIN_WEIGHT <= int(text) <= MAX_WEIGHT:
        raise UsageError(f"--cpu-weight {text}: a whole number from {MIN_WEIGHT} to {MAX_WEIGHT} (100 is the default)")
    return int(text)


def parse_memory(text: str) -> int:
    """``--memory-max``: bytes, or with K, M, G (powers of 1024). Raises UsageError."""
    match = re.fullmatch(r"([0-9]+)([KMG]?)", text)
    value = int(match[1]) * _BYTES[match[2]] if match else 0
    if not 1 << 20 <= value < 1 << 62:
        raise UsageError(f"--memory-max {text}: write bytes, or a number with K, M or G; at least 1M")
    if value % PAGE:  # page_counter_memparse in mm/page_counter.c counts whole pages
        raise UsageError(f"--memory-max {text}: the kernel counts pages of {PAGE} bytes; write a multiple")
    return value
