"""What a growth of a group's throttled time can have come from, by two facts of kernel/sched/fair.c.

The throttled time grows when the group is let go on (unthrottle_cfs_rq), by the whole length of the stop, summed over
the CPUs that were let go on between two readings. And no thread of a group runs on a CPU where the group is stopped,
but, from Linux 6.18 on, for what it still has to do in the kernel, which is little. So a stop begins where a thread of
the group left the CPU or arrived there, since only these can find the quota spent; no thread of the group ran there for
long since, nor does before it ends, which is between the readings. An explanation is a choice of
CPUs and of a stop on each, such that the stops can end where their lengths add up to the growth. Mostly the CPUs are
let go on together, so explanations with one end for all rule out the others, where there are any; but on a machine that
itself waits for a processor the ends can lie milliseconds apart.
"""

import itertools
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from nanonap.lab.attribution.events import Growth
from nanonap.lab.attribution.threads import Segment, State, Threads

_CLOCKS_DIFFER_NS = 200_000
"""How far a reading's moment, the trace's and the scheduler's clock (rq_clock, taken once per call) may lie apart."""
_LONGEST_IN_KERNEL_NS = 100_000
_MOST_CHOICES = 20_000


class Stop(NamedTuple):
    """The group is stopped on a CPU from ``start_ns``; the end lies from ``soonest_ns`` to ``latest_ns``."""

    cpu: int
    start_ns: int
    soonest_ns: int
    latest_ns: int


class Counted:
    """The waits and the CPUs' times without the group, against which growths are held."""

    def __init__(self, threads: Threads) -> None:
        """Of these threads, which are taken for the whole group."""
        segments = [part for parts in threads.segments.values() for part in parts]
        self._waits = sorted((part for part in segments if part.state is State.WAITING), key=lambda part: part.start_ns)
        self._longest_ns = max((wait.end_ns - wait.start_ns for wait in self._waits), default=0)
        #: Per CPU: when the group left it, and the spans in which it ran there briefly at most.
        self._left: dict[int, list[int]] = defaultdict(list)
        self._without: dict[int, list[tuple[int, int]]] = defaultdict(list)
        runs: dict[int, list[Segment]] = defaultdict(list)
        for part in sorted(segments, key=lambda part: part.start_ns):
            if part.state is State.RUNNING:
                runs[part.cpu].append(part)
        for cpu in runs.keys() | {wait.cpu for wait in self._waits}:
            left_ns = 0
            for start_ns, end_ns in _joined(runs[cpu]):
                self._left[cpu].append(end_ns)
                if end_ns - start_ns > _LONGEST_IN_KERNEL_NS:
                    self._without[cpu].append((left_ns, start_ns))
                    left_ns = end_ns
            self._without[cpu].append((left_ns, sys.maxsize))

    def near(self, growth: Growth) -> list[Segment]:
        """The waits that go on at some moment between the two readings."""
        early, late = _readings(growth)
        first = bisect_left(self._waits, early - self._longest_ns, key=lambda wait: wait.start_ns)
        started = itertools.takewhile(lambda wait: wait.start_ns < late, itertools.islice(self._waits, first, None))
        return [wait for wait in started if wait.end_ns > early]

    def explanations(self, growth: Growth) -> list[list[Stop]]:
        """Every choice of stops that fits, at most one on each CPU; their ends are bounded as narrowly as is known."""
        together: list[list[Stop]] = []
        apart: list[list[Stop]] = []
        for choice in _choices(self._possible(growth)):
            sum_ns = growth.throttled_ns + sum(stop.start_ns for stop in choice)
            soonest = sum(stop.soonest_ns for stop in choice)
            latest = sum(stop.latest_ns for stop in choice)
            if soonest - _CLOCKS_DIFFER_NS <= sum_ns <= latest + _CLOCKS_DIFFER_NS:
                narrowed = [_narrowed(stop, sum_ns - latest, sum_ns - soonest) for stop in choice]
                end_ns = sum_ns // len(choice)
                at_once = all(stop.soonest_ns - _CLOCKS_DIFFER_NS <= end_ns for stop in choice) and all(
                    end_ns <= stop.latest_ns + _CLOCKS_DIFFER_NS for stop in choice
                )
                (together if at_once else apart).append(narrowed)
        return together or apart

    def _possible(self, growth: Growth) -> dict[int, list[Stop]]:
        """The stops on each CPU in which a thread waited, those of each time without the group the earliest first."""
        early, late = _readings(growth)
        waits: dict[int, list[Segment]] = defaultdict(list)
        for wait in self.near(growth):
            waits[wait.cpu].append(wait)
        found: dict[int, list[Stop]] = {}
        for cpu, near in waits.items():
            spans, lefts = self._without[cpu], self._left[cpu]
            for since, runs in spans[bisect_right(spans, early, key=lambda span: span[1]) :]:
                until = min(runs, late)
                starts = {max(wait.start_ns, since) for wait in near if wait.start_ns < until and wait.end_ns > since}
                # Before Linux 6.6 a stop is counted though nobody waits yet; but somebody must before it ends.
                for left in lefts[bisect_left(lefts, since) : bisect_left(lefts, until)]:
                    starts |= {left for wait in near if wait.start_ns <= max(left, early) and wait.end_ns > left}
                stops = [Stop(cpu, start, max(early, start), until) for start in sorted(starts) if start < until]
                # One that is longer than all together is none of them.
                most = growth.throttled_ns + _CLOCKS_DIFFER_NS
                found.setdefault(cpu, []).extend(stop for stop in stops if stop.soonest_ns - stop.start_ns <= most)
        return found


