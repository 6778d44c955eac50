"""From raw samples to cells: an arm, a condition, a requested duration, and the runs that measured it."""

import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nanonap.lab.plan.arms import CONTROL, in_order
from nanonap.lab.plan.conditions import is_apart, is_scheduled
from nanonap.lab.stats.clusters import Cluster, find_clusters
from nanonap.lab.stats.resampling import Numbers, Resampled, quantile, ratio_distribution, resample
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import RunCondition, RunLine

QUANTILES = (0.5, 0.9, 0.99)


class Key(NamedTuple):
    """What a cell is about. ``quota`` as options write it, ``load`` as ``RunCondition.load_label`` does."""

    arm: str
    quota: str
    load: str
    requested_ns: int

    @property
    def condition(self) -> tuple[str, str]:
        """(quota, load)."""
        return self.quota, self.load

    @property
    def pacing(self) -> Literal["relative", "absolute"]:
        """Whether a sleep starts when the one before ended, or at an instant that was fixed beforehand.

        A relative sleep that ends late delays all after it, which go unmeasured meanwhile (coordinated omission): its
        figure is overshoot, actual − requested. On absolute schedules it is lateness, after the deadline, free of that.
        """
        return "absolute" if is_scheduled(self.load) else "relative"

    @property
    def seed(self) -> int:
        """The bootstrap's seed: fixed by the key, so that the same data give the same figures everywhere."""
        return zlib.crc32(repr(tuple(self)).encode())


@dataclass
class Cell:
    """The samples of a key, run by run: ``by_run`` holds (block, actual_ns of that run's samples)."""

    key: Key
    condition: RunCondition
    by_run: list[tuple[int, NDArray[np.int64]]]
    runs: list[RunLine] = field(repr=False)

    @cached_property
    def ordered(self) -> NDArray[np.int64]:
        """All samples, ascending, ns."""
        return np.sort(np.concatenate([values for _, values in self.by_run]))

    @cached_property
    def p50_ns(self) -> int:
        """The pooled median."""
        return quantile(self.ordered, 0.5)

    @cached_property
    def run_medians(self) -> NDArray[np.int64]:
        """Each run's median, in the order of the blocks."""
        return np.array([quantile(np.sort(values), 0.5) for _, values in self.by_run])

    @cached_property
    def resampled(self) -> Resampled | None:
        """The bootstrap distributions of the pooled figures, of QUANTILES among them; None for fewer than two runs."""
        return resample([np.sort(values) for _, values in self.by_run], QUANTILES, self.key.seed)

    @property
    def p50_distribution(self) -> Numbers | None:
        """The bootstrap distribution of the pooled median."""
        return self.distribution(0.5)

    def distribution(self, q: float) -> Numbers | None:
        """The bootstrap distribution of a pooled quantile, one of QUANTILES."""
        return None if self.resampled is None else self.resampled.quantiles[q]

    @property
    def tail_distribution(self) -> Numbers | None:
        """The bootstrap distribution of p90 − p50, both of the same draws of runs."""
        return None if self.resampled is None else self.resampled.quantiles[0.9] - self.resampled.quantiles[0.5]

    @cached_property
    def clusters(self) -> list[Cluster]:
        """Where the samples cluster."""
        return find_clusters(self.ordered)

    @property
    def spread(self) -> float:
        """Standard deviation over mean of the runs' medians (from 10 % on pyperf warns); 0 for one run."""
        medians = self.run_medians
        return float(np.std(medians, ddof=1) / np.mean(medians)) if medians.size > 1 else 0.0


Cells = dict[Key, Cell]


def make_cells(result: Result) -> Cells:
    """All cells of a result, ordered by condition, requested duration, arm; the control (``control.py``) has none."""
    runs = {run.run_id: run for run in result.runs}
    grouped: dict[Key, list[tuple[str, NDArray[np.int64]]]] = defaultdict(list)
    columns = result.samples.select("run_id", "requested_ns", "index", "actual_ns")
    parts = columns.partition_by(["run_id", "requested_ns"], as_dict=True)
    for (run_id, requested_ns), part in parts.items():
        run = runs[str(run_id)]
        if run.arm == CONTROL:
            continue
        key = Key(run.arm, *run.condition.key, int(str(requested_ns)))
        grouped[key].append((str(run_id), part.sort("index")["actual_ns"].to_numpy()))
    return {key: _cell(key, grouped[key], runs) for key in sorted(grouped, key=_order)}


def _cell(key: Key, measured: list[tuple[str, NDArray[np.int64]]], runs: Mapping[str, RunLine]) -> Cell:
    by_block = sorted(measured, key=lambda pair: (runs[pair[0]].block, pair[0]))
    own = [runs[run_id] for run_id, _ in by_block]
    return Cell(key, own[0].condition, [(runs[run_id].block, values) for run_id, values in by_block], own)


def _order(key: Key) -> tuple[bool, bool, str, bool, str, int, tuple[int, str]]:
    cost = is_apart(key.load)
    return cost, key.quota != "none", key.quota, key.load != "quiet", key.load, key.requested_ns, in_order(key.arm)


@dataclass(frozen=True)
class Cost:
    """CPU time per sleep of an arm under a condition, over whole runs: all requested durations together."""

    runs: list[RunLine] = field(repr=False)
    sleeps: list[int]
    seed: int

    @property
    def cpu_ns_per_sleep(self) -> float | None:
        """ns; None where a run's CPU time or samples are not known."""
        cpu = self.counter("cpu_ns")
        return None if cpu is None or not sum(self.sleeps) else sum(cpu) / sum(self.sleeps)

    @cached_property
    def distribution(self) -> Numbers | None:
        """The bootstrap distribution of cpu_ns_per_sleep."""
        cpu = self.counter("cpu_ns")
        return None if cpu is None else ratio_distribution(cpu, self.sleeps, self.seed)

    def counter(self, name: Literal["cpu_ns", "nvcsw", "nivcsw", "threads_peak"]) -> list[int] | None:
        """A counter of every run; None if any run does not know it."""
        values = [getattr(run.counters, name) for run in self.runs]
        return None if None in values else values


def make_costs(result: Result) -> dict[tuple[str, str, str], Cost]:
    """Costs by (arm, quota, load)."""
    sleeps = dict(result.samples.group_by("run_id").agg(pl.len()).iter_rows())
    runs: dict[tuple[str, str, str], list[RunLine]] = defaultdict(list)
    for run in result.runs:
        if sleeps.get(run.run_id) and run.arm != CONTROL:
            runs[run.arm, *run.condition.key].append(run)
    return {
        key: Cost(own, [sleeps[run.run_id] for run in own], zlib.crc32(repr(key).encode())) for key, own in runs.items()
    }
