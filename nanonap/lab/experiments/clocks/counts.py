"""How many clock_gettime(2) a process makes that reads the clock: by strace or perf, in a guest by its kernel."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nanonap.lab.ground.interrupt import Finished, Stop
from nanonap.lab.ground.watchdog import guarded_folder
from nanonap.lab.run import syscalls

#: The program's option for nothing but the loop.
LOOP_ONLY = "-only-loop"
_TIMEOUT_S = 60.0
_TRACEFS = "/sys/kernel/tracing"
# A histogram of the event's hits that its kernel keeps (Documentation/trace/histogram.rst), by the process's name: in
# a guest whose clock source is not readable every process makes the call.
_HISTOGRAM = f"""
[ -d {_TRACEFS}/events ] || mount -t tracefs nodev {_TRACEFS} || exit
event={_TRACEFS}/events/syscalls/sys_enter_clock_gettime
histogram="hist:keys=common_pid if comm == \\"$0\\""
echo "$histogram" > "$event/trigger" || exit
"$@" > /dev/null && cat "$event/hist"
echo "!$histogram" > "$event/trigger"
"""
_HITS = re.compile(r"^\s*Hits: (\d+)$", re.MULTILINE)
Row = dict[str, Any]
#: Name, the command around the program, and how many calls its file tells.
_Counter = tuple[str, Callable[[Path], list[str]], Callable[[str], int]]


def _strace(out: Path) -> list[str]:
    return ["strace", "-f", "-c", "-e", "trace=clock_gettime", "-o", str(out)]


def _perf(out: Path) -> list[str]:
    event = "syscalls:sys_enter_clock_gettime"
    return [*syscalls.PRIVATE_TRACEFS, "perf", "stat", "-x", ",", "-o", str(out), "-e", event, "--"]


_COUNTERS: tuple[_Counter, ...] = (
    # All calls that it was asked for are of one kind.
    ("strace", _strace, lambda text: syscalls.read_strace(text)[syscalls.ALL]),
    ("perf", _perf, lambda text: syscalls.read_perf(text)["clock_gettime"]),
)


def count_here(argvs: Mapping[str, Sequence[str]], stop: Stop, calls: int) -> list[Row]:
    """A row a command: ``source``, ``counter``, ``counted``; or one with what is ``missing``.

    A counter is trusted if it sees the ``calls`` system calls of the source ``syscall``. Raises Interrupted.
    """
    for name, around, read in _COUNTERS:
        counted = {source: _count(around, read, argv, stop) for source, argv in argvs.items()}
        if (counted.get("syscall") or 0) >= calls:
            return [{"source": source, "counter": name, "counted": number} for source, number in counted.items()]
    return [{"missing": f"no system call was counted; {syscalls.REMEDY}"}]


def _count(
    around: Callable[[Path], list[str]], read: Callable[[str], int], argv: Sequence[str], stop: Stop
) -> int | None:
    """Of the whole process; None where that cannot be known."""
    with guarded_folder() as folder:
        out = folder / "counts"
        try:
            finished = stop.run([*around(out), *argv], _TIMEOUT_S)
            return read(out.read_text(encoding="utf-8", errors="replace")) if finished.status == 0 else None
        except (OSError, KeyError):
            return None


def count_in_guest(argvs: Mapping[str, Sequence[str]], run: Callable[..., Finished], comm: str) -> list[Row]:
    """The same in a guest, where ``run`` runs a command; ``comm`` is the program's name there. Raises RunFailed."""
    rows: list[Row] = []
    for source, argv in argvs.items():
        finished = run("/bin/sh", "-c", _HISTOGRAM, comm, *argv)
        hits = _HITS.search(finished.stdout.decode("ascii", "replace"))
        if hits is None:
            said = " ".join(finished.stderr.split())[-200:] or "no reason given"
            rows.append({"source": source, "missing": f"{source}: its system calls were not counted ({said})"})
        else:
            rows.append({"source": source, "counter": "the kernel's histogram", "counted": int(hits[1])})
    return rows
