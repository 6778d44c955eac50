"""The price of precision: CPU time, wake-ups, system calls and threads of the cost workloads, for summary.json."""

from msgspec import UNSET, Struct

from nanonap.lab.plan.conditions import IDLE, is_scheduled
from nanonap.lab.run.syscalls import Counted
from nanonap.lab.stats.cells import Cell, Cells, Cost
from nanonap.lab.stats.effects import Interval
from nanonap.lab.stats.resampling import interval, quantile
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import RunCondition

Costs = dict[tuple[str, str, str], Cost]


class CostRow(Struct, frozen=True, kw_only=True):
    """An arm under a cost workload. Times in ns; lateness is after the deadline, ``*_ci`` are intervals of 95 %.

    A wake-up is a thread's: it had given up its CPU to wait (``nvcsw``, getrusage(2)) and was woken. The CPU time per
    wake-up is all of the process's, its sleepers' work included. Rates of system calls are from the counted runs, which
    ran without quota, by ``counter``. None where it is not known.
    """

    arm: str
    condition: RunCondition
    requested_ns: int
    runs: int
    n: int
    late_p50_ns: int
    late_p99_ns: int
    cpu_ns_per_sleep: float | None
    cpu_ns_per_sleep_ci: Interval
    cpu_over_stock: float | None
    cpu_over_stock_ci: Interval
    cpu_over_rebuilt: float | None
    cpu_over_rebuilt_ci: Interval
    cpu_share: float | None
    wakeups_per_second: float | None
    cpu_ns_per_wakeup: float | None
    switches_per_sleep: float | None
    involuntary_per_sleep: float | None
    threads_peak: int | None
    missed_share: float
    epoll_per_second: float | None
    syscalls_per_sleep: float | None
    counter: str | None


class IdleRow(Struct, frozen=True, kw_only=True):
    """An arm under the load ``idle``: what wakes in a process, and what that costs, when nothing is due."""

    arm: str
    condition: RunCondition
    runs: int
    wakeups_per_second: float | None
    cpu_ns_per_second: float | None


def cost_rows(result: Result, cells: Cells, costs: Costs) -> list[CostRow]:
    """A row per arm and cost workload."""
    return [_row(result, cell, costs) for key, cell in cells.items() if is_scheduled(key.load)]


def _row(result: Result, cell: Cell, costs: Costs) -> CostRow:
    key = cell.key
    cost = costs[key.arm, key.quota, key.load]
    stock, rebuilt = (costs.get((arm, key.quota, key.load)) for arm in ("stock", _rebuilt_of(key.arm)))
    sleeps = sum(cost.sleeps)
    switches, involuntary, threads = (cost.counter(name) for name in ("nvcsw", "nivcsw", "threads_peak"))
    missed = sum(run.missed or 0 for run in cost.runs)
    cpu, wall_ns = cost.counter("cpu_ns"), sum(run.wall_ns for run in cost.runs)
    calls = _counted(result, key.arm, key.load) if key.quota == "none" else None
    return CostRow(
        arm=key.arm,
        condition=cell.condition,
        requested_ns=key.requested_ns,
        runs=len(cost.runs),
        n=sleeps,
        late_p50_ns=cell.p50_ns - key.requested_ns,
        late_p99_ns=quantile(cell.ordered, 0.99) - key.requested_ns,
        cpu_ns_per_sleep=cpu_ns_per_sleep(cost),
        cpu_ns_per_sleep_ci=interval(cost.distribution),
        cpu_over_stock=_over(cpu_ns_per_sleep(cost), cpu_ns_per_sleep(stock)),
        cpu_over_stock_ci=None if cost is stock else _over_interval(cost, stock),
        cpu_over_rebuilt=_over(cpu_ns_per_sleep(cost), cpu_ns_per_sleep(rebuilt)),
        cpu_over_rebuilt_ci=None if cost is rebuilt else _over_interval(cost, rebuilt),
        cpu_share=sum(cpu) / wall_ns if cpu and wall_ns else None,
        wakeups_per_second=sum(switches) / (wall_ns / 1e9) if switches and wall_ns else None,
        cpu_ns_per_wakeup=sum(cpu) / sum(switches) if cpu and switches and sum(switches) else None,
        switches_per_sleep=sum(switches) / sleeps if switches else None,
        involuntary_per_sleep=sum(involuntary) / sleeps if involuntary is not None else None,
        threads_peak=max(threads) if threads else None,
        missed_share=missed / sleeps,
        epoll_per_second=calls.epoll_per_second if calls else None,
        syscalls_per_sleep=calls.per_sleep if calls and calls.per_sleep is not UNSET else None,
        counter=calls.counter if calls else None,
    )


def idle_rows(cells: Cells, costs: Costs) -> list[IdleRow]:
    """A row per arm under the load ``idle``."""
    rows = []
    for key, cell in cells.items():
        if key.load.partition("@")[0] != IDLE.kind:
            continue
        cost = costs[key.arm, key.quota, key.load]
        switches, cpu, wall_ns = cost.counter("nvcsw"), cost.counter("cpu_ns"), sum(run.wall_ns for run in cost.runs)
        rows.append(
            IdleRow(
                arm=key.arm,
                condition=cell.condition,
                runs=len(cost.runs),
                wakeups_per_second=sum(switches) / (wall_ns / 1e9) if switches and wall_ns else None,
                cpu_ns_per_second=sum(cpu) / (wall_ns / 1e9) if cpu and wall_ns else None,
            )
        )
    return rows


def cpu_ns_per_sleep(cost: Cost | None) -> float | None:
    """The cost's CPU time per sleep; None where there is none."""
    return cost.cpu_ns_per_sleep if cost is not None else None


def _counted(result: Result, arm: str, load: str) -> Counted | None:
    by_load = result.about.syscalls_by_load
    if by_load is None:  # results of before counted one workload
        by_load = {"sleepers:50": result.about.syscalls or {}}
    return by_load.get(load, {}).get(arm)


def _rebuilt_of(arm: str) -> str:
    """The rebuilt runtime at the arm's timer slack."""
    return "rebuilt+slack1" if "slack1" in arm.split("+") else "rebuilt"


def _over(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _over_interval(cost: Cost, base: Cost | None) -> Interval:
    if base is None or cost.distribution is None or base.distribution is None:
        return None
    return interval(cost.distribution / base.distribution)
