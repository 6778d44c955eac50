"""The recorder's text as values. Moments are CLOCK_MONOTONIC in ns; the kernel's are cut to whole microseconds.

Some kernels do not record the switches that certain tasks do (``lab.attribution.tracefs``). But every event names
the task in whose context it came. Where that is another than the one that was last switched to, a switch was left out,
and one is put in: at the last interrupt that was seen on that CPU (or what stands for it where an idle CPU polls), as
the one that made the scheduler run, else at the event.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from nanonap.lab.attribution.errors import RecordingFailed

_LINE = re.compile(r"\s*.*?-(\d+)\s+\[(\d+)\]\s+(\S+)\s+(\d+)\.(\d+): (\w+): (.*)")
_SWITCH = re.compile(r".*? prev_pid=(\d+) .*?prev_state=(\S+) ==> .* next_pid=(\d+) ")
_EXEC = re.compile(r"filename=.* pid=(\d+) old_pid=")
_TASK = re.compile(r"comm=.* pid=(\d+) (?:prio=\d+ )?(.*)")
#: Marks of interrupt context in the third place of the kernel's flags (trace_print_lat_fmt in trace_output.c).
_INTERRUPT = frozenset("hHszZ")


class Switch(NamedTuple):
    """``before`` left the CPU in ``state`` (``R``, ``S``, ``D``, …), ``after`` got it; 0 is the idle task."""

    ns: int
    cpu: int
    before: int
    state: str
    after: int


class Wake(NamedTuple):
    """``tid`` was woken for ``cpu`` by thread ``by``, or by an interrupt that came while ``by`` ran.

    ``event`` is ``sched_waking`` (it begins), ``sched_wakeup`` (it is queued) or ``sched_wakeup_new`` (it is born).
    """

    ns: int
    event: str
    by: int
    interrupt: bool
    tid: int
    cpu: int


class Migrate(NamedTuple):
    """A thread that is not running was moved to ``cpu``."""

    ns: int
    tid: int
    cpu: int


class Fork(NamedTuple):
    """``parent`` made the thread ``child``."""

    ns: int
    parent: int
    child: int


class Exec(NamedTuple):
    """``tid`` began a program: what forked it is another process."""

    ns: int
    tid: int


class Probe(NamedTuple):
    """A group's queue (``cfs_rq``, its address) was stopped or let go on, in the context of ``by``.

    Of a stop, ``cpu`` is the queue's. A thread's arrival can stop the queue of another CPU than it is woken from: the
    wake-up comes next there, and names that CPU. Of the other, ``cpu`` is the one that let it go on.
    """

    ns: int
    cpu: int
    by: int
    interrupt: bool
    name: str
    cfs_rq: int


class Growth(NamedTuple):
    """A group's throttled time, summed over CPUs, grew by ``throttled_ns`` between two readings."""

    after_ns: int
    until_ns: int
    throttled_ns: int


class TaskReading(NamedTuple):
    """A thread's time on a CPU and time waiting for one so far, as read at ``ns``."""

    ns: int
    pid: int
    tid: int
    ran_ns: int
    waited_ns: int


Event = Switch | Wake | Migrate | Fork | Exec | Probe


@dataclass
class KernelTrace:
    """A whole recording. What happened after ``complete_until_ns`` is left out: a buffer was full.

    ``members`` are the threads that were seen in the group, with their numbers in their own PID namespace.
    """

    from_ns: int = 0
    to_ns: int = 0
    complete_until_ns: int = 0
    lost: int = 0
    events: list[Event] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    counted: bool = False
    members: dict[int, int] = field(default_factory=dict)
    readings: list[TaskReading] = field(default_factory=list)

    @property
    def throttled_ns(self) -> int | None:
        """The group's throttled time in the recording, summed over CPUs; None if its counters were not read."""
        return sum(growth.throttled_ns for growth in self.growths) if self.counted else None


def parse_kernel_trace(text: str) -> KernelTrace:
    """Read a recording. Raises RecordingFailed if it is not one."""
    if not text.startswith("@from "):
        raise RecordingFailed(f"not a recording: it starts with {text[:40]!r}; record again")
    trace = KernelTrace()
    throttled_ns: int | None = None
    losers: set[int] = set()
    cpus: dict[int, _Cpu] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            throttled_ns = _own_line(line.split(), trace, throttled_ns, losers)
        elif not line.startswith("#"):
            match = _LINE.match(line)
            if match is not None:
                _kernel_line(match, trace, cpus)
    trace.complete_until_ns = min((cpus[cpu].ns for cpu in losers & cpus.keys()), default=trace.to_ns)
    whole = (event for event in trace.events if event.ns <= trace.complete_until_ns)
    trace.events = sorted(whole, key=lambda event: event.ns)
    return trace


