"""What the data of ``skew`` say to the claim."""

from collections.abc import Sequence

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, outcome_of
from nanonap.lab.experiments.skew import shares
from nanonap.lab.experiments.skew.recorder import BPFTRACE
from nanonap.lab.experiments.skew.rows import SLEEP, STAT, TIMERFD

#: The claim is of Go as it is.
_JUDGED = "stock"
_SAYS = "a sleep's wake-up is delayed by at most 10 µs in 68 %, by 10 to 50 µs in 27 %, by more in 5 % of cases"


def verdict(data: pl.DataFrame) -> Verdict:
    """E2, of stock's sleeps, from expiry and from the deadline; the literal pair is told beside it."""
    marks = data["mark"].drop_nulls().to_list()
    whole, ended = shares.seen_whole(data, _JUDGED)
    if not ended:
        return Verdict("E2", _SAYS, "cannot be tested here", "no wake-up of a sleep was recorded", {})
    if not shares.is_covered(data, _JUDGED):
        sentence = ". ".join([*marks[:1], _uncovered(data, whole, ended), _literal(data)])
        return Verdict("E2", _SAYS, "not settled", sentence, {"seen_whole": [whole, ended]})
    cost = shares.cost_of_recording(data)
    parts = [shares.as_claimed(data, _JUDGED, reading, cost) for reading in shares.READINGS]
    # What is emulated has no microseconds to speak of.
    outcome: Outcome = outcome_of(parts) if not marks else "cannot be tested here"
    sentence = f"of {whole} wake-ups of stock sleeps, {_told(data)} (≤ 10, 10–50, > 50 µs; claimed 68, 27, 5 %)"
    if marks:
        sentence = f"{marks[0]}: {sentence}"
    sentence = f"{sentence}. {_costs(data, cost)}"
    if None in parts and not marks:
        sentence += f"; {TOO_FEW if _by_chance(data, cost) else 'so much leaves it open'}"
    return Verdict("E2", _SAYS, outcome, f"{sentence}. {_literal(data)}", _figures(data, cost))


def _uncovered(data: pl.DataFrame, whole: int, ended: int) -> str:
    lacks = data.filter(pl.col("part") == "lack", pl.col("what") == BPFTRACE)["missing"].to_list()
    remedy = f"bpftrace sees nearly all: {lacks[0]}" if lacks else "bpftrace sees nearly all"
    return (
        f"by {shares.primary(data)} {whole} of {ended} wake-ups of stock sleeps were seen until the thread ran, fewer "
        f"than {shares.COVERAGE:.0%} of them, and which these are is no matter of chance; {remedy}"
    )


def _told(data: pl.DataFrame, less_ns: float = 0) -> str:
    found = {reading: shares.by_class(data, _JUDGED, reading, less_ns) for reading in shares.READINGS}
    return "; ".join(f"{reading}: {_three(each)}" for reading, each in found.items() if each is not None)


def _three(found: Sequence[Ratio]) -> str:
    return ", ".join(shares.share_text(share) for share in found)


def _costs(data: pl.DataFrame, cost: Ratio | None) -> str:
    """What recording adds, and what the shares are without it."""
    if cost is None:
        return "What recording costs is not known: there are no runs without it"
    bounds = "" if cost.interval is None else " [{:.1f}, {:.1f}]".format(*(each / 1_000 for each in cost.interval))
    told = f"Recorded, sleeps of all programs end {cost.value / 1_000:.1f}{bounds} µs later"
    if cost.value <= 0:
        return told
    return (
        f"{told}; how much of that lies in these delays is not known, so the share ≤ {shares.EDGES[0] // 1_000} µs is "
        f"a lower bound. With all of it taken off: {_told(data, cost.value)}"
    )


def _by_chance(data: pl.DataFrame, cost: Ratio | None) -> bool:
    """Whether more runs would help: without what recording costs, the shares do not settle it either."""
    if cost is None or cost.interval is None:
        return True
    nothing = Ratio(0.0, [0.0, 0.0])
    return any(shares.as_claimed(data, _JUDGED, reading, nothing) is None for reading in shares.READINGS)


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
    slept = data.filter(pl.col("part") == SLEEP, pl.col("slept_ns").is_not_null())
    if slept.height:
        told += f"; {STAT} told of {slept.height} sleeps how long the thread slept, not how late it was"
    lack = data.filter(pl.col("part") == "lack", pl.col("what") == STAT)
    return told + (f"; {STAT} is not to be had here: {lack['missing'][0]}" if lack.height else "")


def _median(data: pl.DataFrame, column: str) -> float | None:
    value = data[column].median()
    return float(value) if isinstance(value, int | float) else None


def _figures(data: pl.DataFrame, cost: Ratio | None) -> dict[str, object]:
    arms = data.filter(pl.col("part") == SLEEP)["arm"].unique(maintain_order=True).to_list()
    beside = {arm: shares.by_class(data, arm, shares.FROM_EXPIRY) for arm in arms if arm != _JUDGED}
    less_ns = 0.0 if cost is None else max(cost.value, 0.0)
    return {
        "method": shares.primary(data),
        "claimed": list(shares.CLAIMED),
        "shares": {reading: _json(shares.by_class(data, _JUDGED, reading)) for reading in shares.READINGS},
        "recording_costs_ns": None if cost is None else cost.to_json(),
        "shares_without_it": {
            reading: _json(shares.by_class(data, _JUDGED, reading, less_ns)) for reading in shares.READINGS
        },
        "expiry_to_running_of_others": {arm: _json(each) for arm, each in beside.items()},
    }


def _json(found: list[Ratio] | None) -> list[dict[str, object]] | None:
    return None if found is None else [share.to_json() for share in found]
