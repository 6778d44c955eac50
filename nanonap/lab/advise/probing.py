"""The kernel's uprobes on a process's waits and timers: switched on for short windows, since each hit costs CPU time.

A uprobe is a breakpoint that the kernel sets and answers itself (Documentation/trace/uprobetracer.rst). It stands in
every process that runs the file; what others do there is dropped.
"""

import contextlib
import os
import re
from pathlib import Path

from nanonap.lab.advise.log import Expiry, Wait, Window
from nanonap.lab.attribution.tracefs import Instance, append, write
from patcher.probing import Probes

_WORDS = 4  # of a timer, behind its lock, of which one is the time when it is due and the next its period
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h
_LATEST_NS = 60 * 10**9
_MOST_OTHERS = 0.05
_EVENT = re.compile(rb"-(\d+) +\[\d+\] \S+ +(\d+)\.(\d{6}): (wait|timer)\d*: \(0x[0-9a-f]+\) ?(.*)")


class Uprobes(Instance):
    """A private instance of the kernel's event tracing with the probes of one process."""

    most_bytes = 16 << 20

    def __init__(self, pid: int, probes: Probes) -> None:
        """Set nothing yet. Raises TracingUnavailable."""
        self.pid, self.probes = pid, probes
        super().__init__("")

    def _enable_all(self, program: str) -> None:
        where = f"/proc/{self.pid}/exe"
        listed = self.root / "uprobe_events"
        for number, each in enumerate(self.probes.waits):
            append(listed, f"p:{self.group}/wait{number} {where}:{each.offset:#x} delay=%{each.delay}:s64")
        if timer := self.probes.timer:
            words = " ".join(f"w{each}=+{8 * each}(%{timer.timer}):s64" for each in range(1, _WORDS + 1))
            fields = f"timer=%{timer.timer}:u64 now=%{timer.now}:s64 {words}"
            append(listed, f"p:{self.group}/timer {where}:{timer.offset:#x} {fields}")

    def switch(self, on: bool) -> None:
        """Set the breakpoints, or take them away; it takes as long as the kernel needs."""
        write(self.folder / "events" / self.group / "enable", str(int(on)))

    def read(self, begin_ns: int, end_ns: int) -> Window:
        """What was recorded since the last time, of this process, between two moments."""
        threads = _threads(self.pid)
        text = self.stop()
        write(self.folder / "trace", "")
        lost = sum(int(each) for each in re.findall(rb"^@lost \d+ (\d+)$", text, re.MULTILINE))
        waits: list[Wait] = []
        timers: list[tuple[int, int, list[int]]] = []
        hits = 0
        for match in _EVENT.finditer(text):
            at_ns = int(match[2]) * 10**9 + int(match[3]) * 1000
            if (threads is not None and int(match[1]) not in threads) or not begin_ns <= at_ns <= end_ns:
                continue
            hits += 1
            values = [int(each.partition(b"=")[2]) for each in match[5].split()]
            if match[4] == b"timer":
                timers.append((values[0], values[1], values[2:]))
            elif values[0]:
                waits.append(Wait(at_ns, values[0]))
        return Window(begin_ns, end_ns, tuple(waits), _expiries(timers), hits, lost)


def _expiries(timers: list[tuple[int, int, list[int]]]) -> tuple[Expiry, ...]:
    """What the words of the timers say. Where the time of a timer stands differs between releases: it is the word that
    was just past whenever a timer went off. None, where no word was.
    """
    for place in range(_WORDS - 1):
        past = [now for _, now, words in timers if 0 <= now - words[place] < _LATEST_NS and words[place + 1] >= 0]
        if len(past) >= (1 - _MOST_OTHERS) * len(timers):
            return tuple(
                Expiry(timer, words[place], now, words[place + 1])
                for timer, now, words in timers
                if 0 <= now - words[place] < _LATEST_NS
            )
    return ()


def _threads(pid: int) -> set[int] | None:
    """The process's threads as tracing numbers them; None in a PID namespace of its own, where that is not known."""
    if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:  # noqa: PTH116 - a namespace, no file
        return None
    with contextlib.suppress(OSError):
        return {int(each) for each in os.listdir(f"/proc/{pid}/task")}  # noqa: PTH208 - names alone
    return set()


def beside(pid: int) -> list[int]:
    """Every process that runs the same file as this one, this one too, as far as that can be seen."""
    own = _file(pid)
    numbers = sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return [each for each in numbers if own is not None and _file(each) == own]


def _file(pid: int) -> tuple[int, int] | None:
    try:
        file = Path(f"/proc/{pid}/exe").stat()
    except OSError:
        return None
    return file.st_dev, file.st_ino
