"""What the runs of ``dilation`` say to its claims."""

from collections.abc import Sequence
from statistics import median_low

import polars as pl

from nanonap.base.durations import format_ns
from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.counted import used_up
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, ratio_by_block

#: "About twice": nearer to twice than to once, and to twice than to three times.
TWICE = (1.5, 2.5)
#: About one stall: a sleeper that is late by it without a quota was kept from running by other work.
_DISTURBED_NS = 50_000_000
_CLAIMED_THROTTLED_NS = 120_000_000_000
_LIMITED, _UNLIMITED = {"quota": "50%"}, {"quota": "none"}
Ratios = dict[str, Ratio | None]


def sleep_ratios(data: pl.DataFrame) -> Ratios:
    """By load, quiet first: how long the sleep lasts under the quota, over the same without."""
    return {load: _ratio(data, "sleep", load, "elapsed_ns") for load in loads_of(data, "sleep")}


def go_run_ratios(data: pl.DataFrame, column: str) -> Ratios:
    """By what is compiled: ``whole_ns`` of the command or ``elapsed_ns`` of the sleep in it, over the same without."""
    return {kind: _ratio(data, "go run", kind, column) for kind in loads_of(data, "go run")}


def loads_of(data: pl.DataFrame, part: str) -> list[str]:
    """The loads of a part, in the order of their names, quiet first."""
    found = data.filter(pl.col("part") == part, pl.col("elapsed_ns").is_not_null())["load"].unique().to_list()
    return sorted(map(str, found), key=lambda load: (load != "quiet", load))


def _ratio(data: pl.DataFrame, part: str, load: str, column: str) -> Ratio | None:
    which = {"part": part, "load": load}
    return ratio_by_block(data, column, {**which, **_LIMITED}, {**which, **_UNLIMITED})


def _settled(ratio: Ratio | None) -> bool | None:
    return None if ratio is None else ratio.within(*TWICE)


def _listed(ratios: Ratios) -> str:
    return ", ".join(f"{name} {ratio}" for name, ratio in ratios.items() if ratio is not None)


def _figures(ratios: Ratios) -> dict[str, object]:
    return {name: ratio.to_json() for name, ratio in ratios.items() if ratio is not None}


def stretched(data: pl.DataFrame) -> Verdict:
    """D1: holds if the quiet sleep is, in part if only a loaded one is."""
    says = "with 50 ms of CPU time every 100 ms a sleep lasts about twice as long"
    ratios = sleep_ratios(data)
    quiet = _settled(ratios.get("quiet"))
    idle = [load for load in ratios if load != "quiet" and not _used_up(data, load)]
    loaded = [None if load in idle else _settled(ratio) for load, ratio in ratios.items() if load != "quiet"]
    outcome: Outcome = "refuted"
    if quiet:
        outcome = "holds"
    elif quiet is False and True in loaded:
        outcome = "holds in part"
    elif quiet is None or None in loaded:
        outcome = "not settled"
    asked = _requested(data)
    sentence = f"a sleep of {asked} under the quota lasts, against the same without it: {_listed(ratios) or 'no data'}"
    if idle:
        sentence += (
            f"; with {', '.join(idle)} the quota was not used up in half of the periods: too much else runs here"
        )
    elif outcome == "not settled":
        sentence += f"; {TOO_FEW}"
    return Verdict("D1", says, outcome, sentence + _disturbed(data), _figures(ratios))


def _disturbed(data: pl.DataFrame) -> str:
    """What to say where even quiet sleeps without a quota end late: then other work is in all figures."""
    free = data.filter(pl.col("part") == "sleep", pl.col("load") == "quiet", pl.col("quota") == "none")
    late = (free["elapsed_ns"] - free["requested_ns"]).drop_nulls().to_list()
    if not late or max(late) < _DISTURBED_NS:
        return ""
    return (
        f"; disturbed: without any quota quiet sleeps ended up to {format_ns(max(late))} late, so what else the "
        "machine did is in these figures"
    )


def _used_up(data: pl.DataFrame, load: str) -> bool:
    """Whether the quota stopped the runs of a load in at least half of their periods."""
    return used_up(data.filter(pl.col("part") == "sleep", pl.col("load") == load, pl.col("quota") == "50%"))


def compiling(data: pl.DataFrame) -> Verdict:
    """D1 again: whether the whole of ``go run`` is what takes twice as long."""
    says = "the doubling is that of the whole `go run` command, in which compiling uses up the quota"
    whole, own = go_run_ratios(data, "whole_ns"), go_run_ratios(data, "elapsed_ns")
    if not whole:
        missing = data.filter(pl.col("part") == "go run")["missing"].drop_nulls().to_list()
        reason = f"{missing[0]}; use --backend cgroup1, cgroup2 or systemd" if missing else "no data"
        return Verdict("D1 go run", says, "cannot be tested here", reason)
    # One run of a kind has no interval: its value must do, and the sentence shows that there is none.
    longer = {kind: ratio is not None and ratio.value >= TWICE[0] for kind, ratio in whole.items()}
    sleeps_too = [kind for kind, ratio in own.items() if ratio is not None and ratio.value >= TWICE[0]]
    outcome: Outcome = "holds" if all(longer.values()) else "holds in part" if any(longer.values()) else "refuted"
    if sleeps_too:
        outcome = "refuted"
    sentence = (
        f"the whole command takes, by what of it must be compiled, {_listed(whole)} as long as without the quota; "
        f"the sleep in it {_listed(own)}"
    )
    return Verdict("D1 go run", says, outcome, sentence, {"whole": _figures(whole), "sleep": _figures(own)})


