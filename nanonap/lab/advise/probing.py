"""The kernel's uprobes on a process's waits and timers: switched on for short windows, since each hit costs CPU time.

A uprobe is a breakpoint that the kernel sets and answers itself (Documentation/trace/uprobetracer.rst). It stands in
every process that runs the file; what others do there is dropped. The file is named by a descriptor that is open since
it was analysed: whatever becomes of the process, no other file gets a breakpoint.
"""

import contextlib
import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nanonap.lab.advise.log import Expiry, Wait, Window
from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.tracefs import Instance, append, find_tracefs, remove_stale, write
from patcher import InputNotFound, NoSuchProcess
from patcher.probing import Probes

_WORDS = 4  # of a timer, behind its lock, of which one is the time when it is due and the next its period
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # include/linux/proc_ns.h
_LATEST_NS = 60 * 10**9
_MOST_OTHERS = 0.05
_EVENT = re.compile(rb"-(\d+) +\[\d+\] \S+ +(\d+)\.(\d{6}): (wait|timer)\d*: \(0x[0-9a-f]+\) ?(.*)")


@dataclass(frozen=True)
class Target:
    """A process, by its number, the file that it runs, opened, and a descriptor that tells its end (pidfd_open(2))."""

    pid: int
    program: BinaryIO
    ends: int

    @property
    def lives(self) -> bool:
        """Whether it still runs, and that file."""
        with contextlib.suppress(OSError):
            same = os.path.samestat(os.fstat(self.program.fileno()), Path(f"/proc/{self.pid}/exe").stat())
            return same and not select.select([self.ends], [], [], 0)[0]
        return False

    def beside(self) -> list[int]:
        """Every process that runs the same file, this one too, as far as that can be seen."""
        own, found = os.fstat(self.program.fileno()), []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.path.samestat(own, (each / "exe").stat()):
                    found.append(int(each.name))
        return sorted(found)


@contextlib.contextmanager
def opened(pid: int) -> Iterator[Target]:
    """A process to watch. Raises NoSuchProcess, InputNotFound."""
    try:
        ends = os.pidfd_open(pid)
    except OSError as error:
        raise NoSuchProcess(f"process {pid}: there is none") from error
    try:
        try:
            program = Path(f"/proc/{pid}/exe").open("rb")  # noqa: SIM115 - the block below closes it
        except PermissionError as error:
            raise InputNotFound(f"process {pid}: its program cannot be read ({error.strerror}); run as root") from error
        except OSError as error:
            raise NoSuchProcess(
                f"process {pid}: its program cannot be opened ({error.strerror}); did it end?"
            ) from error
        with program:
            yield Target(pid, program, ends)
    finally:
        os.close(ends)


class Uprobes(Instance):
    """A private instance of the kernel's event tracing with the probes of one process."""

    most_bytes = 16 << 20

    def __init__(self, target: Target, probes: Probes) -> None:
        """Set nothing yet. Raises TracingUnavailable."""
        self._target, self._probes = target, probes
        self._numbered = os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE  # noqa: PTH116 - no file
        if not self._numbered and len(target.beside()) > 1:
            raise TracingUnavailable(
                "several processes run this file, which cannot be told apart in a PID namespace", "run on the host"
            )
        super().__init__("")

    def _enable_all(self, program: str) -> None:
        where = f"/proc/{os.getpid()}/fd/{self._target.program.fileno()}"
        listed = self.root / "uprobe_events"
        for number, each in enumerate(self._probes.waits):
            append(listed, f"p:{self.group}/wait{number} {where}:{each.offset:#x} delay=%{each.delay}:s64")
        if timer := self._probes.timer:
            words = " ".join(f"w{each}=+{8 * each}(%{timer.timer}):s64" for each in range(1, _WORDS + 1))
            fields = f"timer=%{timer.timer}:u64 now=%{timer.now}:s64 {words}"
            append(listed, f"p:{self.group}/timer {where}:{timer.offset:#x} {fields}")

    def switch(self, on: bool) -> None:
        """Set the breakpoints, or take them away; it takes as long as the kernel needs."""
        write(self.folder / "events" / self.group / "enable", str(int(on)))

    def hits(self) -> int:
        """How often the probes were hit so far, by any process."""
        lines = (self.root / "uprobe_profile").read_text(encoding="utf-8", errors="replace").splitlines()
        own = {f"wait{number}" for number, _ in enumerate(self._probes.waits)} | {"timer"}
        place = f"/fd/{self._target.program.fileno()}"
        words = (line.split() for line in lines)
        return sum(int(each[2]) for each in words if len(each) == 3 and each[1] in own and each[0].endswith(place))

    def read(self, begin_ns: int, end_ns: int) -> Window:
        """What was recorded since the last time, of this process, between two moments."""
        threads = _threads(self._target.pid) if self._numbered else None
        text = self.stop()
        write(self.folder / "trace", "")
        lost = sum(int(each) for each in re.findall(rb"^@lost \d+ (\d+)$", text, re.MULTILINE))
        waits: list[Wait] = []
        timers: list[tuple[int, int, list[int]]] = []
        at_ns = begin_ns
        for match in _EVENT.finditer(text):
            at_ns = int(match[2]) * 10**9 + int(match[3]) * 1000
            if (threads is not None and int(match[1]) not in threads) or not begin_ns <= at_ns <= end_ns:
                continue
            values = [int(each.partition(b"=")[2]) for each in match[5].split()]
            if match[4] == b"timer":
                timers.append((values[0], values[1], values[2:]))
            elif values[0]:
                waits.append(Wait(at_ns, values[0]))
        # What comes after the buffer is full is dropped: the record is whole up to its last event.
        until_ns = max(begin_ns + 1, min(end_ns, at_ns)) if lost else end_ns
        return Window(begin_ns, until_ns, tuple(waits), _expiries(timers), lost)


def _expiries(timers: list[tuple[int, int, list[int]]]) -> tuple[Expiry, ...]:
    """What the words of the timers say. Where the time of a timer stands differs between releases: it is the word that
    was just past whenever a timer went off. None, where no word was.
    """
    for place in range(_WORDS - 1):
        past = tuple(
            Expiry(timer, words[place], now, words[place + 1])
            for timer, now, words in timers
            if 0 <= now - words[place] < _LATEST_NS and words[place + 1] >= 0
        )
        if len(past) >= (1 - _MOST_OTHERS) * len(timers):
            return past
    return ()


def _threads(pid: int) -> set[int]:
    """The process's threads as tracing numbers them."""
    with contextlib.suppress(OSError):
        return {int(each) for each in os.listdir(f"/proc/{pid}/task")}  # noqa: PTH208 - names alone
    return set()


def remove_left() -> None:
    """Remove the probes of processes that are dead: what the watchdog does for one that was killed."""
    remove_stale(find_tracefs())
