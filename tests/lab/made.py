"""Results made by hand, whose figures are known, and where a test's arms lie."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from nanonap.base.paths import PROJECT
from nanonap.lab.quota.above import LimitsAbove, QuotaAbove
from nanonap.lab.store.write import RUNS, SAMPLES

GO = "1.27.3"

MEDIANS_US = {"stock": 1100, "usleep": 1101, "netpoll": 180, "netpoll+slack1": 140, "floor": 165, "floor+slack1": 125}
"""What a sleep of 100 µs takes in example_runs."""


@dataclass(frozen=True)
class Roots:
    """Where the arms of a test lie."""

    build: Path
    patched: Path
    results: Path

    @property
    def built(self) -> Path:
        return self.build / GO / "default" / "sleepbench"


Bench = Callable[..., "subprocess.CompletedProcess[str]"]
"""The fixture ``bench``."""
SMALL = {"size": "quick", "arms": "stock,floor", "requested": "100us,1ms", "seed": 7}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}


def bench_command(roots: Roots, options: dict[str, Any]) -> list[str]:
    """A bench in a process of its own."""
    where = {"build_root": roots.build, "patched_root": roots.patched, "results": roots.results}
    text = json.dumps({**options, **{name: str(path) for name, path in where.items()}})
    return [sys.executable, str(Path(__file__).parent / "drive.py"), text]


def above_of(quota_ns: int, cpus: int = 2, **change: Any) -> LimitsAbove:
    """What a run records of a limit above: a group /a with this quota every 100 ms."""
    group = QuotaAbove("/a", 2, quota_ns, 100_000_000, 0, nr_periods=10, nr_throttled=4, throttled_ns=7)
    return replace(LimitsAbove([group], 7, None, cpus, cpus_online=2, cpuset="0-1"), **change)


@dataclass
class FakeRun:
    """A run as a bench would have recorded it: ``actual`` is requested_ns → actual_ns of its samples, in order."""

    arm: str
    actual: dict[int, list[int]]
    block: int = 0
    quota: str = "none"
    load: str = "quiet"
    cpu_ns: int | None = 1_000_000
    threads: int = 5
    throttling: tuple[int, int, int] | None = None
    change: dict[str, Any] = field(default_factory=dict)

    def line(self, run_id: str) -> dict[str, Any]:
        periods, throttled, stopped_ns = self.throttling or (None, None, None)
        return {
            "schema": 1,
            "run_id": run_id,
            "arm": self.arm,
            "strategy": None,
            "slack_ns": 1 if self.arm.endswith("+slack1") else None,
            "go_version": GO,
            "binary_sha256": "0" * 64,
            "condition": {"quota": self.quota, "load": self.load, "gomaxprocs": 2, "backend": "none"},
            "block": self.block,
            "seed": 1,
            "started_utc": "2026-01-01T00:00:00.000+00:00",
            "wall_ns": 200_000_000,
            "host": {"kernel": "6.18.0", "cpu_model": "A CPU", "timer_slack_ns": 50_000, "load_average": [0.0, 0, 0]},
            "counters": {
                "cpu_ns": self.cpu_ns,
                "nvcsw": 10,
                "nivcsw": 1,
                "threads_peak": self.threads,
                "nr_periods": periods,
                "nr_throttled": throttled,
                "throttled_ns": stopped_ns,
            },
            "partial": False,
            "missed": 0,
            "timer_slack_ns": 1 if self.arm.endswith("+slack1") else 50_000,
            **self.change,
        }


def write_result(folder: Path, runs: list[FakeRun], about: dict[str, Any] | None = None) -> Path:
    """A result folder with these runs."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    lines = []
    for number, run in enumerate(runs):
        run_id = f"{number:05d}"
        lines.append(json.dumps(msgspec.to_builtins(run.line(run_id))) + "\n")
        sleeps = [(requested, actual) for requested, own in run.actual.items() for actual in own]
        rows += [
            {"run_id": run_id, "requested_ns": requested, "index": index, "start_ns": index, "actual_ns": actual}
            for index, (requested, actual) in enumerate(sleeps)
        ]
    (folder / RUNS).write_text("".join(lines))
    pl.DataFrame(rows).write_parquet(folder / SAMPLES)
    document = {"schema": 1, "notes": [], "syscalls": {}, **(about or {})}
    (folder / "bench.json").write_text(json.dumps(document))
    return folder


def example_runs(blocks: int = 3) -> list[FakeRun]:
    """Two conditions of two durations, and the cost workload, of the arms of MEDIANS_US."""
    quiet = [
        FakeRun(
            arm,
            {100_000: [(median + step) * 1_000 for step in range(4)], 5_000_000: [5_100_000 + median]},
            block,
            quota=quota,
            throttling=None if quota == "none" else (10, 3, 5),
        )
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
        for quota in ("none", "50%")
    ]
    cost = [
        FakeRun(arm, {1_000_000: [1_000_000 + median * 10] * 50}, block, load="sleepers:50", cpu_ns=median * 1000)
        for arm, median in MEDIANS_US.items()
        for block in range(blocks)
    ]
    return quiet + cost