def throttled(data: pl.DataFrame) -> Verdict:
    """D2: the run's own group counts; the groups above it only explain."""
    says = "throttled time exceeds 120 s in such a run"
    limited = data.filter(pl.col("part") == "sleep", pl.col("quota") == "50%", pl.col("throttled_ns").is_not_null())
    if limited.is_empty():
        return Verdict("D2", says, "cannot be tested here", "the group's counters are not seen here; use cgroup1 or 2")
    most = {load: int(_most(limited, load, "throttled_ns")) for load in loads_of(limited, "sleep")}
    above = [load for load, value in most.items() if value > _CLAIMED_THROTTLED_NS]
    outcome: Outcome = "holds" if len(above) == len(most) else "holds in part" if above else "refuted"
    each = ", ".join(f"{load} {format_ns(value)}" for load, value in most.items())
    wrong = _wrong(limited)
    figures: dict[str, object] = {"most_throttled_ns": most}
    return Verdict(
        "D2",
        says,
        outcome,
        f"the most in one run of a sleep of {_requested(data)}, its start included: {each}; {wrong}",
        figures,
    )


def _most(data: pl.DataFrame, load: str, column: str) -> int:
    return int(data.filter(pl.col("load") == load)[column].to_numpy().max())


def _wrong(limited: pl.DataFrame) -> str:
    busy = limited.filter(pl.col("load") != "quiet")
    names = {"parent_throttled_ns": "the group above", "root_throttled_ns": "the topmost group"}
    grown = {
        who: busy[column].drop_nulls().to_list() for column, who in names.items() if len(busy[column].drop_nulls())
    }
    if not grown:
        return "no group above has this counter here"
    parts = ", ".join(f"{who} {format_ns(max(values))}" for who, values in grown.items())
    return f"in a loaded run the wrong cpu.stat grows by at most: {parts}"


def yielding(data: pl.DataFrame) -> Verdict:
    """D3."""
    says = "a loop of runtime.Gosched() until the time has passed lasts about twice as long, too"
    elapsed, rounds = (_ratio(data, "gosched", "quiet", column) for column in ("elapsed_ns", "iterations"))
    settled = _settled(elapsed)
    if elapsed is None or settled is None:
        return Verdict("D3", says, "not settled", TOO_FEW if elapsed else "no data")
    sentence = f"a loop of {_requested(data)} lasts {elapsed} as long under the quota"
    figures: dict[str, object] = {"elapsed": elapsed.to_json()}
    if rounds is not None:
        sentence += f", and does {rounds} as many rounds"
        figures["iterations"] = rounds.to_json()
    return Verdict("D3", says, "holds" if settled else "refuted", sentence, figures)


def goroutines(data: pl.DataFrame) -> Verdict:
    """D4: as many under the quota as without, load by load, in most runs: now and then the runtime has one more."""
    says = "the quota does not change the number of goroutines"
    kept = data.filter(pl.col("goroutines").is_not_null())
    if kept.is_empty():
        return Verdict("D4", says, "cannot be tested here", "no data")
    seen: dict[str, tuple[list[int], list[int]]] = {}
    for (part, load), rows in kept.group_by(["part", "load"], maintain_order=True):
        seen[f"{part}, {load}"] = (_numbers(rows, "none"), _numbers(rows, "50%"))
    same = [bool(none and limited) and median_low(none) == median_low(limited) for none, limited in seen.values()]
    outcome: Outcome = "holds" if all(same) else "holds in part" if any(same) else "refuted"
    parts = ", ".join(
        f"{_range(limited)} under {name} ({_range(none)} without quota)" for name, (none, limited) in seen.items()
    )
    return Verdict("D4", says, outcome, f"goroutines at the end of the measured time: {parts}", {"same": all(same)})


def _numbers(rows: pl.DataFrame, quota: str) -> list[int]:
    return sorted(rows.filter(pl.col("quota") == quota)["goroutines"].to_list())


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    usual = median_low(numbers)
    return str(usual) if numbers[0] == numbers[-1] else f"{usual}, in single runs {numbers[0]} to {numbers[-1]},"


def _requested(data: pl.DataFrame) -> str:
    asked = data.filter(pl.col("part") != "go run")["requested_ns"].drop_nulls().unique().sort().to_list()
    return " and ".join(format_ns(each) for each in asked) or "–"
