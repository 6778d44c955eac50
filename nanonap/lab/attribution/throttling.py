"""When a group was throttled on a CPU: from the kernel's own calls, else worked out from its counters.

A thread that waits for a CPU waits in the run queue or is throttled, and the trace alone cannot tell which: the switch
away from it looks the same, and when the quota is renewed no wake-up is recorded. There are three ways to tell:

``stops_by_probes`` has ``throttle_cfs_rq`` and ``unthrottle_cfs_rq`` in pairs. Nothing is guessed, except that a queue
whose stop was never seen in the context of another process's thread is taken for one of ours.

``stops_by_counters`` has the growths of the group's throttled time and the stops that each can have come from
(``nanonap.lab.attribution.counted``). What every explanation of a growth has in common is sure; what only some have,
and the time in which a stop may have ended, is in doubt and left unexplained. (Where so many CPUs may have been stopped
that not every choice of them can be tried, it is what those that were tried have in common.) Where nothing explains a
growth, the next way is tried, and what it may cover of other waits is in doubt; so it happens before Linux 6.6, which
counts the stops of queues too in which nobody waits. From Linux 6.18 on, a stop is counted from the moment that the
first thread is taken off its CPU for it: that is when its wait begins, so the rule holds there too.

``stops_by_idleness`` needs neither: a thread that could run and a CPU that idles for 1 ms beside it mean that the
thread's group, or one above it, is throttled, as the scheduler leaves no CPU idle otherwise; and since the group last
ran on that CPU, as it runs until it is stopped.
"""

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from nanonap.lab.attribution.counted import Counted, Stop
from nanonap.lab.attribution.events import KernelTrace, Probe, Switch
from nanonap.lab.attribution.threads import Segment, State, Threads

_LEAST_IDLE_NS = 1_000_000
_Span = tuple[int, int]


@dataclass
class Stops:
    """Spans (begin, end) in ns, per CPU: in ``sure`` the group was throttled there, in ``doubtful`` perhaps."""

    sure: dict[int, list[_Span]] = field(default_factory=lambda: defaultdict(list))
    doubtful: dict[int, list[_Span]] = field(default_factory=lambda: defaultdict(list))

    def tidy(self) -> "Stops":
        """Itself, with the spans of each CPU ascending and apart, and nothing both sure and doubtful."""
        for spans in (*self.sure.values(), *self.doubtful.values()):
            spans[:] = _merged(spans)
        for cpu, spans in self.doubtful.items():
            spans[:] = _without(spans, self.sure.get(cpu, []))
        return self


def stops_of(trace: KernelTrace, threads: Threads) -> Stops:
    """The stops by the best way that the trace allows."""
    if any(isinstance(event, Probe) for event in trace.events):
        return stops_by_probes(trace, threads)
    if trace.counted:
        return stops_by_counters(trace, threads)
    return stops_by_idleness(trace, threads)


def stops_by_probes(trace: KernelTrace, threads: Threads) -> Stops:
    """Pairs of throttle and unthrottle of the same queue, those that are not another group's."""
    probes = [event for event in trace.events if isinstance(event, Probe)]
    stopped_by: dict[int, set[int]] = defaultdict(set)
    for probe in probes:
        if probe.name == "throttle" and not probe.interrupt and probe.by:
            stopped_by[probe.cfs_rq].add(probe.by)
    known = threads.segments.keys()
    foreign = {cfs_rq for cfs_rq, pids in stopped_by.items() if not pids & known}
    stops = Stops()
    open_stops: dict[int, Probe] = {}
    for probe in probes:
        if probe.cfs_rq in foreign:
            continue
        if probe.name == "throttle":
            open_stops.setdefault(probe.cfs_rq, probe)
        elif probe.cfs_rq in open_stops:
            begin = open_stops.pop(probe.cfs_rq)
            stops.sure[begin.cpu].append((begin.ns, probe.ns))
    for begin in open_stops.values():
        stops.sure[begin.cpu].append((begin.ns, trace.to_ns))
    return stops.tidy()


