"""The three runs whose answer is known, each with one cause of lateness and as little as possible of the others."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.attribution.attribute import Attribution
from bench.attribution.path import Part
from bench.attribution.traced import run_attributed
from bench.errors import QuotaUnavailable
from bench.interrupt import Stop
from bench.quota.base import Backend, Group
from bench.quota.limits import Limits, parse_quota
from bench.quota.watchdog import guard

QUOTA, RUN_QUEUE, SCHEDULER = "quota alone", "run queue alone", "Go scheduler alone"
CAUSES = {QUOTA: Part.THROTTLED, RUN_QUEUE: Part.RUNQUEUE, SCHEDULER: Part.GOSCHEDULER}
# Beside a heavy group others hardly get a CPU, and one of a tenth of its weight gets a turn after ten of its own.
_HEAVY, _TENTH = 10_000, 1_000
_SLEEPS, _QUICK, _FULL = "5ms*1000000", "2s", "10s"


def run_known(name: str, program: Path, backend: Backend, stop: Stop, quick: bool, mode: str = "auto") -> Attribution:
    """One of the three runs, attributed. Raises as ``run_attributed``, and QuotaUnavailable where it cannot be had.

    ``quota alone``: a burner on another P than the sleeper's spends 20 % of a CPU in a part of each period, and the
    sleeper is stopped with it. ``run queue alone``: a group that always wants to run (a burner in a process beside the
    sleeper's sees to it), on one CPU with a group of ten times its weight. ``Go scheduler alone``: three burners and
    the sleeper take turns on one P, 10 ms each.
    """
    _check(backend)
    argv = [str(program), "-plan", _SLEEPS, "-warmup", "2", "-max-time", _QUICK if quick else _FULL]
    if name == QUOTA:
        with backend.open(Limits(parse_quota("20%"), weight=_HEAVY)) as group:
            return run_attributed([*argv, "-burn", "1"], group, stop, mode)
    if name == SCHEDULER:
        with backend.open(Limits(weight=_HEAVY)) as group:
            return run_attributed([*argv, "-burn", "3", "-gomaxprocs", "1"], group, stop, mode)
    pin = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]
    with (
        backend.open(Limits(weight=_HEAVY)) as others,
        backend.open(Limits(weight=_TENTH)) as group,
        _burners([*pin, str(program), "-only-burn", "2"], others),
    ):
        return run_attributed([*pin, *argv, "-gomaxprocs", "1", "-sibling", "1"], group, stop, mode, program.name)


def _check(backend: Backend) -> None:
    if backend.elsewhere:
        reason = "its programs run where their threads cannot be traced from here"
        raise QuotaUnavailable(backend.name, reason, "choose --backend cgroup2 or cgroup1")
    if shutil.which("taskset") is None:
        raise QuotaUnavailable(backend.name, "there is no taskset to keep programs on one CPU", "install util-linux")


@contextmanager
def _burners(argv: list[str], group: Group) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(group.command(argv), stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    guard.watch_session(child.pid)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        guard.forget_session(child.pid)
