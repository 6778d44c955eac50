"""Durations as people write them, kept as integers in nanoseconds."""

import re
from decimal import Decimal, InvalidOperation

from nanonap.base.errors import UsageError

_FACTORS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))
"""Units as people read them, the largest first, and what they are in nanoseconds."""
_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ns|us|µs|ms|s)\s*")


def parse_duration_ns(text: str) -> int:
    """``"50us"`` → 50_000 (ns). Units: ns, us, µs, ms, s; a fraction is allowed if it is whole nanoseconds.

    Raises UsageError for anything else, zero and negative included.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a duration: write a number and a unit, as in 50us, 1ms, 2.5s")
    try:
        value = Decimal(match[1]) * _FACTORS[match[2]]
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is not a duration: {match[1]} is not a number") from error
    if value <= 0 or value != int(value):
        raise UsageError(f"{text!r} is not a duration: it must be a whole, positive number of nanoseconds")
    return int(value)


def format_ns(value_ns: float) -> str:
    """A duration in nanoseconds for a person: three significant digits and a unit (``1.10 ms``, ``135 µs``)."""
    sign, size = ("−" if value_ns < 0 else ""), abs(value_ns)
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if round(size / scale, 3) >= 1:
            return f"{sign}{_three_digits(size / scale)} {unit}"
    return f"{sign}{size:.0f} ns"


def _three_digits(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def exact_ns(value_ns: int) -> str:
    """A duration in its largest exact unit, without a space, as options take it: 100_000 → ``100us``."""
    for unit, scale in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if value_ns and value_ns % scale == 0:
            return f"{value_ns // scale}{unit}"
    return f"{value_ns}ns"


def asked(requested_ns: int) -> str:
    """A requested duration, exactly: ``50 µs``."""
    unit, scale = next((pair for pair in UNITS if requested_ns >= pair[1]), UNITS[-1])
    return f"{requested_ns / scale:.10g} {unit}"
