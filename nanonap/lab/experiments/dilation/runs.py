"""The runs of the experiment ``dilation``: sleeps, yielding loops, and `go run` of a sleeping program."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nanonap.lab.experiments.kit.base import Row, Setting
from nanonap.lab.experiments.kit.blocks import shuffled
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.kit.counted import counters
from nanonap.lab.experiments.kit.groups_above import GroupsAbove
from nanonap.lab.experiments.kit.shared_groups import shared_groups
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.conditions import Condition, parse_load
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.run.runner import measure
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO

QUOTAS = ("none", "50%")
SCHEMA = {
    "part": pl.String,  # sleep, gosched, go run
    "load": pl.String,  # of go run: what of it is compiled
    "quota": pl.String,
    "block": pl.Int64,
    "requested_ns": pl.Int64,
    "elapsed_ns": pl.Int64,  # of the sleep or the loop, by the program's own clock
    "whole_ns": pl.Int64,  # of the whole command, from outside
    "iterations": pl.Int64,
    "goroutines": pl.Int64,
    "nr_periods": pl.Int64,
    "nr_throttled": pl.Int64,
    "throttled_ns": pl.Int64,  # of the run's own group
    "parent_throttled_ns": pl.Int64,  # of the group above it, meanwhile
    "root_throttled_ns": pl.Int64,  # of the topmost group, meanwhile
    "missing": pl.String,
}
#: Two, so that burners have a processor each where there are two CPUs, and none waits for another.
_GOMAXPROCS = 2
#: Of each group, with and without quota: other work on the machine is not to keep burners from using their quota up.
WEIGHT = 1_000
_GO_RUN_TIMEOUT_S = 600.0
_SOURCE = """package main

import "time"

func main() {
	start := time.Now()
	time.Sleep(%d)
	println(time.Since(start).Nanoseconds()) // %s
}
"""
#: go run by what it has to compile: nothing, the program alone, the standard library too.
UNCHANGED, CHANGED, COLD = "unchanged", "changed", "first build"


@dataclass(frozen=True)
class Plan:
    """How much to do: ``go_runs`` is (what is compiled, how many blocks)."""

    requested_ns: int
    loads: tuple[str, ...]
    blocks: int
    go_runs: tuple[tuple[str, int], ...]


QUICK = Plan(200_000_000, ("quiet", "burn:1", "burn:2"), 3, ((CHANGED, 2),))
FULL = Plan(
    1_000_000_000,
    ("quiet", "burn:1", "burn:2", "sibling:1", "sibling:2"),
    10,
    ((UNCHANGED, 5), (CHANGED, 5), (COLD, 1)),
)


class _Once(Run):
    """A program that sleeps once, as soon as it runs: no warm-up."""

    def options(self, gomaxprocs: int) -> list[str]:
        """The later option counts."""
        return [*super().options(gomaxprocs), "-warmup", "0"]


def sleeping_rows(setting: Setting, plan: Plan) -> Iterator[Row]:
    """Sleeps and yielding loops with and without the quota, in shuffled blocks."""
    above_groups = GroupsAbove(setting.backend)
    tried = [("sleep", load) for load in plan.loads] + [("gosched", "quiet")]
    due = [(part, load, quota) for part, load in tried for quota in QUOTAS]
    with shared_groups(setting.backend) as backend:
        for block, (part, load, quota) in shuffled(setting, plan.blocks, due, ", ".join):
            arm = plain_arm("stock", setting.program, part)
            condition = Condition(parse_quota(quota), parse_load(load))
            run = _Once(block, arm, condition, ((plan.requested_ns, 1),), 0, seed=1, weight=WEIGHT)
            before = above_groups.throttled_ns()
            done = measure(run, _GOMAXPROCS, backend, setting.stop)
            parent_ns, root_ns = above_groups.since(before) if quota != "none" else (None, None)
            header = done.output.header
            yield {
                "part": part,
                "load": load,
                "quota": quota,
                "block": block,
                "requested_ns": plan.requested_ns,
                "elapsed_ns": int(done.output.samples[1, 0]),
                "whole_ns": done.took_ns,
                "iterations": header.iterations if part == "gosched" else None,
                "goroutines": header.goroutines,
                "parent_throttled_ns": parent_ns,
                "root_throttled_ns": root_ns,
                **counters(done.throttling),
            }


def go_run_rows(setting: Setting, plan: Plan) -> Iterator[Row]:
    """``go run`` of a program that sleeps, the whole command in the group."""
    if setting.backend.elsewhere:
        missing = f"{setting.backend.name} does not see this machine's Go toolchain"
        yield from ({"part": "go run", "load": kind, "missing": missing} for kind, _ in plan.go_runs)
        return
    with guarded_folder() as folder:
        _go_run(setting, folder, CHANGED, "none", plan.requested_ns)  # what the build cache lacks is compiled here
        for kind, blocks in plan.go_runs:
            if kind == UNCHANGED:
                _go_run(setting, folder, kind, "none", plan.requested_ns)
            for block in range(blocks):
                for quota in QUOTAS if block % 2 == 0 else QUOTAS[::-1]:
                    setting.say(f"go run, {kind}, quota {quota}, {block + 1} of {blocks}")
                    found = _go_run(setting, folder, kind, quota, plan.requested_ns)
                    yield {"part": "go run", "load": kind, "quota": quota, "block": block, **found}


def _go_run(setting: Setting, folder: Path, kind: str, quota_text: str, requested_ns: int) -> Row:
    """The columns of one command. Raises RunFailed, QuotaUnavailable, Interrupted."""
    quota = parse_quota(quota_text)
    source = folder / f"sleeps{'' if kind == UNCHANGED else time.monotonic_ns()}.go"
    source.write_text(_SOURCE % (requested_ns, source.name), encoding="utf-8")
    own = {"GOCACHE": tempfile.mkdtemp(prefix="cache-", dir=folder)} if kind == COLD else {}
    # As the programs here are built, so that the standard library is found compiled.
    command = release_toolchain(DEFAULT_GO).command("run", "-trimpath", str(source), **own)
    with setting.backend.open(Limits(quota, WEIGHT)) as group:
        before, start_ns = group.counters(), time.monotonic_ns()
        done = setting.stop.run(group.command(command), _GO_RUN_TIMEOUT_S)
        whole_ns, after = time.monotonic_ns() - start_ns, group.counters()
    try:
        elapsed_ns = int(done.stderr.split()[-1])
    except (IndexError, ValueError):
        said = f"exit status {done.status}; its stderr: {done.stderr[-300:]}"
        raise RunFailed(f"`go run` of a program that sleeps, quota {quota}: {said}") from None
    counted = after.since(before) if after is not None and before is not None else None
    return {"requested_ns": requested_ns, "elapsed_ns": elapsed_ns, "whole_ns": whole_ns, **counters(counted)}
