"""What the sleeps of ``environments`` say, in words, in a table and as a picture."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from nanonap.lab.experiments.kit.base import Outcome, Verdict
from nanonap.lab.experiments.kit.counted import share_cell, used_up
from nanonap.lab.experiments.kit.ratios import TOO_FEW, Ratio, cell, outcome_of, ratio_by_block
from nanonap.lab.show.style import DPI, FAINT, SMALL, dress
from nanonap.lab.show.tables import Section, Table

NONE, FAKE_BURST, BURST = "no limit", "max 100000", "50 % + burst 50 ms"
LIMITED = "50%"
LIMITED_BY = {1: "50 % by cgroup v1", 2: "50 % by cgroup v2"}
#: 39 and 45 ms are claimed: half as late on average as 40 ms is late as claimed, less is not.
CLAIMED_NS = 40_000_000
#: Later than without a limit by this on average is not as good as no limit: a tick of 250 Hz is 4 ms.
LATE_NS = 5_000_000
_SEED = 1


def ratio(data: pl.DataFrame, environment: str, load: str) -> Ratio | None:
    """The mean time of a sleep over that without a limit, under the same load."""
    which = {"environment": environment, "load": load}
    return ratio_by_block(data, "elapsed_ns", which, {**which, "environment": NONE})


def _late(data: pl.DataFrame, environment: str, load: str, by_ns: float = LATE_NS) -> bool | None:
    found = ratio(data, environment, load)
    return None if found is None else found.within(1 + by_ns / int(data["requested_ns"][0]), float("inf"))


def _used_up(data: pl.DataFrame, environment: str) -> bool:
    """Whether the busy groups of an environment were throttled in half of their periods, where that is counted."""
    return used_up(data.filter(pl.col("environment") == environment, pl.col("load") == "busy"))


def verdicts(data: pl.DataFrame) -> list[Verdict]:
    """One for each way to limit, one for what the claim writes as burst, one for burst."""
    limited = [_limited(data, environment) for environment in LIMITED_BY.values()]
    return [*limited, _written(data), _burst(data)]


def _missing(data: pl.DataFrame, environment: str) -> str | None:
    reasons = data.filter(pl.col("environment") == environment)["missing"].drop_nulls().to_list()
    return str(reasons[0]) if reasons else None


def _limited(data: pl.DataFrame, environment: str) -> Verdict:
    """Holds if the quiet sleep is late, in part if only the one beside a busy process is."""
    claim = f"E3 {environment}"
    says = "under the quota `sleep` ends some 40 ms later on average than without a limit"
    if (reason := _missing(data, environment)) is not None:
        return Verdict(claim, says, "cannot be tested here", reason)
    quiet, busy = (_late(data, environment, load, CLAIMED_NS / 2) for load in ("quiet", "busy"))
    if not _used_up(data, environment):
        busy = None
    outcome: Outcome = "refuted"
    if quiet:
        outcome = "holds"
    elif quiet is False and busy:
        outcome = "holds in part"
    elif quiet is None or busy is None:
        outcome = "not settled"
    found = {load: ratio(data, environment, load) for load in ("quiet", "busy")}
    each = ", ".join(f"{load} {value}" for load, value in found.items() if value is not None)
    sentence = f"against no limit a sleep takes: {each or 'no data'}"
    if quiet:
        share = _share(data, environment, "quiet")
        sentence += f"; quiet groups were throttled in {share} of their periods: starting used their quota up"
    if outcome == "holds in part":
        sentence += "; so it is late only beside a busy process in its group"
    if outcome == "not settled":
        sentence += f"; {TOO_FEW if _used_up(data, environment) else 'the quota was not used up: too much else runs'}"
    return Verdict(claim, says, outcome, sentence, {load: value.to_json() for load, value in found.items() if value})


def _written(data: pl.DataFrame) -> Verdict:
    """What the claim writes; it is no burst, so that it is as good as no limit says nothing of burst."""
    says = "cpu.max = max 100000, which is called burst there, makes sleeps as good as no limit does"
    late = [_late(data, FAKE_BURST, load) for load in ("quiet", "busy")]
    outcome = outcome_of(None if each is None else not each for each in late)
    found = {load: ratio(data, FAKE_BURST, load) for load in ("quiet", "busy")}
    same = ", ".join(f"{load} {value}" for load, value in found.items() if value is not None)
    periods = data.filter(pl.col("environment") == FAKE_BURST)["nr_throttled"].drop_nulls().sum()
    sentence = (
        f"by max 100000 there is no limit, and no burst either ({periods} throttled periods; against no limit "
        f"{same or 'no data'})"
    )
    sentence += f"; {TOO_FEW}" if outcome == "not settled" else ""
    return Verdict(
        "E3 burst", says, outcome, sentence, {load: value.to_json() for load, value in found.items() if value}
    )


def _burst(data: pl.DataFrame) -> Verdict:
    """Whether burst, as the kernel has it, takes the lateness away."""
    claim, says = "E3 true burst", "cpu.max.burst makes sleeps beside a busy process as good as no limit does"
    if (reason := _missing(data, BURST)) is not None:
        return Verdict(claim, says, "cannot be tested here", reason)
    limited = next((each for each in LIMITED_BY.values() if ratio(data, each, "busy") is not None), "")
    without, late = _late(data, limited, "busy"), _late(data, BURST, "busy")
    found = ratio(data, BURST, "busy")
    sentence = f"with a burst of 50 ms a sleep beside a busy process takes {found or 'no data'}"
    outcome: Outcome = "refuted" if late else "holds"
    if not (_used_up(data, limited) and _used_up(data, BURST)):
        outcome = "not settled"
        sentence += "; the quota was not used up: too much else runs"
    elif not without or late is None:
        outcome = "not settled"
        sentence += f"; {TOO_FEW if without is None or late is None else 'without burst it is not late either'}"
    return Verdict(claim, says, outcome, sentence, {"burst": found.to_json() if found else None})


def table(data: pl.DataFrame) -> Table:
    """One section per load, one row per environment; those that are missing with the reason below."""
    notes = ["× no limit: of the same load. throttled: of the group's active periods."]
    notes += [f"{name}: {_missing(data, name)}" for name in _environments(data) if _missing(data, name)]
    sections = []
    for load in ("quiet", "busy"):
        rows = []
        for environment in _environments(data):
            here = _elapsed(data, environment, load)
            if not here.size:
                continue
            base = _elapsed(data, NONE, load)
            p95 = float(np.quantile(here, 0.95)) / float(np.quantile(base, 0.95))
            spread = float(np.var(here)) / float(np.var(base)) if np.var(base) else float("nan")
            rows.append([environment, str(here.size), cell(ratio(data, environment, load), ".4f"), f"{p95:.4f}",
                         f"{spread:.3g}", _share(data, environment, load)])  # fmt: skip
        sections.append(Section({"quiet": "quiet", "busy": "beside a busy process in the same group"}[load], rows))
    columns = ("environment", "n", "mean, × no limit", "P95, ×", "variance, ×", "throttled")
    return Table("`sleep` from start to exit", columns, sections, notes)


def _environments(data: pl.DataFrame) -> list[str]:
    order = [NONE, *LIMITED_BY.values(), FAKE_BURST, BURST]
    return [name for name in order if name in set(data["environment"].to_list())]


def _elapsed(data: pl.DataFrame, environment: str, load: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    chosen = data.filter(pl.col("environment") == environment, pl.col("load") == load)
    return chosen["elapsed_ns"].drop_nulls().to_numpy().astype(np.float64)


def _share(data: pl.DataFrame, environment: str, load: str) -> str:
    groups = data.filter(pl.col("environment") == environment, pl.col("load") == load).unique("block")
    return share_cell(groups)


def picture(data: pl.DataFrame) -> Figure | None:
    """A dot a sleep: how late it was; quiet and busy side by side."""
    names = [name for name in _environments(data) if _elapsed(data, name, "quiet").size]
    if not names:
        return None
    figure = Figure(figsize=(8.8, 0.5 * len(names) + 1.9), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True, sharex=True)
    dice = np.random.default_rng(_SEED)
    for axes, load in zip(panels, ("quiet", "busy"), strict=True):
        for place, name in enumerate(names):
            late = (_elapsed(data, name, load) - int(data["requested_ns"][0])) / 1e6
            scatter = place + dice.uniform(-0.22, 0.22, late.size)
            axes.plot(late, scatter, linestyle="none", marker="o", markersize=3.5, alpha=0.6, color="#000000")
            axes.plot([late.mean()] * 2, [place - 0.34, place + 0.34], color="#D55E00", linewidth=2)
        axes.axvline(0, color=FAINT, linewidth=1, linestyle=":")
        axes.set_title({"quiet": "quiet", "busy": "beside a busy process"}[load], loc="left", fontsize=10)
        axes.set_xlabel("later than asked for, ms (line: the mean)", fontsize=SMALL)
        dress(axes, "x", SMALL)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle("How late `sleep` ends", fontsize=11, fontweight="bold")
    return figure
