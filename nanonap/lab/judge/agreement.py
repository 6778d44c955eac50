"""Whether an arm's runs agree: too few, spread, drift from block to block, clusters. Part of a result's warnings."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from nanonap.base.durations import asked
from nanonap.lab.stats.cells import Cell, Cells, Key

ENOUGH_RUNS = 10
UNSTABLE_FROM = 0.10
_LEAST_FOR_DRIFT = 6


def disagreeing_runs(cells: Cells) -> Iterator[str]:
    """Too few runs; medians of runs that spread; a later half that differs from the earlier."""
    by_condition: dict[tuple[str, str], list[tuple[Key, Cell]]] = defaultdict(list)
    for key, cell in cells.items():
        by_condition[key.condition].append((key, cell))
    least = {condition: min(len(cell.by_run) for _, cell in members) for condition, members in by_condition.items()}
    few = [f"{runs} at quota {quota}, load {load}" for (quota, load), runs in least.items() if runs < ENOUGH_RUNS]
    if few:
        yield f"fewer than {ENOUGH_RUNS} runs per arm, so the intervals are rough: {'; '.join(few)}"
    for (quota, load), members in by_condition.items():
        where = f"quota {quota}, load {load}"
        for share_of, what in _OF_RUNS:
            found = [(share, key) for key, cell in members if (share := share_of(cell)) >= UNSTABLE_FROM]
            if found:
                share, key = max(found)
                most = f"most: {share:.0%}, {key.arm} at {asked(key.requested_ns)}"
                yield f"{where}: in {len(found)} of {len(members)} cells {what} by 10 % or more ({most})"


def _drift(cell: Cell) -> float:
    """By how much the later half's median differs from the earlier's, as a share; 0 for too few runs to tell."""
    medians = cell.run_medians
    if medians.size < _LEAST_FOR_DRIFT:
        return 0.0
    half = medians.size // 2
    return abs(float(np.median(medians[half:]) / np.median(medians[:half])) - 1)


_OF_RUNS: tuple[tuple[Callable[[Cell], float], str], ...] = (
    (lambda cell: cell.spread, "the runs' medians spread"),
    (_drift, "the later half of the blocks differs from the earlier"),
)


def spread_sleeps(cells: Cells) -> Iterator[str]:
    """What no single number sums up: sleeps that vary much, and sleeps in clusters."""
    wide = [(share, key) for key, cell in cells.items() if (share := _deviation(cell)) >= UNSTABLE_FROM]
    if wide:
        share, key = max(wide)
        yield (
            f"in {len(wide)} of {len(cells)} cells the standard deviation of the sleeps is 10 % of their mean or more "
            f"(most: {share:.0%}, {_name(key)}): quantiles say what a mean does not"
        )
    clustered = [(second, key) for key, cell in cells.items() if (second := _second_share(cell))]
    if clustered:
        share, key = max(clustered)
        yield (
            f"in {len(clustered)} of {len(cells)} cells sleeps fall into clusters (clearest: {_name(key)}, where "
            f"{share:.0%} are in the second): read them beside the median"
        )


def _name(key: Key) -> str:
    return f"{key.arm} at {asked(key.requested_ns)}, quota {key.quota}, load {key.load}"


def _deviation(cell: Cell) -> float:
    """Standard deviation over mean of all sleeps."""
    return float(np.std(cell.ordered) / np.mean(cell.ordered)) if cell.ordered[-1] else 0.0


def _second_share(cell: Cell) -> float:
    """The share of the sleeps in the second largest cluster; 0 where there is only one."""
    shares = sorted(cluster.share for cluster in cell.clusters)
    return shares[-2] if len(shares) > 1 else 0.0
