"""Counters read again and again while a program runs. Standard library only: the recorder runs in guests too.

Each line of the record names two moments, ``BEFORE NOW``: the values were seen by NOW, when this reading had ended, and
at BEFORE they were still those of the line before: there the last reading that saw those began. (A reader can be held
up for milliseconds between the values and the clock.) Moments are CLOCK_MONOTONIC in ns.

- ``@stat BEFORE NOW NR_PERIODS NR_THROTTLED THROTTLED_NS``: a group's cpu.stat, cgroup v1 or v2.
- ``@task BEFORE NOW PID TID RAN_NS WAITED_NS``: /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst):
  time on a CPU, and time runnable without one, which the kernel adds up when the thread gets a CPU again.
- ``@member TID INNER``: a thread that was seen in the group, and its number in its own PID namespace.
"""

import contextlib
import os
import threading
import time
from pathlib import Path

INTERVAL_S = 0.002
_SEARCH_S = 0.02
_PERIODS, _THROTTLED, _V1, _V2 = b"nr_periods", b"nr_throttled", b"throttled_time", b"throttled_usec"


class Sampling:
    """Reads ``stat`` (a cpu.stat, or None) and, if ``tasks``, every thread of processes called ``program``."""

    def __init__(self, program: str, stat: Path | None, tasks: bool) -> None:
        """Nothing is read yet. OSError if ``stat`` cannot be."""
        self.lines: list[str] = []
        self._stop = threading.Event()
        self._groups = [_Group(stat)] if stat is not None else []
        self._sources: list[_Group | _Tasks] = [*self._groups, *([_Tasks(program)] if tasks else [])]
        self._thread = threading.Thread(target=self._read, daemon=True)
        for each in self._sources:
            each.read(self.lines)

    def start(self) -> None:
        """Read until ``stop``."""
        if self._sources:
            self._thread.start()

    def stop(self) -> str:
        """Read once more, and give the lines."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for group in self._groups:
            self.lines += [f"@member {tid} {inner}\n" for tid, inner in sorted(group.members.items())]
        return "".join(self.lines)

    def _read(self) -> None:
        # A sampler that waits for a CPU tells less exactly when something happened; not everybody may do this.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        last = False
        while not last:
            last = self._stop.wait(INTERVAL_S)
            for each in self._sources:
                each.read(self.lines)


class _Group:
    def __init__(self, stat: Path) -> None:
        self.stat = stat.open("rb", buffering=0)
        names = (stat.with_name("cgroup.threads"), stat.with_name("tasks"))
        self.threads = next((name for name in names if name.exists()), None)
        self.members: dict[int, int] = {}
        self.before_ns, self.values, self.searched = time.monotonic_ns(), (-1, -1, -1), 0.0

    def read(self, lines: list[str]) -> None:
        begin_ns = time.monotonic_ns()
        try:
            fields = dict(line.split() for line in os.pread(self.stat.fileno(), 4096, 0).splitlines())
        except OSError:
            return  # the group was removed, so nothing runs in it any more
        now_ns = time.monotonic_ns()
        throttled = int(fields[_V1]) if _V1 in fields else int(fields.get(_V2, 0)) * 1000
        values = (int(fields.get(_PERIODS, 0)), int(fields.get(_THROTTLED, 0)), throttled)
        if values != self.values:
            lines.append(f"@stat {self.before_ns} {now_ns} {values[0]} {values[1]} {values[2]}\n")
            self.values = values
        self.before_ns = begin_ns
        if self.threads is not None and time.monotonic() - self.searched > _SEARCH_S:
            with contextlib.suppress(OSError):
                for tid in map(int, self.threads.read_bytes().split()):
                    if tid not in self.members:
                        self.members[tid] = _inner(tid)
            self.searched = time.monotonic()


def _inner(tid: int) -> int:
    """A thread's number in its own PID namespace: the last one of NSpid in proc_pid_status(5)."""
    status = Path(f"/proc/{tid}/status").read_text(encoding="utf-8", errors="replace")
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), str(tid))
    return int(line.split()[-1])


class _Tasks:
    def __init__(self, program: str) -> None:
        self.comm = program.encode()[:15]
        self.pids: set[str] = set()
        self.known: set[str] = set()
        self.seen: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.searched = 0.0

    def read(self, lines: list[str]) -> None:
        if time.monotonic() - self.searched > _SEARCH_S:
            self._search()
        for pid in tuple(self.pids):
            try:
                tids = [each.name for each in Path(f"/proc/{pid}/task").iterdir()]
            except OSError:
                self.pids.discard(pid)
                continue
            for tid in tids:
                self._read_task(pid, tid, lines)

    def _read_task(self, pid: str, tid: str, lines: list[str]) -> None:
        begin_ns = time.monotonic_ns()
        try:
            # Not by pathlib, which takes twice as long: it is done for each thread, hundreds of times a second.
            descriptor = os.open(f"/proc/{pid}/task/{tid}/schedstat", os.O_RDONLY)
            try:
                values = os.read(descriptor, 256)
            finally:
                os.close(descriptor)
        except OSError:
            return
        now_ns = time.monotonic_ns()
        before_ns, old = self.seen.get((pid, tid), (now_ns, b""))
        if values != old:
            ran, waited, _ = values.split()
            lines.append(f"@task {before_ns} {now_ns} {pid} {tid} {int(ran)} {int(waited)}\n")
        self.seen[pid, tid] = (begin_ns, values)

    def _search(self) -> None:
        pids = {each.name for each in Path("/proc").iterdir() if each.name.isdigit()}
        self.known &= pids
        for pid in pids - self.known:
            with contextlib.suppress(OSError):
                comm = Path(f"/proc/{pid}/comm").read_bytes().rstrip(b"\n")
                # Until it becomes the program it has another's name: look at it again.
                if comm == self.comm:
                    self.pids.add(pid)
                    self.known.add(pid)
        self.searched = time.monotonic()
