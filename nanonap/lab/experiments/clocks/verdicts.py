"""What the data of ``clocks`` say to the claim, part by part: ratios to what is claimed, with intervals over runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.clocks.runs import NOT_TOLD, READABLE
from nanonap.lab.experiments.clocks.steps import Steps, grain_by, grain_of, of
from nanonap.lab.experiments.kit.base import Verdict
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, outcome_of, ratio_by_block, ratio_of

#: A step is as claimed if it is no further from that than readings in whole ns tell.
STEP_WITHIN_NS = 1
#: So many runs must have shown it.
_FEWEST_RUNS = 3
#: Jitter of ± so much holds if this share of the steps is so near their median.
WITHIN = 0.95
#: A call that makes a system call costs what the system call does, give or take this factor; through the vDSO it must
#: cost less than the reciprocal.
SAME_COST = 1.5
#: What is claimed, ns.
STEP_NS = {"nanotime": 1, "syscall": 15}
JITTER_NS = {"nanotime": 5, "syscall": 20}
COST_NS = (100, 300)
#: More than this of the calls and they are not through the vDSO; the program makes a few around its loops.
_FEW_CALLS = 0.01
_SAYS = (
    "through the vDSO, runtime.nanotime steps by 1 ns at least, with a jitter of ±5 ns; the real clock_gettime system "
    "call steps by 15 ns at least, with ±20 ns, and costs 100 to 300 ns"
)
_FALLS_BACK = "with a clock source that user space cannot read, nanotime costs what the system call costs"


@dataclass(frozen=True)
class Part:
    """A part of the claim: what was seen, whether it holds (None: not settled), and the ratio behind it."""

    name: str
    seen: str
    holds: bool | None
    ratio: Ratio | None = None


def claimed(data: pl.DataFrame) -> Verdict:
    """T3, of the machine's own clock source."""
    runs = measured(data)
    native = runs.filter(pl.col("mark").is_null())
    if native.is_empty():
        marks = runs["mark"].drop_nulls().unique().to_list()
        reason = f"these runs are {marks[0]}" if marks else "no run gave data"
        sentence = f"{reason}; leave --backend guest out, on the machine in question"
        return Verdict("T3", _SAYS, "cannot be tested here", sentence)
    clocksource = main_clocksource(native)
    own = native.filter(pl.col("clocksource") == clocksource)
    parts = [
        *(part for source in ("nanotime", "syscall") for part in (_step(own, source), _jitter(own, source))),
        _cost(own),
        _by_vdso(data, clocksource),
    ]
    told = [f"clock source {clocksource}"]
    for heading, holds in (("Holds", True), ("Does not hold", False), ("Not settled", None)):
        seen = [part.seen for part in parts if part.holds is holds]
        told += [f"{heading}: {'; '.join(seen)}"] if seen else []
    told += [TOO_FEW.capitalize()] if any(part.holds is None and part.ratio is not None for part in parts) else []
    figures = {
        part.name: {"holds": part.holds, "ratio": part.ratio.to_json() if part.ratio else None} for part in parts
    }
    sentence = ". ".join([*told, "; ".join(_more(own, clocksource))])
    outcome = outcome_of([part.holds for part in parts])
    return Verdict("T3", _SAYS, outcome, sentence, {"clocksource": clocksource, "counter_ns": grain_of(own), **figures})


def measured(data: pl.DataFrame) -> pl.DataFrame:
    """The rows of runs that gave readings."""
    return data.filter(pl.col("kind") == "run", pl.col("missing").is_null())


def main_clocksource(runs: pl.DataFrame) -> str:
    """The clock source that the claim is about: one that the vDSO can read, if there are runs of one."""
    found: list[str] = runs["clocksource"].unique(maintain_order=True).to_list()
    return next((each for each in found if each in READABLE), found[0])


def _per_run(own: pl.DataFrame, source: str, figure: Callable[[Steps], float]) -> list[float]:
    runs = of(own, {"source": source, "series": "monotonic"})
    return [figure(Steps(runs[place])) for place in range(runs.height)]


