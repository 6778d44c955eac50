"""Recordings written by hand, in the kernel's own format, whose story is known. Moments are in µs."""

from nanonap.lab.attribution.events import KernelTrace, parse_kernel_trace
from nanonap.lab.attribution.path import CriticalPath
from nanonap.lab.attribution.threads import threads_of
from nanonap.lab.attribution.throttling import stops_of

MAIN, SYSMON, SLEEPER, BURNER, FOREIGN = 100, 101, 102, 103, 900
US = 1_000
END_US = 1_000_000
#: The same flags as two kernels print them: 6.1 has five places, 5.10 four.
TASK, INTERRUPT = "d..2.", "d.h3."


class Story:
    """Lines of a recording that begins at 0."""

    def __init__(self) -> None:
        self.own = [f"@from 0\n@to {END_US * US}\n"]
        self.lines: list[tuple[int, str]] = []

    def add(self, us: int, cpu: int, by: int, text: str, flags: str = TASK) -> "Story":
        comm = "<idle>" if by == 0 else "sleep bench-x"
        self.lines.append((us, f"{comm:>16}-{by:<7} [{cpu:03}] {flags} {us // 10**6}.{us % 10**6:06}: {text}\n"))
        return self

    def switch(self, us: int, cpu: int, before: int, after: int, state: str = "S") -> "Story":
        text = f"sched_switch: prev_comm=sleep bench-x prev_pid={before} prev_prio=120 prev_state={state} ==> "
        return self.add(us, cpu, before, f"{text}next_comm=a b=c next_pid={after} next_prio=120")

    def wake(self, us: int, cpu: int, by: int, tid: int, event: str = "sched_waking", at: int | None = None) -> "Story":
        target = cpu if at is None else at
        flags = INTERRUPT if by == 0 else TASK
        return self.add(us, cpu, by, f"{event}: comm=sleep bench-x pid={tid} prio=120 target_cpu={target:03}", flags)

    def fork(self, us: int, parent: int, child: int, cpu: int = 0) -> "Story":
        text = f"sched_process_fork: comm=x y pid={parent} child_comm=x y child_pid={child}"
        self.add(us, cpu, parent, text)
        return self.wake(us, cpu, parent, child, "sched_wakeup_new")

    def probe(self, us: int, cpu: int, by: int, name: str, cfs_rq: int) -> "Story":
        flags = INTERRUPT if by == 0 else TASK
        return self.add(us, cpu, by, f"{name}: ({name}_cfs_rq+0x0/0x180) cfs_rq={cfs_rq:#x}", flags)

    def stat(self, before_us: int, now_us: int, throttled_us: int) -> "Story":
        self.own.append(f"@stat {before_us * US} {now_us * US} 1 1 {throttled_us * US}\n")
        return self

    def text(self) -> str:
        lines = [line for _, line in sorted(self.lines, key=lambda pair: pair[0])]
        return "".join([*self.own, "# tracer: nop\n#\n", *lines])

    def trace(self) -> KernelTrace:
        return parse_kernel_trace(self.text())

    def parts(self, tid: int, deadline_us: int, end_us: int) -> dict[str, int]:
        """The parts in µs, those that are 0 left out."""
        found = self.path().split(tid, deadline_us * US, end_us * US)
        assert sum(found.values()) == (end_us - deadline_us) * US
        return {part.value: ns // US for part, ns in found.items() if ns}

    def path(self) -> CriticalPath:
        trace = self.trace()
        threads = threads_of(trace, MAIN)
        return CriticalPath(threads, stops_of(trace, threads))


def started() -> Story:
    """A Go program with its system monitor, a sleeper's and a burner's thread; after 100 µs all are off the CPU."""
    story = Story().switch(10, 0, 0, MAIN, "R")
    story.fork(20, MAIN, SYSMON).fork(30, MAIN, SLEEPER).fork(40, MAIN, BURNER).switch(50, 0, MAIN, SYSMON)
    return story.switch(60, 0, SYSMON, SLEEPER).switch(70, 0, SLEEPER, BURNER).switch(80, 0, BURNER, 0)
