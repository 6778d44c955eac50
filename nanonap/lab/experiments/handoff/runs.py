"""The runs of the experiment ``handoff``: one P and two goroutines, sleepers alone, two Ps under a quota."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from nanonap.base.dice import seeded
from nanonap.base.paths import TRIED
from nanonap.lab.experiments.handoff.trace import samples_of
from nanonap.lab.experiments.kit.base import Row, Setting
from nanonap.lab.experiments.kit.copies import patched_copies
from nanonap.lab.experiments.kit.counted import counters
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.cgroup import ENTER_FAILED
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO

PROGRAM = "handoff"
NONE, LIMITED = "none", "50%"
QUOTAS = (NONE, LIMITED)
SLEEP, CALL, DIRECT, NETPOLL = "time.Sleep", "system call", "patched: sleep", "patched: netpoll"
METHODS = (SLEEP, CALL, DIRECT, NETPOLL)
LOCKED = "time.Sleep, locked"
#: Of the part hand: also a goroutine that is locked to its thread. What it leaves of a quota does not depend on that.
HANDED = (SLEEP, LOCKED, CALL, DIRECT, NETPOLL)
COMPUTE, PARK = "computing", "parked"
HAND, IDLE, SHARE, QUIET = "hand", "idle", "share", "quiet"
SCHEMA = {
    "part": pl.String,  # hand, idle, share, quiet
    "method": pl.String,  # of sleeping; in share also what the other goroutine does instead
    "quota": pl.String,
    "block": pl.Int64,
    "gomaxprocs": pl.Int64,
    "sleepers": pl.Int64,
    "number": pl.Int64,  # of the sleep in its process
    "requested_ns": pl.Int64,
    "threads": pl.Int64,  # of the process: at the end (hand, quiet), or at the sample (idle)
    # hand: one row per sleep
    "gap_ns": pl.Int64,  # from just before the sleep until the P's other goroutine ran
    "same_thread": pl.Boolean,  # whether it ran on the sleeper's thread
    "actual_ns": pl.Int64,
    "base_ns": pl.Int64,  # computing with nobody asleep, and the rounds done
    "base_count": pl.Int64,
    "sleep_ns": pl.Int64,  # computing while the other sleeps, from the moment that it fell asleep
    "sleep_count": pl.Int64,
    "not_in_go": pl.Int64,  # goroutines in system calls during the sleep (runtime/metrics)
    # idle: a row a sample of the scheduler's trace
    "idle_ps": pl.Int64,
    "idle_threads": pl.Int64,
    "syscall_ticks": pl.Int64,
    # share and quiet: one row per run
    "window_ns": pl.Int64,
    "count": pl.Int64,
    "other_count": pl.Int64,
    "cpu_ns": pl.Int64,  # of the process in the window
    "usage_ns": pl.Int64,  # of the group, the process's start included
    "nr_periods": pl.Int64,
    "nr_throttled": pl.Int64,
    "throttled_ns": pl.Int64,
}
#: Of each group: other work on the machine is not to keep the program from its quota.
_WEIGHT = 1_000
_SEED = 1
_TIMEOUT_S = 60.0
_PATCHES = {DIRECT: "sleep", NETPOLL: "netpoll"}
#: What the program is told of a way to sleep that is not time.Sleep in its file.
_TOLD = {CALL: "syscall", LOCKED: "locked"}
_NAP_MS = 50  # of share: how long each of the sleeps lasts


@dataclass(frozen=True)
class Plan:
    """How much to do, times in ms; a part's blocks come first, then the sleeps of a run and their length."""

    hand: tuple[int, int, int]
    idle: tuple[int, int, int]
    quotas: tuple[str, ...]  # of hand and idle; share is always with and without
    idle_shapes: tuple[tuple[int, int], ...]  # (GOMAXPROCS, sleepers)
    share: tuple[int, int]  # blocks, window
    beside: tuple[str, ...]
    quiet: tuple[int, int]  # blocks, length of the one sleep


# No multiples of sysmon's 10 ms, where its samples are to fall at all moments of a sleep. A run of hand has one vote,
# and six of one mind are the fewest that settle anything (handoff_verdicts.Moved).
QUICK = Plan((6, 1, 31), (1, 2, 43), (NONE,), ((2, 1), (2, 20)), (3, 200), (COMPUTE, SLEEP, CALL), (1, 100))
FULL = Plan((8, 6, 50), (4, 3, 103), QUOTAS, ((1, 1), (2, 1), (2, 20)), (8, 600), (COMPUTE, PARK, *METHODS), (8, 500))


