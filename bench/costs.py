"""The price of precision: CPU time, wake-ups, system calls and threads of the cost workloads, for summary.json."""

from typing import Any

from bench.cells import Cells, Cost
from bench.resampling import interval, quantile
from bench.result import Result

Costs = dict[tuple[str, str, str], Cost]


def cost_rows(result: Result, cells: Cells, costs: Costs) -> list[dict[str, Any]]:
    """A row per arm of the cost workload; system call rates are from the counted runs, which ran without quota."""
    counted = result.about.get("syscalls") or {}
    rows = []
    for key, cell in cells.items():
        if not key.load.startswith("sleepers"):
            continue
        cost = costs[key.arm, key.quota, key.load]
        sleeps = sum(cost.sleeps)
        switches, threads = cost.counter("nvcsw"), cost.counter("threads_peak")
        missed = [int(run.get("missed") or 0) for run in cost.runs]
        cpu, wall_ns = cost.counter("cpu_ns"), sum(run["wall_ns"] for run in cost.runs)
        stock = costs.get(("stock", key.quota, key.load))
        calls = counted.get(key.arm) if key.condition == ("none", "sleepers:50") else None
        rows.append(
            {
                "arm": key.arm,
                "condition": cell.condition,
                "requested_ns": key.requested_ns,
                "runs": len(cost.runs),
                "n": sleeps,
                "late_p50_ns": cell.p50_ns - key.requested_ns,
                "late_p99_ns": quantile(cell.ordered, 0.99) - key.requested_ns,
                "cpu_ns_per_sleep": cpu_ns_per_sleep(cost),
                "cpu_ns_per_sleep_ci": interval(cost.distribution),
                "cpu_over_stock": _over(cpu_ns_per_sleep(cost), cpu_ns_per_sleep(stock)),
                "cpu_share": sum(cpu) / wall_ns if cpu and wall_ns else None,
                "switches_per_sleep": sum(switches) / sleeps if switches else None,
                "threads_peak": max(threads) if threads else None,
                "missed_share": sum(missed) / sleeps,
                "epoll_per_second": calls["epoll_per_second"] if calls else None,
                "counter": calls["counter"] if calls else None,
            }
        )
    return rows


def cpu_ns_per_sleep(cost: Cost | None) -> float | None:
    """The cost's CPU time per sleep; None where there is none."""
    return cost.cpu_ns_per_sleep if cost is not None else None


def _over(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None
