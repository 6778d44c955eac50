"""The recorder's text as wake-ups, whichever way they were recorded. Moments are CLOCK_MONOTONIC in ns.

bpftrace's are exact; the text of tracefs is cut to whole microseconds, but for the deadlines.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.experiments.skew.recorder import BPFTRACE
from nanonap.lab.experiments.skew.tracefs import BEGINS, ENDS


class Wake(NamedTuple):
    """A waiting call that a timer ended, by thread ``tid``: when each stage was reached.

    ``soft`` is the deadline, ``hard`` that with the timer slack. ``ran`` is None where the thread had not left its CPU
    when the timer expired. Of tracefs alone: ``asked``, when timerfd_settime began that armed the timer,
    ``stat``, when sched_stat_sleep came, and ``slept_ns``, what it said.
    """

    tid: int
    armed: int
    soft: int
    hard: int
    expired: int
    woken: int | None
    ran: int | None
    exited: int
    asked: int | None = None
    stat: int | None = None
    slept_ns: int | None = None


@dataclass
class Wakes:
    """A recording. ``otherwise``: armed waits that something else ended; ``timerfd``: calls of timerfd_settime.

    ``stats``: how often sched_stat_sleep came, ``lacking``: why it cannot; both None if it was not asked for.
    """

    wakes: list[Wake] = field(default_factory=list)
    otherwise: int = 0
    timerfd: int = 0
    stats: int | None = None
    lacking: str | None = None
    lost: int = 0


_WAKE = re.compile(r"@wakes\[(\d+), (\d+)\]: \(([\d, ]+)\)")
_COUNT = re.compile(r"@(timerfd_settime|ended_otherwise|recorded)\[\d+\]: (\d+)")
_LOST = re.compile(r"Lost (\d+) events")


def parse_wakes(text: str, method: str) -> Wakes:
    """Read what ``skew_recorder`` wrote. Raises RecordingFailed if it is no such record."""
    try:
        return _of_bpftrace(text) if method == BPFTRACE else _Kernel().read(text)
    except (ValueError, LookupError) as error:
        raise RecordingFailed(f"a record of wake-ups came back broken ({error}); run it again") from error


def _of_bpftrace(text: str) -> Wakes:
    found = Wakes()
    counts = {"timerfd_settime": 0, "ended_otherwise": 0, "recorded": 0}
    for line in text.splitlines():
        if match := _WAKE.fullmatch(line):
            soft, hard, expired, woken, ran, exited = map(int, match[3].split(","))
            stages = (soft, hard, expired, woken or None, ran or None, exited)
            found.wakes.append(Wake(int(match[1]), int(match[2]), *stages))
        elif match := _COUNT.fullmatch(line):
            counts[match[1]] += int(match[2])
        elif match := _LOST.search(line):
            found.lost += int(match[1])
    found.timerfd, found.otherwise = counts["timerfd_settime"], counts["ended_otherwise"]
    # What a full map has no room for is dropped without a word.
    found.lost += counts["recorded"] - len(found.wakes)
    return found


_LINE = re.compile(r".*?-(\d+)\s+\[\d+\]\s+\S+\s+(\d+)\.(\d{6}): (\w+)(: |\(| -> )(.*)")
_FIELD = re.compile(r"(\w+)=(\S+)")


@dataclass
class _Wait:
    asked: int | None
    timer: str = ""
    armed: int = 0
    soft: int = 0
    hard: int = 0
    expired: int = 0
    woken: int | None = None
    ran: int | None = None
    stat: int | None = None
    slept_ns: int | None = None


class _Kernel:
    """The kernel's own text, read line by line: the same as the script of bpftrace does in the kernel."""

    def __init__(self) -> None:
        self._found = Wakes(stats=0)
        self._waits: dict[int, _Wait] = {}
        self._owners: dict[str, int] = {}
        self._events: dict[str, Callable[[int, int, dict[str, str]], None]] = {
            "hrtimer_start": self._armed,
            "hrtimer_expire_entry": self._expired,
            "sched_wakeup": self._woken,
            "sched_switch": self._ran,
            "sched_stat_sleep": self._slept,
        }

    def read(self, text: str) -> Wakes:
        for line in text.splitlines():
            if line.startswith("@stat "):
                self._found.stats, self._found.lacking = None, line.removeprefix("@stat ")
            elif line.startswith("@lost "):
                self._found.lost += int(line.split()[2])
            elif match := _LINE.match(line):
                tid, ns = int(match[1]), int(match[2]) * 1_000_000_000 + int(match[3]) * 1_000
                name = match[4].removeprefix("sys_")
                if match[5] == "(" and name in BEGINS:
                    self._begins(ns, tid, name)
                elif match[5] == " -> " and name in ENDS:
                    self._ends(ns, tid)
                elif match[5] == ": " and name in self._events:
                    self._events[name](ns, tid, dict(_FIELD.findall(match[6])))
        return self._found

    def _begins(self, ns: int, tid: int, name: str) -> None:
        by_timerfd = name == "timerfd_settime"
        self._found.timerfd += by_timerfd
        self._waits[tid] = _Wait(ns if by_timerfd else None)

    def _armed(self, ns: int, tid: int, fields: dict[str, str]) -> None:
        # The timer of a sleeping thread, or of a timerfd: an interrupt may start others in the thread's context.
        if tid in self._waits and fields["function"] in ("hrtimer_wakeup", "timerfd_tmrproc"):
            wait = self._waits[tid]
            wait.timer, wait.armed = fields["hrtimer"], ns
            wait.soft, wait.hard = int(fields["softexpires"]), int(fields["expires"])
            self._owners[wait.timer] = tid

    def _expired(self, ns: int, _tid: int, fields: dict[str, str]) -> None:
        wait = self._waits.get(self._owners.get(fields["hrtimer"], -1))
        if wait is not None:
            wait.expired = ns

    def _slept(self, ns: int, _tid: int, fields: dict[str, str]) -> None:
        self._found.stats = (self._found.stats or 0) + 1
        wait = self._waits.get(int(fields["pid"]))
        if wait is not None and wait.expired and wait.stat is None:
            wait.stat, wait.slept_ns = ns, int(fields["delay"])

    def _woken(self, ns: int, _tid: int, fields: dict[str, str]) -> None:
        wait = self._waits.get(int(fields["pid"]))
        if wait is not None and wait.expired and wait.woken is None:
            wait.woken = ns

    def _ran(self, ns: int, _tid: int, fields: dict[str, str]) -> None:
        wait = self._waits.get(int(fields["next_pid"]))
        if wait is not None and wait.woken is not None and wait.ran is None:
            wait.ran = ns

    def _ends(self, ns: int, tid: int) -> None:
        wait = self._waits.pop(tid, None)
        if wait is None or not wait.timer:
            return
        self._owners.pop(wait.timer, None)
        if not wait.expired:
            self._found.otherwise += 1
            return
        stages = (wait.armed, wait.soft, wait.hard, wait.expired, wait.woken, wait.ran, ns)
        self._found.wakes.append(Wake(tid, *stages, wait.asked, wait.stat, wait.slept_ns))
