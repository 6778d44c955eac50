"""What every thread of a process did, as segments without gaps: it ran, waited for a CPU, or was blocked."""

from bisect import bisect_left
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from nanonap.lab.attribution.events import Event, Exec, Fork, KernelTrace, Migrate, Switch, Wake


class State(Enum):
    """``STUCK`` is blocked where no signal ends it (``D``): on a disk or a lock of the kernel's, not on a timer."""

    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    STUCK = "stuck"


class Segment(NamedTuple):
    """``cpu`` ran it, or is to run it. What ended a blocked segment: thread ``waker``, or an interrupt (a timer).

    ``waker`` is None where neither is known.
    """

    state: State
    start_ns: int
    end_ns: int
    cpu: int
    waker: int | None = None
    interrupt: bool = False


class Threads:
    """The segments of each thread, ascending, from the beginning of the trace to its end."""

    def __init__(self, segments: dict[int, list[Segment]], own: frozenset[int], sysmon: int | None) -> None:
        """``own`` are the process's threads, ``segments`` may hold others of its group too."""
        self.segments, self.own, self.sysmon = segments, own, sysmon
        self._ends = {tid: [each.end_ns for each in parts] for tid, parts in segments.items()}

    def before(self, tid: int, ns: int) -> Segment | None:
        """The segment that the thread was in just before a moment; None where that is not recorded."""
        index = bisect_left(self._ends.get(tid, []), ns)
        if tid not in self.segments or index == len(self.segments[tid]):
            return None
        segment = self.segments[tid][index]
        return segment if segment.start_ns < ns else None

    def within(self, tid: int, start_ns: int, end_ns: int) -> Iterable[Segment]:
        """The thread's segments that overlap a span, ascending."""
        parts = self.segments.get(tid, [])
        for segment in parts[bisect_left(self._ends.get(tid, []), start_ns + 1) :]:
            if segment.start_ns >= end_ns:
                return
            yield segment


def threads_of(trace: KernelTrace, pid: int) -> Threads:
    """The segments of process ``pid``'s threads, and of the other threads that were seen in its group.

    A thread's making is recorded, so those that a known thread made are found. A process that one of them forked looks
    the same until it begins its program, and is left out then (Go forks for nothing else). The first one is the
    runtime's system monitor: runtime.main starts it before anything else (src/runtime/proc.go).
    """
    own, sysmon = {pid}, None
    for event in trace.events:
        if isinstance(event, Fork) and event.parent in own:
            sysmon = event.child if event.parent == pid and sysmon is None else sysmon
            own.add(event.child)
        elif isinstance(event, Exec) and event.tid != pid:
            own.discard(event.tid)
    building = {tid: _Building(trace.from_ns) for tid in own | trace.members.keys()}
    for event in trace.events:
        _tell(building, event)
    segments = {tid: each.finished(trace.complete_until_ns) for tid, each in building.items()}
    return Threads(segments, frozenset(own), sysmon)


def _tell(building: "dict[int, _Building]", event: Event) -> None:
    if isinstance(event, Switch):
        if event.before in building:
            building[event.before].leaves(event)
        if event.after in building:
            building[event.after].runs(event)
    elif isinstance(event, Wake) and event.tid in building:
        building[event.tid].wakes(event)
    elif isinstance(event, Migrate) and event.tid in building:
        building[event.tid].moves(event)


class _Building:
    """One thread while the trace is read. What it did before its first event can be told from that event."""

    def __init__(self, from_ns: int) -> None:
        self.parts: list[Segment] = []
        self.since_ns, self.cpu = from_ns, -1
        self.state: State | None = None
        self.waking: Wake | None = None

    def _close(self, ns: int, assumed: State, waker: int | None = None, interrupt: bool = False) -> None:
        state = assumed if self.state is None else self.state
        if ns > self.since_ns:
            self.parts.append(Segment(state, self.since_ns, ns, self.cpu, waker, interrupt))
        self.since_ns = ns

    def leaves(self, event: Switch) -> None:
        self.cpu = event.cpu if self.state is None else self.cpu
        self._close(event.ns, State.RUNNING)
        self.cpu = event.cpu
        letter = event.state[0]
        self.state = {"R": State.WAITING, "D": State.STUCK}.get(letter, State.BLOCKED)

    def runs(self, event: Switch) -> None:
        self._close(event.ns, State.BLOCKED)
        self.state, self.cpu, self.waking = State.RUNNING, event.cpu, None

    def wakes(self, event: Wake) -> None:
        if self.state in (None, State.BLOCKED, State.STUCK):
            # It may be woken while it is still on its way off the CPU; then only the wake-up's end comes after that.
            waking = event if event.event == "sched_waking" or self.waking is None else self.waking
            waker = None if waking.interrupt else waking.by
            self._close(event.ns, State.BLOCKED, waker, waking.interrupt)
            self.state, self.cpu = State.WAITING, event.cpu
        elif self.state is State.WAITING:
            self._move(event.ns, event.cpu)
        elif event.event == "sched_waking":
            self.waking = event

    def moves(self, event: Migrate) -> None:
        if self.state is State.WAITING:
            self._move(event.ns, event.cpu)

    def _move(self, ns: int, cpu: int) -> None:
        if cpu != self.cpu:
            self._close(ns, State.WAITING)
            self.cpu = cpu

    def finished(self, ns: int) -> list[Segment]:
        if self.state is not None:
            self._close(ns, self.state)
        return self.parts
