"""The three runs whose answer is known, each with one cause of lateness and as little as possible of the others."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nanonap.lab.attribution.attribute import Attribution
from nanonap.lab.attribution.path import Part
from nanonap.lab.attribution.traced import run_attributed
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota.base import Backend, Group
from nanonap.lab.quota.limits import Limits, parse_quota

QUOTA, RUN_QUEUE, SCHEDULER = "quota alone", "run queue alone", "Go scheduler alone"
CAUSES = {QUOTA: Part.THROTTLED, RUN_QUEUE: Part.RUNQUEUE, SCHEDULER: Part.GOSCHEDULER}
# Beside a heavy group others hardly get a CPU, and one of a tenth of its weight gets a turn after ten of its own.
_HEAVY, _TENTH = 10_000, 1_000
_BESIDE = {QUOTA: ("-burn", "1"), RUN_QUEUE: ("-sibling", "1"), SCHEDULER: ("-burn", "3")}
_SLEEPS = "5ms*1000000"
# (quota, sleeps): a sleep that ends while there is quota left may be late for another cause, so all of them end when it
# is spent. In a guest the program's start alone takes a second of CPU time.
_SPENT, _SPENT_IN_GUEST = ("5%", "20ms*1000000"), ("20%", "50ms*1000000")
_QUICK, _FULL = "2s", "10s"


def run_known(name: str, program: Path, backend: Backend, stop: Stop, quick: bool) -> Attribution:
    """One of the three runs, attributed. Raises as ``run_attributed``, and QuotaUnavailable where it cannot be had.

    Each is kept on one CPU: a group's weight is split over the CPUs by what it does on each (calc_group_shares in
    kernel/sched/fair.c), so beside others' work a heavy group's sleeper would wait where its burner is not.

    ``quota alone``: a burner on another P than the sleeper's spends the quota at the beginning of each period, and the
    sleeper is stopped with it. ``run queue alone``: a group that always wants to run (a burner in a process beside the
    sleeper's sees to it), beside a group of ten times its weight. ``Go scheduler alone``: three burners and the sleeper
    take turns on one P, 10 ms each.
    """
    _check(backend)
    cpu = 0 if backend.elsewhere else max(os.sched_getaffinity(0))
    pin = ["taskset", "--cpu-list", str(cpu)]
    quota, spent = _SPENT_IN_GUEST if backend.elsewhere else _SPENT
    limits = {QUOTA: Limits(parse_quota(quota), weight=_HEAVY), RUN_QUEUE: Limits(weight=_TENTH)}
    sleeps = spent if name == QUOTA else _SLEEPS
    argv = [*pin, str(program), "-plan", sleeps, "-warmup", "2", "-max-time", _QUICK if quick else _FULL]
    argv += ["-gomaxprocs", "2" if name == QUOTA else "1", *_BESIDE[name]]
    with ExitStack() as ends:
        if name == RUN_QUEUE:
            others = ends.enter_context(backend.open(Limits(weight=_HEAVY)))
            ends.enter_context(_burners([*pin, str(program), "-only-burn", "2"], others))
        group = ends.enter_context(backend.open(limits.get(name, Limits(weight=_HEAVY))))
        return run_attributed(argv, group, stop, name=program.name)


def _check(backend: Backend) -> None:
    if backend.elsewhere and not backend.own_kernel:
        reason = "its programs cannot be kept on one CPU and its groups not weighed against each other"
        raise QuotaUnavailable(backend.name, reason, "choose --backend cgroup2, cgroup1 or guest")
    if not backend.elsewhere and shutil.which("taskset") is None:
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