def _step(own: pl.DataFrame, source: str) -> Part:
    """The clock's, which is the counter's: what lies between two readings is a reading's cost at least."""
    name, claim = f"{source} step", STEP_NS[source]
    runs = of(own, {"source": source, "series": "monotonic"})
    least, grain = runs["least_ns"].drop_nulls().to_list(), grain_by(own, source)
    if not least:
        return Part(name, f"{_name(source)} was not measured", None)
    spread = f"{min(least)} ns" if min(least) == max(least) else f"{min(least)} to {max(least)} ns"
    moves = "how finely is not told" if grain is None else f"in steps of {grain} ns"
    seen = f"by {_name(source)} the clock moves {moves} (claimed: {claim} ns), and the least between two is {spread}"
    cost = float(runs["typical_ns"].to_numpy().mean())
    if min(cost, *least) > claim + STEP_WITHIN_NS:
        seen += f", since a reading costs {format_ns(cost)}: no two are {claim} ns apart"
    known = grain is not None and len(least) >= _FEWEST_RUNS
    return Part(name, seen, abs(grain - claim) <= STEP_WITHIN_NS if known and grain is not None else None)


def _jitter(own: pl.DataFrame, source: str) -> Part:
    name, claim = f"{source} jitter", JITTER_NS[source]
    shares = _per_run(own, source, lambda steps: steps.near_median(claim))
    ratio = ratio_of(shares, [WITHIN] * len(shares))
    if ratio is None:
        return Part(name, f"{_name(source)} has no jitter measured", None)
    whole = Steps(of(own, {"source": source, "series": "monotonic"}))
    percent = _percent(ratio, WITHIN)
    seen = (
        f"{percent} of the steps of {_name(source)} are within ±{claim} ns of the median {whole.quantile(0.5)} ns "
        f"(p99 − p50 {whole.quantile(0.99) - whole.quantile(0.5)} ns, MAD {whole.deviation_ns()} ns)"
    )
    return Part(name, seen, ratio.within(1, float("inf")), ratio)


def _percent(ratio: Ratio, base: float) -> str:
    bounds = (
        "" if ratio.interval is None else " [{:.1f}, {:.1f}]".format(*(100 * base * each for each in ratio.interval))
    )
    return f"{100 * base * ratio.value:.1f}{bounds} %"


def _cost(own: pl.DataFrame) -> Part:
    runs = of(own, {"source": "syscall", "series": "monotonic"})
    costs = runs["typical_ns"].to_list()
    ratio = ratio_of(costs, [1.0] * len(costs))  # over 1 ns: the mean over runs and its interval
    if ratio is None:
        return Part("syscall cost", "the cost of the system call was not measured", None)
    bounds = "" if ratio.interval is None else " [{:.0f}, {:.0f}]".format(*ratio.interval)
    beside = cost_ratio(own, "syscall", "nanotime")
    seen = f"the system call costs {ratio.value:.0f}{bounds} ns" + (f", {beside} nanotime" if beside else "")
    return Part("syscall cost", seen, ratio.within(*COST_NS), ratio)


def cost_ratio(runs: pl.DataFrame, source: str, base: str) -> Ratio | None:
    """A reading's cost over that of another source, of the same blocks; the runs are of one clock source."""
    which = [{"kind": "run", "source": name, "series": "monotonic"} for name in (source, base)]
    return ratio_by_block(runs, "typical_ns", *which)


def _by_vdso(data: pl.DataFrame, clocksource: str) -> Part:
    name = "nanotime through the vDSO"
    counts = data.filter(pl.col("kind") == "count")
    found = counted(data, clocksource)
    if found is None:
        reason = next(iter(counts["missing"].drop_nulls().to_list()), "no system call was counted")
        return Part(name, f"whether nanotime makes system calls is not known ({reason})", None)
    share, seen = found
    return Part(name, seen, share <= _FEW_CALLS)


