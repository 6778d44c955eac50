"""Waiting system calls laid over sleeps: in which of them a sleep's time went. All moments in ns, on any one clock."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from nanonap.base.durations import asked
from nanonap.lab.experiments.path.recorder import WAITS

Row = dict[str, Any]
#: A call's time limit where it has none.
FOREVER = -1
EPOLL = ("epoll_pwait", "epoll_pwait2")


@dataclass(frozen=True)
class Call:
    """A call that waited. ``timeout_ns`` is what it asked for, None where that is not recorded.

    ``armed_ns`` is the moment that the kernel set a timer for, before slack; ``fired_ns`` is when that expired.
    """

    tid: int
    name: str
    enter_ns: int
    exit_ns: int
    timeout_ns: int | None
    armed_ns: int | None = None
    fired_ns: int | None = None

    def inside(self, start_ns: int, end_ns: int) -> int:
        """How much of a span it lasted."""
        return max(0, min(self.exit_ns, end_ns) - max(self.enter_ns, start_ns))


@dataclass(frozen=True)
class Sleep:
    """A sleep of the measured program: from just before time.Sleep to just after, where it ran on thread ``tid``."""

    index: int
    requested_ns: int
    start_ns: int
    end_ns: int
    tid: int

    @property
    def deadline_ns(self) -> int:
        """What was asked for."""
        return self.start_ns + self.requested_ns


class Log(NamedTuple):
    """A tracer's record: the waiting calls, and (tid, enter, exit) of each gettid."""

    calls: list[Call]
    marks: list[tuple[int, int, int]]


def wall_to_wall(log: Log, sleeps: Sequence[Sleep], pid: int) -> list[Sleep] | None:
    """The sleeps on the log's own clock; None where its marks are not these sleeps'.

    sleepbench -trace-wakes calls gettid after each sleep, so a sleep lies between two of them (the first has none
    before it, and is left out). The runtime calls it as a thread starts: in minit (src/runtime/os_linux.go), and before
    that in clone's child (sys_linux_amd64.s), which the first thread is not.
    """
    seen: Counter[int] = Counter()
    marks = []
    for mark in sorted(log.marks, key=lambda mark: mark[1]):
        seen[mark[0]] += 1
        if seen[mark[0]] > (1 if mark[0] == pid else 2):
            marks.append(mark)
    if [mark[0] for mark in marks] != [sleep.tid for sleep in sleeps]:
        return None
    return [
        Sleep(sleep.index, sleep.requested_ns, before[2], mark[1], sleep.tid)
        for (before, mark), sleep in zip(pairwise(marks), sleeps[1:], strict=True)
    ]


def system_monitor(calls: Iterable[Call], pid: int) -> int | None:
    """The runtime's system monitor: the first thread that the program makes (runtime.main in src/runtime/proc.go)."""
    return min((call.tid for call in calls if call.tid > pid), default=None)


def sleep_row(sleep: Sleep, calls: Iterable[Call], monitor: int | None) -> Row:
    """Where the sleep's time went: the columns ``call`` to ``monitor_ns`` of the data.

    Its call is one of the thread that it ended on, if that was in a call for most of it, else of any thread: another
    may have waited for the timer, and woken that one. But not of the system monitor, which naps whatever sleepers do.
    """
    overlapping = [call for call in calls if call.inside(sleep.start_ns, sleep.end_ns) > 0]
    naps = [call for call in overlapping if call.tid == monitor and call.name not in EPOLL]  # it polls now and then
    others = [call for call in overlapping if call.tid != monitor]
    own = _own(sleep, others)
    spent = {name: _union(sleep, [call for call in own if call.name == name]) for name in WAITS}
    name = max(spent, key=lambda each: spent[each]) if any(spent.values()) else None
    begun = [call for call in own if call.name == name and sleep.start_ns <= call.enter_ns and call.timeout_ns != 0]
    # A tracer that stops the program may let the deadline pass before the first call.
    limits = [argument(call) for number, call in enumerate(begun) if number == 0 or _counts(call, sleep)]
    return {
        "call": name,
        "argument": " + ".join(limits) or None,
        "inside_ns": spent[name] if name is not None else 0,
        "nanosleep_ns": _union(sleep, [call for call in others if call.name == "nanosleep"]),
        "monitor_ns": _union(sleep, naps),
    }


def _own(sleep: Sleep, others: list[Call]) -> list[Call]:
    """Of the calls in a sleep (none of the monitor's): its thread's, if that was in one for half of it at least."""
    own = [call for call in others if call.tid == sleep.tid]
    return own if 2 * _union(sleep, own) >= sleep.end_ns - sleep.start_ns else others


def _counts(call: Call, sleep: Sleep) -> bool:
    """Whether the call began while the deadline was ahead, and could wait."""
    return sleep.start_ns <= call.enter_ns < min(sleep.deadline_ns, sleep.end_ns) and call.timeout_ns != 0


def call_rows(sleep: Sleep, calls: Iterable[Call], monitor: int | None) -> Iterator[Row]:
    """Of each epoll call that began in the sleep and could wait: its time limit beside the time that was left.

    Of the sleep's own, as ``sleep_row`` has it: an idle thread's wait for another timer says nothing of this sleep.
    """
    others = [call for call in calls if call.tid != monitor and call.inside(sleep.start_ns, sleep.end_ns) > 0]
    for call in _own(sleep, others):
        if call.name in EPOLL and _counts(call, sleep) and call.timeout_ns is not None:
            until_ns = call.enter_ns + call.timeout_ns if call.armed_ns is None else call.armed_ns
            yield {
                "call": call.name,
                "timeout_ns": call.timeout_ns,
                "left_ns": sleep.deadline_ns - call.enter_ns,
                "past_ns": None if call.timeout_ns == FOREVER else until_ns - sleep.deadline_ns,
            }


def argument(call: Call) -> str:
    """The time limit as the call is given it: epoll_pwait counts milliseconds, the others nanoseconds."""
    if call.timeout_ns is None:
        return "?"
    if call.timeout_ns == FOREVER:
        return "no limit"
    if call.name == "epoll_pwait":
        return f"{call.timeout_ns // 1_000_000} ms"
    return asked(call.timeout_ns)


def _union(sleep: Sleep, calls: Iterable[Call]) -> int:
    """How much of the sleep some of the calls lasted, overlaps counted once."""
    total, until = 0, sleep.start_ns
    for call in sorted(calls, key=lambda call: call.enter_ns):
        begin, end = max(call.enter_ns, until), min(call.exit_ns, sleep.end_ns)
        if end > begin:
            total += end - begin
            until = end
    return total
