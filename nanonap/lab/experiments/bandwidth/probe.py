"""The runs of the experiment ``bandwidth``. Standard library and the project's own that do with it.

A sample is a list in the order of FIELDS, times in ns of CLOCK_MONOTONIC; None where the kernel keeps no counter. Its
last field, ``used_ns``, is the CPU time of the group's processes by their own clocks, which is exact at any time: a
group's usage is only brought up to date by the scheduler's tick, and cgroup v1 may keep it in another hierarchy.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanonap.lab.experiments.kit import cgroup_files
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.groups import processes_in
from nanonap.lab.quota.base import Group
from nanonap.lab.quota.limits import Limits, parse_quota

if TYPE_CHECKING:
    from nanonap.lab.quota.sampler import Sampler

COUNTERS = ("nr_periods", "nr_throttled", "throttled_ns", "nr_bursts", "burst_ns", "usage_ns")
FIELDS = ("monotonic_ns", "read_ns", "deadline_ns", *COUNTERS, "used_ns")
#: Of the groups that burn: other work on the machine is not to keep them from using their quota up.
WEIGHT = 1_000
_INTERVAL_NS = 2_000_000
_SETTLE_S, _PATIENCE_S = 0.25, 10.0
BURN = ("/bin/sh", "-c", "while :; do :; done")
QUIET = ("/bin/sleep", "1000")
Sample = list[int | None]
Trial = dict[str, Any]


class _Watch:
    """Samples a group's counters and its processes' CPU time from within this process."""

    def __init__(self, group: Group, pids: Sequence[int]) -> None:
        self.samples: list[Sample] = []
        self._group, self._clocks = group, [_process_clock(pid) for pid in pids]
        self._next = time.monotonic_ns()

    def take(self) -> Sample:
        """Wait for the next time, read, keep."""
        self._next = max(self._next + _INTERVAL_NS, time.monotonic_ns())
        time.sleep(max(0, self._next - time.monotonic_ns()) / 1e9)
        before = time.monotonic_ns()
        counters = self._group.counters()
        used = sum(map(time.clock_gettime_ns, self._clocks))
        sample: Sample = [before, time.monotonic_ns() - before, self._next]
        sample += [*(getattr(counters, name, None) for name in COUNTERS), used]
        self.samples.append(sample)
        return sample

    def until(self, end_ns: int) -> None:
        """Sample up to a time."""
        while time.monotonic_ns() < end_ns:
            self.take()


def _process_clock(pid: int) -> int:
    """The id of a process's CPU clock: MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED in linux/posix-timers_types.h."""
    return (~pid << 3) | 2


def live(backend: str, quota: str, load: str, trials: int, seconds: float) -> list[Trial]:
    """Trials of a group under a load, sampled: ``burn`` (one thread, on one CPU) or ``quiet`` (one long sleep).

    Each is {"samples": from within this process, "sampler": by the project's sampler, or None in a guest that lacks
    it}. Raises QuotaUnavailable.
    """
    found = []
    with cgroup_files.prepared(backend) as ready:
        for _ in range(trials):
            with ready.open(Limits(parse_quota(quota), WEIGHT)) as group:
                argv = group.command(BURN if load == "burn" else QUIET)
                with _running([argv], cgroup_files.folder_of(group, backend), backend) as pids:
                    for pid in pids:
                        os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
                    time.sleep(_SETTLE_S)
                    if load == "quiet":
                        _until_still(pids)
                    watch, sampler = _Watch(group, pids), _sampler(group)
                    watch.until(time.monotonic_ns() + int(seconds * 1e9))
                    sampled = None if sampler is None else sampler.stop().select(FIELDS[:-1]).rows()
                found.append({"samples": watch.samples, "sampler": sampled})
    return found


def _until_still(pids: Sequence[int]) -> None:
    """Until starting a program, which takes long where a machine is emulated, is over."""
    clocks = [_process_clock(pid) for pid in pids]
    deadline, used, before = time.monotonic() + _PATIENCE_S, 0, -1
    while used != before and time.monotonic() < deadline:
        before = used
        time.sleep(_SETTLE_S)
        used = sum(map(time.clock_gettime_ns, clocks))