def stops_by_counters(trace: KernelTrace, threads: Threads) -> Stops:
    """What all explanations of a growth have in common is sure, what only some have is in doubt."""
    counted = Counted(threads)
    idleness = _Idleness(trace, threads)
    stops = Stops()
    for growth in trace.growths:
        explanations = counted.explanations(growth)
        told = {(stop.cpu, stop.start_ns, stop.latest_ns) for stop in itertools.chain.from_iterable(explanations)}
        for cpu, start_ns, latest_ns in told:
            stops.doubtful[cpu].append((start_ns, latest_ns))
        for cpu, span in _common(explanations):
            stops.sure[cpu].append(span)
        if not explanations:
            for wait in counted.near(growth):
                stops.sure[wait.cpu] += idleness.beside(wait)
                span = (max(wait.start_ns, growth.after_ns - growth.throttled_ns), min(wait.end_ns, growth.until_ns))
                stops.doubtful[wait.cpu].append(span)
    return stops.tidy()


def _common(explanations: list[list[Stop]]) -> Iterator[tuple[int, _Span]]:
    """The CPUs that are in every one, each with the span in which it is stopped by all of them."""
    per_cpu: dict[int, list[Stop]] = defaultdict(list)
    for stop in itertools.chain.from_iterable(explanations):
        per_cpu[stop.cpu].append(stop)
    for cpu, stops in per_cpu.items():
        if len(stops) == len(explanations):
            yield cpu, (max(stop.start_ns for stop in stops), min(stop.soonest_ns for stop in stops))


def stops_by_idleness(trace: KernelTrace, threads: Threads) -> Stops:
    """Waits beside an idle CPU, from where the group last ran there to the end of the last idleness."""
    idleness = _Idleness(trace, threads)
    stops = Stops()
    for wait in _waits(threads):
        stops.sure[wait.cpu] += idleness.beside(wait)
    return stops.tidy()


class _Idleness:
    """When each CPU idled for long enough, and when the group's threads left it."""

    def __init__(self, trace: KernelTrace, threads: Threads) -> None:
        self.idle: dict[int, list[_Span]] = defaultdict(list)
        self.left: dict[int, list[int]] = defaultdict(list)
        since: dict[int, int] = {}
        for event in trace.events:
            if isinstance(event, Switch):
                start = since.pop(event.cpu, event.ns)
                if event.ns - start >= _LEAST_IDLE_NS:
                    self.idle[event.cpu].append((start, event.ns))
                if event.after == 0:
                    since[event.cpu] = event.ns
                if event.before in threads.segments:
                    self.left[event.cpu].append(event.ns)

    def beside(self, wait: Segment) -> list[_Span]:
        """The span of a stop, if the wait was beside an idle CPU."""
        idle, left = self.idle[wait.cpu], self.left[wait.cpu]
        end_ns = 0
        first = bisect_left(idle, wait.start_ns, key=lambda span: span[1])
        for start, end in itertools.takewhile(lambda span: span[0] < wait.end_ns, itertools.islice(idle, first, None)):
            if min(end, wait.end_ns) - max(start, wait.start_ns) >= _LEAST_IDLE_NS:
                end_ns = min(end, wait.end_ns)
        last_run = bisect_left(left, end_ns)
        start_ns = max(wait.start_ns, left[last_run - 1] if last_run else 0)
        return [(start_ns, end_ns)] if start_ns < end_ns else []


def _waits(threads: Threads) -> Iterator[Segment]:
    for parts in threads.segments.values():
        yield from (part for part in parts if part.state is State.WAITING)


def _merged(spans: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def _without(spans: list[_Span], others: list[_Span]) -> list[_Span]:
    left = spans
    for begin, end in others:
        left = [
            piece
            for start, until in left
            for piece in ((start, min(until, begin)), (max(start, end), until))
            if piece[1] > piece[0]
        ]
    return left
