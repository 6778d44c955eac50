"""Shares of wake-ups by their length beside the claimed ones."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from bench.experiments.base import Outcome, Verdict
from bench.experiments.figures import TOO_FEW, Ratio, outcome_of, ratio_of
from bench.experiments.skew_recorder import BPFTRACE, TRACEFS
from bench.experiments.skew_rows import STAT, TIMERFD
from nanonap.durations import format_ns

#: The classes' bounds in ns, and how many of a hundred are claimed to be in each.
EDGES = (10_000, 50_000)
CLASSES = ("≤ 10 µs", "10–50 µs", "> 50 µs")
CLAIMED = (0.68, 0.27, 0.05)
#: A share is the claimed one if its whole interval lies within this of it.
WITHIN = 0.10
FROM_EXPIRY, FROM_DEADLINE, FROM_ASKED = "expiry → running", "deadline → running", "asked → running"
#: The stages that make up each reading.
READINGS = {
    FROM_EXPIRY: ("wakeup_ns", "running_ns"),
    FROM_DEADLINE: ("expiry_ns", "wakeup_ns", "running_ns"),
    FROM_ASKED: ("rounding_ns", "expiry_ns", "wakeup_ns", "running_ns"),
}
#: The claim is of Go as it is, and of these two; the third holds what the Go runtime adds before.
_JUDGED = "stock"
_TWO = (FROM_EXPIRY, FROM_DEADLINE)


def primary(data: pl.DataFrame) -> str:
    """The way of recording whose sleeps are judged: bpftrace where there is it, since it has nanoseconds."""
    return BPFTRACE if BPFTRACE in set(data["method"]) else TRACEFS


def delays(data: pl.DataFrame, arm: str, reading: str, method: str | None = None) -> pl.DataFrame:
    """``block`` and ``ns`` of an arm's wake-ups that were seen from end to end."""
    part = TIMERFD if arm == TIMERFD else "sleep"
    wanted = TRACEFS if arm == TIMERFD else method or primary(data)
    own = data.filter(pl.col("part") == part, pl.col("arm") == arm, pl.col("method") == wanted)
    ns = pl.sum_horizontal(READINGS[reading], ignore_nulls=False)
    return own.select(pl.col("block").fill_null(0), ns.alias("ns")).drop_nulls()


def shares(data: pl.DataFrame, arm: str, reading: str) -> list[Ratio] | None:
    """Of each class its share, with an interval over the runs; None where there is nothing."""
    found = delays(data, arm, reading)
    low, high = EDGES
    counted = found.group_by("block").agg(
        (pl.col("ns") <= low).sum().alias("0"),
        pl.col("ns").is_between(low, high, closed="right").sum().alias("1"),
        (pl.col("ns") > high).sum().alias("2"),
        pl.len().alias("all"),
    )
    counted = counted.sort("block")
    each = [ratio_of(counted[name].to_list(), counted["all"].to_list()) for name in ("0", "1", "2")]
    return None if None in each else [ratio for ratio in each if ratio is not None]


def share_text(share: Ratio) -> str:
    """A share with its interval: ``68 % [66, 70]``."""
    bounds = "" if share.interval is None else f" [{100 * share.interval[0]:.0f}, {100 * share.interval[1]:.0f}]"
    return f"{100 * share.value:.0f} %{bounds}"


def as_claimed(found: Sequence[Ratio] | None) -> bool | None:
    """Whether the shares are the claimed ones; None if the runs do not settle it."""
    if found is None:
        return None
    parts = [share.within(claimed - WITHIN, claimed + WITHIN) for share, claimed in zip(found, CLAIMED, strict=True)]
    return False if False in parts else None if None in parts else True


def verdict(data: pl.DataFrame) -> Verdict:
    """E2, of stock's sleeps, from expiry and from the deadline; the literal pair is told beside it."""
    says = "a sleep's wake-up is delayed by at most 10 µs in 68 %, by 10 to 50 µs in 27 %, by more in 5 % of cases"
    found = {reading: shares(data, _JUDGED, reading) for reading in READINGS}
    parts = [as_claimed(found[reading]) for reading in _TWO]
    marks = data["mark"].drop_nulls().to_list()
    # What is emulated has no microseconds to speak of.
    outcome: Outcome = outcome_of(parts) if not marks else "cannot be tested here"
    told = [f"{reading}: {_three(each)}" for reading, each in found.items() if each is not None]
    if not told:
        return Verdict("E2", says, outcome, "no wake-up of a sleep was recorded", {})
    count = delays(data, _JUDGED, FROM_EXPIRY).height
    sentence = f"of {count} wake-ups of stock sleeps, {'; '.join(told)} (≤ 10, 10–50, > 50 µs; claimed 68, 27, 5 %)"
    if marks:
        sentence = f"{marks[0]}: {sentence}"
    elif None in parts:
        sentence += f"; {TOO_FEW}"
    sentence = f"{sentence}. {_literal(data)}"
    return Verdict("E2", says, outcome, sentence, _figures(data, found))


def _three(found: Sequence[Ratio]) -> str:
    return ", ".join(share_text(share) for share in found)


def _literal(data: pl.DataFrame) -> str:
    """What the pair of events is that the claim names."""
    recordings = data.filter(pl.col("part") == "recording", pl.col("arm").is_null() | (pl.col("arm") != TIMERFD))
    calls = int(recordings["timerfd"].sum())
    told = f"The pair that the claim names: {recordings['sleeps'].sum()} Go sleeps called timerfd_settime {calls} times"
    waits = data.filter(pl.col("part") == TIMERFD)
    pair = _median(waits, "pair_ns")
    if pair is not None:
        end = STAT if _median(waits, "slept_ns") is not None else "the wake-up"
        told += (
            f"; in a program that arms a timerfd for {format_ns(_median(waits, 'requested_ns') or 0)}, from the call "
            f"to {end} is {format_ns(pair)} at the median: the length of the sleep, not a delay"
        )
    slept = data.filter(pl.col("part") == "sleep", pl.col("slept_ns").is_not_null())
    if slept.height:
        told += f"; {STAT} told of {slept.height} sleeps how long the thread slept, not how late it was"
    lack = data.filter(pl.col("part") == "lack", pl.col("what") == STAT)
    return told + (f"; {STAT} is not to be had here: {lack['missing'][0]}" if lack.height else "")


def _median(data: pl.DataFrame, column: str) -> float | None:
    value = data[column].median()
    return float(value) if isinstance(value, int | float) else None


def _figures(data: pl.DataFrame, found: dict[str, list[Ratio] | None]) -> dict[str, Any]:
    arms = data.filter(pl.col("part") == "sleep")["arm"].unique(maintain_order=True).to_list()
    beside = {arm: shares(data, arm, FROM_EXPIRY) for arm in arms if arm != _JUDGED}
    return {
        "method": primary(data),
        "claimed": list(CLAIMED),
        "shares": {reading: _json(each) for reading, each in found.items()},
        "expiry_to_running_of_others": {arm: _json(each) for arm, each in beside.items()},
    }


def _json(found: list[Ratio] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [share.to_json() for share in found]