@dataclass(frozen=True)
class _Job:
    part: str
    method: str
    quota: str
    block: int
    length_ms: int
    gomaxprocs: int = 2
    sleepers: int = 1
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For a person."""
        return f"{self.part}, {self.method}, quota {self.quota}"


@dataclass(frozen=True)
class _Done:
    answer: Mapping[str, Any]
    stderr: str
    grown: Throttling | None


def rows(setting: Setting, plan: Plan) -> Iterator[Row]:
    """Every run, in shuffled blocks. Raises RunFailed, QuotaUnavailable, Interrupted; also as ``build``, ``patch``."""
    setting.say(f"building {PROGRAM}")
    built = build(DEFAULT_GO, programs=(PROGRAM,), out=TRIED)[0].path
    with patched_copies(replace(setting, program=built), tuple(_PATCHES.values())) as arms:
        files = dict.fromkeys((SLEEP, LOCKED, CALL, COMPUTE, PARK), built)
        files |= {method: arms[strategy].path for method, strategy in _PATCHES.items()}
        jobs = _jobs(plan)
        for done, job in enumerate(jobs):
            setting.say(f"run {done + 1} of {len(jobs)}: {job}")
            yield from _READ[job.part](job, _run(setting, files, job), setting.folder)


def _jobs(plan: Plan) -> list[_Job]:
    dice = seeded(_SEED)
    jobs: list[_Job] = []
    more: tuple[str, ...]
    for block in range(max(plan.hand[0], plan.idle[0], plan.share[0], plan.quiet[0])):
        due: list[_Job] = []
        if block < plan.hand[0]:
            _, sleeps, length_ms = plan.hand
            more = ("-sleeps", str(sleeps), "-seed", str(_SEED + block))
            due += [_Job(HAND, *each, block, length_ms, 1, options=more) for each in product(HANDED, plan.quotas)]
        if block < plan.idle[0]:
            _, sleeps, length_ms = plan.idle
            more = ("-trace", "-sleeps", str(sleeps))
            for method, quota, shape in product(METHODS, plan.quotas, plan.idle_shapes):
                due.append(_Job(IDLE, method, quota, block, length_ms, *shape, options=more))
        if block < plan.share[0]:
            more = ("-window", f"{plan.share[1]}ms")
            due += [_Job(SHARE, *each, block, _NAP_MS, options=more) for each in product(plan.beside, QUOTAS)]
        if block < plan.quiet[0]:
            due += [_Job(QUIET, each, LIMITED, block, plan.quiet[1]) for each in METHODS]
        dice.shuffle(due)
        jobs += due
    return jobs


def _run(setting: Setting, files: Mapping[str, Path], job: _Job) -> _Done:
    argv = [str(files[job.method]), "-gomaxprocs", str(job.gomaxprocs), "-sleepers", str(job.sleepers)]
    argv += ["-length", f"{job.length_ms}ms", *job.options]
    if job.method in _TOLD:
        argv += ["-method", _TOLD[job.method]]
    if job.part == SHARE:
        argv += ["-beside", {COMPUTE: "compute", PARK: "park"}.get(job.method, "sleep")]
    argv.append(IDLE if job.part == QUIET else job.part)
    with setting.backend.open(Limits(parse_quota(job.quota), _WEIGHT)) as group:
        before = group.counters()
        finished = setting.stop.run(group.command(argv), _TIMEOUT_S)
        after = group.counters()
    if finished.status == ENTER_FAILED:
        raise QuotaUnavailable(setting.backend.name, "a run could not enter its group", "run as root")
    if finished.timed_out or finished.status != 0:
        ending = f"still running after {_TIMEOUT_S:.0f} s" if finished.timed_out else f"exit status {finished.status}"
        raise RunFailed(f"{PROGRAM} ({job}): {ending}; its stderr: {finished.stderr[-300:]}")
    try:
        answer = json.loads(finished.stdout)
    except ValueError as error:
        raise RunFailed(f"{PROGRAM} ({job}): its output is not JSON ({error})") from error
    return _Done(answer, finished.stderr, after.since(before) if after is not None and before is not None else None)


def _common(job: _Job) -> Row:
    found: Row = {name: getattr(job, name) for name in ("part", "method", "quota", "block", "gomaxprocs", "sleepers")}
    return {**found, "requested_ns": job.length_ms * 1_000_000}


def _hand(job: _Job, done: _Done, _: Path) -> Iterator[Row]:
    for number, each in enumerate(done.answer["sleeps"], start=1):
        yield {
            **_common(job),
            "number": number,
            "gap_ns": each["first_ns"] - each["entered_ns"],
            "not_in_go": _known(each["during"]["not_in_go"]),
            "threads": _known(done.answer["threads"]),
            **{name: each[name] for name in ("same_thread", "actual_ns", "base_ns", "base_count", "sleep_ns")},
            "sleep_count": each["sleep_count"],
        }


def _idle(job: _Job, done: _Done, folder: Path) -> Iterator[Row]:
    if job.block == 0 and job.quota == NONE:
        name = job.method.replace(": ", "-").replace(" ", "-")
        kept = folder / f"schedtrace-{name}-{job.gomaxprocs}p-{job.sleepers}g.txt"
        kept.write_text(done.stderr, encoding="utf-8")
    for each in samples_of(done.stderr):
        yield {**_common(job), **each}


def _share(job: _Job, done: _Done, _: Path) -> Iterator[Row]:
    names = ("window_ns", "count", "other_count", "cpu_ns")
    yield {**_common(job), **{name: done.answer[name] for name in names}, **counters(done.grown, "usage_ns")}


def _quiet(job: _Job, done: _Done, _: Path) -> Iterator[Row]:
    (rest,) = done.answer["rests"]
    yield {
        **_common(job),
        "window_ns": rest["wall_ns"],
        "cpu_ns": rest["cpu_ns"],
        "threads": _known(done.answer["end"]["threads"]),
        **counters(done.grown, "usage_ns"),
    }


_READ = {HAND: _hand, IDLE: _idle, SHARE: _share, QUIET: _quiet}


def _known(count: int) -> int | None:
    """A count of runtime/metrics: Go before 1.26 has none, and the program says −1."""
    return None if count < 0 else count
