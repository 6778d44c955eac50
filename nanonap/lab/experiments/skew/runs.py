"""The runs of the experiment ``skew``: recorded sleeps, and a program that arms a timerfd."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nanonap.base.dice import seeded
from nanonap.base.paths import PROJECT
from nanonap.lab.attribution.carry import options, unpack
from nanonap.lab.attribution.errors import RecordingFailed, TracingUnavailable
from nanonap.lab.attribution.recording import Recording
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.skew.events import Wakes, parse_wakes
from nanonap.lab.experiments.skew.recorder import BPFTRACE, NOTHING
from nanonap.lab.experiments.skew.rows import TIMERFD, Row, counts, joined, lack, unrecorded, waits
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import QUIET, Condition
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.limits import Quota
from nanonap.lab.run.runner import execute

ARMS = ("stock", "netpoll", "netpoll+slack1", "floor", "floor+slack1")
_METHODS = {"floor": "floor", "floor+slack1": "floor"}
_PYTHON = "python"
RECORDER = "nanonap.lab.experiments.skew.recorder"
_PROBE = "nanonap.lab.experiments.skew.probe"
_GOMAXPROCS = 2
_SEED = 1
_US, _MS = 1_000, 1_000_000


@dataclass(frozen=True)
class Plan:
    """How much to do: ``sleeps`` is ((requested_ns, how many), …) of a run, ``probed`` how many waits of 1 ms."""

    sleeps: tuple[tuple[int, int], ...]
    blocks: int
    probed: int


QUICK = Plan(((100 * _US, 60), (_MS, 40)), 3, 50)
#: Many short runs: machines drift from run to run by more than what recording costs.
FULL = Plan(((100 * _US, 30), (_MS, 20), (5 * _MS, 8)), 30, 300)
_QUICK_IN_GUEST = Plan(QUICK.sleeps, 1, 50)
_FULL_IN_GUEST = Plan(((100 * _US, 90), (_MS, 60), (5 * _MS, 20)), 8, 300)


def rows(setting: Setting) -> Iterator[Row]:
    """All of them. Raises TracingUnavailable, RecordingFailed, RunFailed, Interrupted."""
    backend = setting.backend
    said: set[str] = set()
    with _named(setting) as (arms, python):
        if backend.own_kernel:
            found = _in_guest(setting, _QUICK_IN_GUEST if setting.quick else _FULL_IN_GUEST, arms)
        else:
            found = _here(setting, QUICK if setting.quick else FULL, arms, python)
        for row in found:
            if row["part"] == "recording" and backend.elsewhere:
                row["mark"] = backend.mark
            if row["part"] != "lack" or row["what"] not in said:
                yield row
            said.add(row.get("what", ""))


@contextmanager
def _named(setting: Setting) -> Iterator[tuple[list[Arm], Path]]:
    """The arms, and Python, all of one name that no other process has: by it the kernel tells which events to keep."""
    files = {"stock": setting.program, **setting.patched, _PYTHON: Path(sys.executable)}
    name = f"skew-{os.getpid()}"
    with guarded_folder() as folder:
        links = {each: Path(folder, each, name) for each in (*ARMS, _PYTHON) if each in files}
        for each, link in links.items():
            link.parent.mkdir()
            link.symlink_to(files[each])
        python = links.pop(_PYTHON)
        yield [plain_arm(each, link, _METHODS.get(each, "sleep")) for each, link in links.items()], python


def _blocks(plan: Plan, arms: list[Arm]) -> Iterator[list[Run]]:
    dice = seeded(_SEED)
    for block in range(plan.blocks):
        due = [Run(block, arm, Condition(Quota(), QUIET), plan.sleeps, 0, seed=_SEED + block) for arm in arms]
        dice.shuffle(due)
        yield due


def _words(run: Run) -> list[str]:
    return [*run.arm.words, *run.options(_GOMAXPROCS), "-trace-wakes"]


def _here(setting: Setting, plan: Plan, arms: list[Arm], python: Path) -> Iterator[Row]:
    methods = set()
    for runs in _blocks(plan, arms):
        setting.say(f"block {runs[0].block + 1} of {plan.blocks}: {len(runs)} runs, recorded and not")
        by_turns_first = runs[0].block % 2 == 1
        if by_turns_first:
            yield from _unrecorded(setting, runs, [])
        for row in _recorded(setting, runs, "auto"):
            yield row
            methods.add(row.get("method"))
        if not by_turns_first:
            yield from _unrecorded(setting, runs, [])
    if BPFTRACE in methods:  # the other way once, to see whether they say the same
        setting.say("the same, recorded by tracefs")
        yield from _or_lack("tracefs", lambda: _recorded(setting, next(_blocks(plan, arms)), "trace"))
    setting.say("waits on a timerfd")
    yield from _or_lack(TIMERFD, lambda: _probed_here(setting, plan, python))


def _or_lack(what: str, runs: Callable[[], list[Row]]) -> list[Row]:
    """What is beside the claim's own sleeps: for its failure they are not lost."""
    try:
        return runs()
    except (TracingUnavailable, RecordingFailed, RunFailed) as error:
        return [lack(what, str(error))]