def counted(data: pl.DataFrame, clocksource: str) -> tuple[float, str] | None:
    """clock_gettime(2) a reading by nanotime, and the same in words; None where it was not counted."""
    rows = data.filter(pl.col("kind") == "count", pl.col("clocksource") == clocksource, pl.col("counted").is_not_null())
    found = {row["source"]: row for row in rows.to_dicts()}
    if not {"nanotime", "syscall"} <= found.keys():
        return None
    own, control = found["nanotime"], found["syscall"]
    seen = (
        f"{own['counter']} saw {own['counted']:,} clock_gettime system calls in a process that calls nanotime "
        f"{own['calls']:,} times, {control['counted']:,} where it makes as many system calls"
    )
    return own["counted"] / own["calls"], seen


def _more(own: pl.DataFrame, clocksource: str) -> Iterator[str]:
    """What bounds the steps, and whether time ran backwards."""
    grain = grain_of(own)
    runs = of(own, {"source": "nanotime", "series": "monotonic"})
    if runs.height and Steps(runs).total:
        yield f"Two readings in a row by nanotime are {apart(runs):.2g} times what one costs apart (median)"
    if grain is not None and grain > 1:
        yield f"the counter behind {clocksource} moves by {grain} ns, and so do all readings, though the unit is 1 ns"
    steady = own.filter(pl.col("series") == "monotonic")
    back, across = int(steady["backward"].sum()), int(steady["across_backward"].sum())
    readings = sum(Steps(steady[place]).total for place in range(steady.height)) + back
    turns = int(steady["across_readings"].sum())
    other = f", {across:,} of {turns:,} by turns on two CPUs" if turns else ""
    yield f"steps backwards: {back:,} of {readings:,} on a thread{other}"


def apart(runs: pl.DataFrame) -> float:
    """The median step of a source's runs over what a reading costs."""
    return Steps(runs).quantile(0.5) / float(runs["typical_ns"].to_numpy().mean())


def _name(source: str) -> str:
    return {"syscall": "the system call"}.get(source, source)


def falls_back(data: pl.DataFrame) -> Verdict:
    """Whether nanotime makes the system call, and costs as much, where it must, and neither where it need not."""
    claim = "T3 fallback"
    runs = measured(data)
    known: dict[str, Ratio | None] = {
        name: cost_ratio(runs.filter(pl.col("clocksource") == name), "nanotime", "syscall")
        for name in runs["clocksource"].unique(maintain_order=True).to_list()
        if name != NOT_TOLD
    }
    if all(name in READABLE for name in known):
        reasons = data.filter(pl.col("kind") == "clocksource")["missing"].drop_nulls().to_list()
        reason = reasons[0] if reasons else "there are no runs with another; --backend guest has hpet"
        return Verdict(claim, _FALLS_BACK, "cannot be tested here", f"no other clock source here: {reason}")
    parts: list[bool | None] = []
    told: list[str] = []
    ordered = sorted(known.items(), key=lambda pair: pair[0] not in READABLE)
    for name, ratio in ordered:
        calls, count = name not in READABLE, counted(data, name)
        least, most = (1 / SAME_COST, SAME_COST) if calls else (0, 1 / SAME_COST)
        parts.append(None if ratio is None else ratio.within(least, most))
        told.append(f"with {name} nanotime costs {ratio or 'an unknown part of'} the system call")
        if count is not None:
            parts.append((count[0] > 1 - _FEW_CALLS) is calls)
            told[-1] += f", and {count[1]}"
    told += [TOO_FEW] if None in parts else []
    told += [
        f"these runs are {mark}: ratios and counts alone say something" for mark in runs["mark"].drop_nulls().unique()
    ]
    figures: dict[str, object] = {name: ratio.to_json() for name, ratio in ordered if ratio is not None}
    return Verdict(claim, _FALLS_BACK, outcome_of(parts), "; ".join(told), figures)