def _joined(runs: list[Segment]) -> list[tuple[int, int]]:
    """Runs that follow each other at once, as one."""
    joined: list[tuple[int, int]] = []
    for run in runs:
        if joined and run.start_ns <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], run.end_ns))
        else:
            joined.append((run.start_ns, run.end_ns))
    return joined


def _readings(growth: Growth) -> tuple[int, int]:
    return growth.after_ns - _CLOCKS_DIFFER_NS, growth.until_ns + _CLOCKS_DIFFER_NS


def _narrowed(stop: Stop, less: int, more: int) -> Stop:
    """With an end that lets the sum of all be right: ``less`` after its latest if the others end at their latest.

    And ``more`` after its soonest if they end at their soonest. ``less`` is negative, but for what the clocks differ.
    """
    soonest = min(max(stop.soonest_ns, stop.latest_ns + less), stop.latest_ns)
    return stop._replace(soonest_ns=soonest, latest_ns=max(min(stop.latest_ns, stop.soonest_ns + more), soonest))


def _choices(possible: dict[int, list[Stop]]) -> Iterator[list[Stop]]:
    """Every choice of at most one stop on each CPU, at least one in all; where they are too many, of the longest.

    Of many CPUs those are tried too that began first, in any number: mostly all of them are stopped.
    """
    per_cpu: dict[int, list[Stop | None]] = {}
    firsts: dict[int, Stop] = {}
    choices = 1
    every = (stop for stops in possible.values() for stop in stops)
    for stop in sorted(every, key=lambda each: each.start_ns):
        firsts.setdefault(stop.cpu, stop)
        so_far = len(per_cpu.get(stop.cpu, [None]))
        if choices // so_far * (so_far + 1) <= _MOST_CHOICES:
            choices = choices // so_far * (so_far + 1)
            per_cpu.setdefault(stop.cpu, [None]).append(stop)
    for choice in itertools.product(*per_cpu.values()):
        stops = [stop for stop in choice if stop is not None]
        if stops:
            yield stops
    ordered = list(firsts.values())
    for count in range(len(per_cpu) + 1, len(ordered) + 1):
        yield ordered[:count]