@dataclass
class _Cpu:
    """The task on a CPU, the last event there, and whether that was an interrupt.

    ``stopped`` is that event if it stopped a queue, and its place among all.
    """

    task: int
    ns: int
    interrupt: bool
    stopped: tuple[int, Probe] | None = None


def _kernel_line(line: re.Match[str], trace: KernelTrace, cpus: dict[int, _Cpu]) -> None:
    ns = int(line[4]) * 1_000_000_000 + int(line[5].ljust(9, "0"))
    number, task, interrupt = int(line[2]), int(line[1]), _is_interrupt(line)
    cpu = cpus.setdefault(number, _Cpu(task, ns, interrupt))
    if cpu.task != task:
        trace.events.append(Switch(cpu.ns if cpu.interrupt else ns, number, cpu.task, "R", task))
    if line[6] == "sched_wake_idle_without_ipi":
        woken = cpus.get(int(line[7].removeprefix("cpu=")))
        if woken is not None and woken.task == 0:
            woken.ns, woken.interrupt = ns, True
    event = _event(ns, line)
    if isinstance(event, Wake) and event.event != "sched_waking" and cpu.stopped is not None:
        place, stop = cpu.stopped
        trace.events[place] = stop._replace(cpu=event.cpu)
    if line[6] != "sched_wake_idle_without_ipi":  # comes between the two
        cpu.stopped = None
    if isinstance(event, Probe) and event.name == "throttle":
        cpu.stopped = len(trace.events), event
    if event is not None:
        trace.events.append(event)
    cpu.task, cpu.ns, cpu.interrupt = task, ns, interrupt
    if isinstance(event, Switch):
        cpu.task = event.after


def _is_interrupt(line: re.Match[str]) -> bool:
    return len(line[3]) > 2 and line[3][2] in _INTERRUPT


def _own_line(words: list[str], trace: KernelTrace, throttled_ns: int | None, losers: set[int]) -> int | None:
    name, numbers = words[0], [int(word) for word in words[1:]]
    if name == "@from":
        trace.from_ns = numbers[0]
    elif name == "@to":
        trace.to_ns = numbers[0]
    elif name == "@lost":
        losers.add(numbers[0])
        trace.lost += numbers[1]
    elif name == "@member":
        trace.members[numbers[0]] = numbers[1]
    elif name == "@task":
        trace.readings.append(TaskReading(*numbers[1:]))
    elif name == "@stat":
        trace.counted = True
        if throttled_ns is not None and numbers[4] > throttled_ns:
            trace.growths.append(Growth(numbers[0], numbers[1], numbers[4] - throttled_ns))
        return numbers[4]
    return throttled_ns


def _event(ns: int, line: re.Match[str]) -> Event | None:
    by, cpu, name, rest = int(line[1]), int(line[2]), line[6], line[7]
    interrupt = _is_interrupt(line)
    if name == "sched_switch":
        match = _SWITCH.match(rest)
        return None if match is None else Switch(ns, cpu, int(match[1]), match[2], int(match[3]))
    if name in ("throttle", "unthrottle"):
        return Probe(ns, cpu, by, interrupt, name, int(rest.rpartition("cfs_rq=")[2], 16))
    if name == "sched_process_exec":
        match = _EXEC.match(rest)
        return None if match is None else Exec(ns, int(match[1]))
    match = _TASK.match(rest)
    return None if match is None else _of_a_task(ns, by, interrupt, name, match)


def _of_a_task(ns: int, by: int, interrupt: bool, name: str, match: re.Match[str]) -> Event | None:
    if name in ("sched_waking", "sched_wakeup", "sched_wakeup_new"):
        return Wake(ns, name, by, interrupt or by == 0, int(match[1]), int(match[2].rpartition("target_cpu=")[2]))
    if name == "sched_migrate_task":
        return Migrate(ns, int(match[1]), int(match[2].rpartition("dest_cpu=")[2]))
    if name == "sched_process_fork":
        return Fork(ns, int(match[1]), int(match[2].rpartition("child_pid=")[2]))
    return None