def _sampler(group: Group) -> "Sampler | None":
    try:
        from nanonap.lab.quota.sampler import Sampler  # noqa: PLC0415 - a guest has no polars
    except ImportError:
        return None
    return None if group.stat_files is None else Sampler(group.stat_files).start()


def change(backend: str, before: str, after: str, trials: int) -> list[Trial]:
    """Trials of a burning group whose quota is changed in the midst of a period, 40 % after its beginning.

    Each is {"samples": …, "begun_ns": when the period was seen to begin, "written_ns": just before the write,
    "wrote_ns": how long that took}. Raises QuotaUnavailable.
    """
    old, new = parse_quota(before), parse_quota(after)
    found = []
    with cgroup_files.prepared(backend) as ready:
        for _ in range(trials):
            with ready.open(Limits(old, WEIGHT)) as group:
                folder = cgroup_files.folder_of(group, backend)
                with _running([group.command(BURN)], folder, backend) as pids:
                    time.sleep(_SETTLE_S)
                    watch = _Watch(group, pids)
                    begun_ns = _next_period(watch, backend)
                    watch.until(begun_ns + old.period_ns * 2 // 5)
                    written_ns = time.monotonic_ns()
                    cgroup_files.write_quota(
                        folder, cgroup_files.quota_us(new, folder), new.period_ns // 1_000, only_quota=True
                    )
                    wrote_ns = time.monotonic_ns() - written_ns
                    watch.until(written_ns + 2 * old.period_ns)
            moment = {"begun_ns": begun_ns, "written_ns": written_ns, "wrote_ns": wrote_ns}
            found.append({"samples": watch.samples, **moment})
    return found


def _next_period(watch: _Watch, backend: str) -> int:
    """Sample until a period begins; when it was first seen."""
    last: int | None = None
    for _ in range(1_000):
        sample = watch.take()
        periods = sample[FIELDS.index("nr_periods")]
        if last is not None and periods is not None and periods > last:
            return sample[0] or 0
        last = periods
    reason = "a burning group's periods are not counted"
    raise QuotaUnavailable(backend, reason, "choose --backend cgroup1, cgroup2 or guest")


def within(backend: str, parent: str, child: str, trials: int, seconds: float) -> list[Trial]:
    """Trials of two burning threads in a group within a group; the counters sampled are the outer group's.

    Each is {"samples": …}, or {"refused": errno's name} where the kernel takes no such pair. Raises QuotaUnavailable.
    """
    outer, inner = parse_quota(parent), parse_quota(child)
    found: list[Trial] = []
    with cgroup_files.prepared(backend) as ready:
        for _ in range(trials):
            with ready.open(Limits(outer, WEIGHT)) as group, ExitStack() as stack:
                try:
                    folder = stack.enter_context(cgroup_files.nested(cgroup_files.folder_of(group, backend)))
                    cgroup_files.write_quota(folder, cgroup_files.quota_us(inner, folder), inner.period_ns // 1_000)
                except OSError as error:
                    found.append({"samples": [], "refused": cgroup_files.refusal_of(error)})
                    continue
                argv = cgroup_files.entering(folder, list(BURN))
                pids = stack.enter_context(_running([argv, argv], folder, backend))
                time.sleep(_SETTLE_S)
                watch = _Watch(group, pids)
                watch.until(time.monotonic_ns() + int(seconds * 1e9))
                found.append({"samples": watch.samples})
    return found


@contextmanager
def _running(commands: Sequence[Sequence[str]], folder: Path, backend: str) -> Iterator[list[int]]:
    """Run the commands until the block ends; gives the processes in the folder's groups, as many as commands."""
    children = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for argv in commands]
    try:
        yield _entered(folder, len(commands), backend)
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.wait()


def _entered(folder: Path, count: int, backend: str) -> list[int]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        pids = [pid for each, _, _ in os.walk(folder) for pid in processes_in(Path(each))]
        # The shell that enters is in there before it has become the command.
        if len(pids) == count and not any(b"cgroup.procs" in _command_line(pid) for pid in pids):
            return pids
        time.sleep(0.01)
    reason = f"{len(pids)} processes are in the group, not {count}"
    raise QuotaUnavailable(backend, reason, "see whether another program moves processes between groups")


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"cgroup.procs"