def _unrecorded(setting: Setting, runs: list[Run], before: Sequence[str]) -> list[Row]:
    """The same with nothing that looks at them: what recording costs is the difference."""
    return [row for run in runs for row in unrecorded(run, execute([*before, *_words(run)], run, setting.stop).stdout)]


def _recorded(setting: Setting, runs: list[Run], mode: str) -> list[Row]:
    """One recording over several runs, one after the other; the last row is the recording's own."""
    with Recording(runs[0].arm.path, None, mode, RECORDER) as recording:
        _check(recording.method, recording.refusal)
        outputs = [execute(_words(run), run, setting.stop).stdout for run in runs]
        wakes = parse_wakes(recording.stop(), recording.method)
    method, refusal = recording.method, recording.refusal
    made = [] if refusal is None else [lack(BPFTRACE, f"{refusal.reason}; {refusal.remedy}")]
    for run, output in zip(runs, outputs, strict=True):
        made += joined(run, output, wakes, method)
    return [*made, *counts(runs[0].block, sum(run.planned for run in runs), wakes, method)]


def _check(method: str, refusal: TracingUnavailable | None) -> None:
    if method == NOTHING and refusal is not None:
        raise refusal


def _probe(plan: Plan) -> list[str]:
    return ["-m", _PROBE, str(_MS), str(plan.probed)]


def _probed_here(setting: Setting, plan: Plan, python: Path) -> list[Row]:
    with Recording(python, None, "trace", RECORDER) as recording:
        _check(recording.method, recording.refusal)
        command = ["/usr/bin/env", f"PYTHONPATH={PROJECT}", str(python), *_probe(plan)]
        execute(command, _probing(python), setting.stop)
        wakes = parse_wakes(recording.stop(), recording.method)
    return _waits(plan, wakes, recording.method)


def _waits(plan: Plan, wakes: Wakes, method: str) -> list[Row]:
    return [*waits(wakes, _MS, method), counts(0, plan.probed, wakes, method, TIMERFD)[-1]]


def _probing(python: Path) -> Run:
    arm = Arm(TIMERFD, python, TIMERFD, None, None, "none", "")
    return Run(0, arm, Condition(Quota(), QUIET), ((_MS, 1),), 0, _SEED)


def _in_guest(setting: Setting, plan: Plan, arms: list[Arm]) -> Iterator[Row]:
    lacking: Row | None = None
    for runs in _blocks(plan, arms):
        setting.say(f"block {runs[0].block + 1} of {plan.blocks}: {len(runs)} runs, not recorded")
        yield from _unrecorded(setting, runs, setting.backend.beside([]))
        for number, run in enumerate(runs):
            setting.say(f"block {run.block + 1} of {plan.blocks}, run {number + 1} of {len(runs)}: {run.arm.name}")
            output, wakes, method = _carried(setting, run, run.arm.path.name, _words(run))
            yield from joined(run, output, wakes, method)
            *lacks, counted = counts(run.block, run.planned, wakes, method)
            lacking = lacks[0] if lacks else None
            yield counted
    if lacking is not None:
        yield lacking
    setting.say("waits on a timerfd")
    probe = ["python3", *_probe(plan)]
    _, wakes, method = _carried(setting, _probing(Path("python3")), "python3", probe)
    yield from _waits(plan, wakes, method)


def _carried(setting: Setting, run: Run, program: str, command: Sequence[str]) -> tuple[bytes, Wakes, str]:
    """Recorded where it runs: what the command wrote, its wake-ups and how they were recorded."""
    carrier = ["python3", *options(program, None, "trace", RECORDER), *command]
    carried = unpack(execute(setting.backend.beside(carrier), run, setting.stop).stdout)
    _check(carried.method, carried.refusal)
    return carried.output, parse_wakes(carried.text, carried.method), carried.method
