"""What makes a result weak: said beside it, as pyperf does. Never a reason to measure again until it looks right."""

from collections.abc import Iterator

import polars as pl

from nanonap.lab.ground.host import DEFAULT_TIMER_SLACK_NS
from nanonap.lab.ground.hosts import disagreements
from nanonap.lab.judge.agreement import disagreeing_runs, spread_sleeps
from nanonap.lab.judge.disturbance import of_disturbance
from nanonap.lab.quota import above_limit
from nanonap.lab.quota.series import check
from nanonap.lab.stats.cells import Cells
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import RunLine

_BUSY_LOAD = 0.5


def warnings(result: Result, cells: Cells) -> list[str]:
    """One line each, the gravest first. What the bench itself noted (a quota refused, blocks dropped) comes first."""
    found: list[str] = []
    if result.partial:
        found.append("partial: the bench was cut short; its conditions and blocks are incomplete")
    found += result.about.notes or []
    found += _of_limits(result)
    if result.about.schema is None:
        found.append("bench.json is missing: the command, the mode and the system call counts are not known")
    found += _of_samples(result)
    found += _of_series(result)
    found += _of_host(result)
    found += _of_slack(result.runs)
    found += of_disturbance(result)
    found += disagreeing_runs(cells)
    found += spread_sleeps(cells)
    return found


def _of_limits(result: Result) -> Iterator[str]:
    above = above_limit.merged([run.above for run in result.runs])
    if above is None:
        return
    tightest = above_limit.limit_of(above)
    if above_limit.bites(above):
        yield f"not free of limits: {above_limit.says(above)}"
    elif tightest is not None and tightest.nr_throttled:
        yield f"the limit of the group {tightest.group} is enough for this process, and {above_limit.stops(tightest)}"
    quotas = {(each.group, each.version): set[tuple[int, int, int]]() for each in above.groups}
    for each in above.groups:
        quotas[each.group, each.version].add((each.quota_ns, each.period_ns, each.burst_ns))
    changed = [group for (group, _), seen in quotas.items() if len(seen) > 1]
    if changed:
        yield f"the limit above changed while it was measured ({', '.join(changed)}): the runs cannot be compared"


def _of_samples(result: Result) -> Iterator[str]:
    early = result.samples.filter(pl.col("actual_ns") < pl.col("requested_ns"))
    if early.height:
        arms = {run.run_id: run.arm for run in result.runs}
        named = sorted({arms[run_id] for run_id in early["run_id"].unique()})
        worst = early.select((pl.col("requested_ns") - pl.col("actual_ns")).max()).item()
        yield f"early: {early.height} sleeps ended too soon, by up to {worst} ns ({', '.join(named)})"
    empty = {run.run_id for run in result.runs} - set(result.samples["run_id"].unique())
    if empty:
        yield f"{len(empty)} runs gave no sample: their time was over before the first sleep ended"


def _of_series(result: Result) -> Iterator[str]:
    failed = [why for run in result.runs if (why := (run.sampling or {}).get("failed"))]
    if failed:
        yield f"cpu.stat was not sampled in {len(failed)} of {len(result.runs)} runs ({failed[0]})"
    wrong = [
        f"run {run_id}: {checked.first}" for run_id, each in result.series.items() if not (checked := check(each)).holds
    ]
    if wrong:
        yield f"cpu.stat: counters out of order in {len(wrong)} of {len(result.series)} runs ({wrong[0]})"


def _of_host(result: Result) -> Iterator[str]:
    hosts = [run.host for run in result.runs]
    differing = disagreements(hosts)
    if differing:
        yield f"the runs come from machines that differ in {', '.join(differing)}: they cannot be compared"
    slack = hosts[0].timer_slack_ns
    if slack not in (None, DEFAULT_TIMER_SLACK_NS):
        yield f"timer slack was {slack} ns here, not the kernel's 50000: arms without +slack1 inherit it"
    load = (hosts[0].load_average or [0])[0]
    if load > _BUSY_LOAD:
        yield f"the machine was busy at the start (load average {load}): tails are not the programs' alone"


def _of_slack(runs: list[RunLine]) -> Iterator[str]:
    wrong = {
        run.arm: run.timer_slack_ns
        for run in runs
        if run.slack_ns is not None and run.timer_slack_ns not in (None, run.slack_ns)
    }
    for arm, slack_ns in wrong.items():
        yield f"{arm}: its timer slack was {slack_ns} ns nevertheless: prctl(PR_SET_TIMERSLACK) was refused or undone"
