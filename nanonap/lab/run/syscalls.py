"""How often each arm enters the system calls that wait, counted by the kernel in a run of its own.

A counted run is never a measured one: counting costs time. perf counts in the kernel and costs little; strace stops
the program twice a call and slows it, so its rates are lower than the truth.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType

from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.schedule import Run
from nanonap.lab.run.runner import execute, parse

EPOLL = ("epoll_pwait", "epoll_pwait2")
COUNTED = (*EPOLL, "nanosleep", "clock_nanosleep", "futex")
ALL = "all"
"""The name under which every system call is counted."""
_TRACEFS = Path("/sys/kernel/tracing")
# Where no tracefs is mounted perf needs one, and as root mounts it itself and leaves it. So it gets one in a mount
# namespace of its own, and the machine stays as it is.
_MOUNT = f'[ -d {_TRACEFS}/events ] || mount -t tracefs nodev {_TRACEFS}; exec "$@"'
PRIVATE_TRACEFS = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _MOUNT, "sh"]
_STRACE_LINE = re.compile(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)")
REMEDY = "run as root with `perf` installed (Debian: linux-perf), or install strace"


@dataclass(frozen=True)
class Counter:
    """A way to count: its name, the command around the program (given the file for the counts), and its reader."""

    name: str
    around: Callable[[Path], list[str]]
    read: Callable[[str], dict[str, int]]


def _perf(prefix: Sequence[str]) -> Callable[[Path], list[str]]:
    names = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in COUNTED)]
    events = [part for name in names for part in ("-e", name)]
    return lambda out: [*prefix, "perf", "stat", "-x", ",", "-o", str(out), *events, "--"]


def _strace(out: Path) -> list[str]:
    return ["strace", "-f", "-c", "-o", str(out)]


def read_perf(text: str) -> dict[str, int]:
    """``perf stat -x,``: a line an event, count first, event third (perf-stat(1)). One not counted is left out."""
    counts = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            name = fields[2].removeprefix("syscalls:sys_enter_")
            counts[ALL if name == "raw_syscalls:sys_enter" else name] = int(fields[0])
    return counts


def read_strace(text: str) -> dict[str, int]:
    """``strace -c``: columns % time, seconds, usecs/call, calls, [errors], syscall; a call never made has no line."""
    counts = dict.fromkeys((*COUNTED, ALL), 0)
    for line in text.splitlines():
        match = _STRACE_LINE.fullmatch(line.rstrip())
        if match is None or match[2] == "total":
            continue
        counts[ALL] += int(match[1])
        if match[2] in counts:
            counts[match[2]] = int(match[1])
    return counts


COUNTERS = (
    Counter("perf", _perf(PRIVATE_TRACEFS), read_perf),
    # Who may not make a namespace may not mount either, but may have been given leave to count.
    Counter("perf", _perf([]), read_perf),
    Counter("strace", _strace, read_strace),
)


def find_counter(counters: Sequence[Counter] = COUNTERS) -> Counter | None:
    """The first that counts a harmless command's calls here, or None."""
    return next((counter for counter in counters if _works(counter)), None)


def _works(counter: Counter) -> bool:
    with tempfile.TemporaryDirectory(prefix="nanonap-") as folder:
        out = Path(folder, "counts")
        try:
            done = subprocess.run([*counter.around(out), "true"], capture_output=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and out.exists() and {*COUNTED, ALL} <= counter.read(_text(out)).keys()


class Counted(Struct, frozen=True, kw_only=True):
    """Of one run, by the ``counter`` of that name; ``calls`` by their names.

    The process's start and warm-up are in the counts and not in ``wall_ns``: a few calls in thousands.
    """

    counter: str
    calls: dict[str, int]
    sleeps: int
    wall_ns: int
    epoll_per_second: float
    per_sleep: float | UnsetType | None = UNSET


def count(counter: Counter, run: Run, gomaxprocs: int, stop: Stop) -> Counted:
    """Count the calls of one run. Raises RunFailed and Interrupted."""
    with tempfile.TemporaryDirectory(prefix="nanonap-") as folder:
        out = Path(folder, "counts")
        finished = execute([*counter.around(out), *run.arm.words, *run.options(gomaxprocs)], run, stop)
        calls = counter.read(_text(out))
    header = parse(finished.stdout, run).header
    waits = sum(calls.get(name, 0) for name in EPOLL)
    return Counted(
        counter=counter.name,
        calls=calls,
        sleeps=header.n,
        wall_ns=header.wall_ns,
        epoll_per_second=waits / (header.wall_ns / 1e9),
        per_sleep=calls[ALL] / header.n if header.n else None,
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
