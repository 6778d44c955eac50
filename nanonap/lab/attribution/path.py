"""What a sleeper waited for, from its deadline to the moment it ran: the thread that ran it, followed backwards.

Each moment has one label. Going back from the end, at first with the thread that ran the goroutine:

- the thread ran: ``goscheduler``. It had a CPU, and used it for other goroutines or for finding this one;
- it waited for a CPU: ``throttled`` where the group was, else ``runqueue``, and ``unexplained`` where that is in doubt;
- it was blocked, and another thread of the process woke it: from here that thread is followed;
- it was blocked, and an interrupt woke it: ``granularity``, the kernel had not let the timer expire before. But if it
  is the runtime's system monitor, it was not this timer that it slept on: then the moment's label is ``goscheduler``
  if some thread of the process ran, that of its wait if some thread waited, else ``granularity``;
- it was stuck in the kernel, woken by something else, or not recorded: ``unexplained``. So is everything if the thread
  was blocked at the end, where it must have run. If it waited there, a switch was not recorded and the end of its wait
  is known too late: the wait is taken to reach to the end.
"""

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from enum import Enum

from nanonap.lab.attribution.threads import State, Threads
from nanonap.lab.attribution.throttling import Stops

_MOST_STEPS = 100_000


class Part(Enum):
    """The parts of a late wake-up; their values are names of columns, without ``_ns``."""

    GRANULARITY = "granularity"
    THROTTLED = "throttled"
    RUNQUEUE = "runqueue"
    GOSCHEDULER = "goscheduler"
    UNEXPLAINED = "unexplained"


Span = tuple[int, int, Part]


class CriticalPath:
    """Splits late wake-ups of one process."""

    def __init__(self, threads: Threads, stops: Stops) -> None:
        """Of these threads, where their group was throttled so."""
        self.threads, self._stops = threads, stops

    def split(self, tid: int, deadline_ns: int, end_ns: int) -> Counter[Part]:
        """ns of each part; together they are ``end_ns - deadline_ns``, which is not negative."""
        parts: Counter[Part] = Counter()
        for start, end, part in self.spans(tid, deadline_ns, end_ns):
            parts[part] += end - start
        return parts

    def spans(self, tid: int, deadline_ns: int, end_ns: int) -> Iterator[Span]:
        """The same as spans, the latest first, without gaps from ``deadline_ns`` to ``end_ns``."""
        now = end_ns
        threads = self.threads
        for _ in range(_MOST_STEPS):
            if now <= deadline_ns:
                return
            segment = threads.before(tid, now)
            if segment is None or (now == end_ns and segment.state not in (State.RUNNING, State.WAITING)):
                break
            start = max(segment.start_ns, deadline_ns)
            if segment.state is State.RUNNING:
                yield start, now, Part.GOSCHEDULER
            elif segment.state is State.WAITING:
                yield from self.wait(segment.cpu, start, now)
            elif segment.state is State.BLOCKED and segment.waker in threads.own and segment.waker != tid:
                tid, start = segment.waker, now
            elif segment.state is State.BLOCKED and segment.interrupt:
                if tid == threads.sysmon:
                    yield from self._of_all(start, now)
                else:
                    yield start, now, Part.GRANULARITY
            else:
                yield start, now, Part.UNEXPLAINED
            now = start
        if now > deadline_ns:
            yield deadline_ns, now, Part.UNEXPLAINED

    def wait(self, cpu: int, start: int, end: int) -> Iterator[Span]:
        """A thread's wait for a CPU as spans, the latest first."""
        now = end
        spans = [(*span, Part.THROTTLED) for span in _overlapping(self._stops.sure.get(cpu, []), start, end)]
        spans += [(*span, Part.UNEXPLAINED) for span in _overlapping(self._stops.doubtful.get(cpu, []), start, end)]
        for begin, until, part in sorted(spans, key=lambda span: span[0], reverse=True):
            if min(until, end) < now:
                yield until, now, Part.RUNQUEUE
            yield max(begin, start), min(until, end), part
            now = max(begin, start)
        if start < now:
            yield start, now, Part.RUNQUEUE

    def _of_all(self, start: int, end: int) -> Iterator[Span]:
        """The labels of the process as a whole, the system monitor aside."""
        threads = self.threads
        others = [each for tid in threads.own - {threads.sysmon} for each in threads.within(tid, start, end)]
        edges = {start, end} | {ns for each in others for ns in (each.start_ns, each.end_ns) if start < ns < end}
        ordered = sorted(edges, reverse=True)
        for until, begin in itertools.pairwise(ordered):
            now = [each for each in others if each.start_ns <= begin and until <= each.end_ns]
            waiting = next((each for each in now if each.state is State.WAITING), None)
            if any(each.state is State.RUNNING for each in now):
                yield begin, until, Part.GOSCHEDULER
            elif waiting is not None:
                yield from self.wait(waiting.cpu, begin, until)
            else:
                yield begin, until, Part.GRANULARITY


def _overlapping(spans: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    first = max(bisect_left(spans, (start, start)) - 1, 0)
    found = []
    for span in spans[first:]:
        if span[0] >= end:
            break
        if span[1] > start:
            found.append(span)
    return found
