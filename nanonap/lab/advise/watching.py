"""Watch a process for some seconds: stretches with probes and without them, so that what the probes cost is known."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nanonap.lab.advise.log import NOTHING, Used, Window
from nanonap.lab.advise.probing import Uprobes
from patcher import NoSuchProcess
from patcher.probing import Probes

_FIRST_S = 0.5  # of every ten seconds, without probes
_GLANCE_S = 0.02
_SETTLES_S = 0.003  # after breakpoints are set: the process is held up meanwhile
_MOST_SHARE = 0.5  # of the time with probes
_MOST_COST = 0.01  # of a core, for the process and for reading; the bound that is stated is twice that
_HIT_NS = 12_000  # a breakpoint, stepping over what stood there, writing and reading its line; often half of it
_LEAST_HIT_NS, _MOST_HIT_NS = 1_000, 12_000  # what a hit's CPU time, as measured, is believed to be
_CYCLES = 5
_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: the clock of a process's CPU time is made of its number


@dataclass(frozen=True)
class Seen:
    """All that was seen. ``plain`` is what the process used while no probe was set, ``probed`` while they were;
    ``own_cpu_ns``: what watching took in this process; ``threads``: at the end.
    """

    windows: tuple[Window, ...]
    plain: Used
    probed: Used
    own_cpu_ns: int
    length_ns: int
    threads: int

    @property
    def hits(self) -> int:
        """How often a probe was hit while something was recorded."""
        return sum(each.hits for each in self.windows)

    @property
    def lost(self) -> int:
        """Events that the buffer had no room for."""
        return sum(each.lost for each in self.windows)

    @property
    def cost(self) -> float:
        """What watching cost the process and this one, in parts of a core, on average over the whole time."""
        more = self.probed.cpu_ns - self.probed.length_ns * share(self.plain)
        return max(0.0, more + self.own_cpu_ns) / max(1, self.length_ns)


def share(used: Used) -> float:
    """CPU time in parts of a core."""
    return used.cpu_ns / max(1, used.length_ns)


def watch(pid: int, probes: Probes, length_s: float, tick: Callable[[float], None]) -> Seen:
    """Watch; ``tick`` is told how many seconds are over. Nothing of it is left, whatever happens.

    Ends early, with what there is, where the process ends. Raises TracingUnavailable; NoSuchProcess where it ended
    before anything was seen.
    """
    begin = time.monotonic()
    with contextlib.closing(Uprobes(pid, probes)) as uprobes:
        windows: list[Window] = []
        plain = probed = NOTHING
        own = time.process_time_ns()
        recorded_s = _GLANCE_S
        rest_s = min(_FIRST_S, length_s / 4)
        try:
            while not windows or time.monotonic() - begin < length_s:
                plain += _stretch(pid, rest_s, begin, tick)
                window, more = _probed(pid, uprobes, recorded_s)
                windows.append(window)
                probed += more
                rest_s, recorded_s = _next(length_s, time.monotonic() - begin, window)
        except (ProcessLookupError, FileNotFoundError) as error:
            if not windows:
                raise NoSuchProcess(f"process {pid}: ended before anything was seen") from error
        own = time.process_time_ns() - own
    length_ns = int((time.monotonic() - begin) * 1e9)
    hits = sum(each.hits + each.lost for each in windows)
    more_ns = (probed.cpu_ns - probed.length_ns * share(plain)) / hits if hits else 0.0
    hit_ns = int(min(max(more_ns, _LEAST_HIT_NS), _MOST_HIT_NS))
    return Seen(tuple(replace(each, hit_ns=hit_ns) for each in windows), plain, probed, own, length_ns, _threads(pid))


def _next(length_s: float, gone_s: float, window: Window) -> tuple[float, float]:
    """How long to wait, and then to record, in seconds: the more the probes are hit, the rarer they are set."""
    rate = (window.hits + window.lost) / (window.end_ns - window.begin_ns) * 1e9
    part = min(_MOST_SHARE, _MOST_COST * 1e9 / (rate * _HIT_NS)) if rate else _MOST_SHARE
    left_s = max(length_s - gone_s, 2 * _GLANCE_S)
    cycle_s = left_s / max(1, min(_CYCLES, int(left_s * part / _GLANCE_S)))
    recorded_s = max(cycle_s * part, _GLANCE_S / 2)
    return max(cycle_s - recorded_s, 0.01), recorded_s


def _probed(pid: int, uprobes: Uprobes, length_s: float) -> tuple[Window, Used]:
    before = used_so_far(pid)
    uprobes.switch(on=True)
    try:
        uprobes.start()
        time.sleep(_SETTLES_S)
        begin_ns = time.monotonic_ns()
        time.sleep(length_s)
        end_ns = time.monotonic_ns()
    finally:
        uprobes.switch(on=False)
    used = between(before, used_so_far(pid))
    return uprobes.read(begin_ns, end_ns), used


def _stretch(pid: int, length_s: float, begin: float, tick: Callable[[float], None]) -> Used:
    before = used_so_far(pid)
    until = time.monotonic() + length_s
    while (left := until - time.monotonic()) > 0:
        tick(time.monotonic() - begin)
        time.sleep(min(left, 0.25))
    return between(before, used_so_far(pid))


def used_so_far(pid: int) -> Used:
    """Up to now; the length is the moment. Raises ProcessLookupError or FileNotFoundError where the process ended."""
    switches = sum(_switches(each) for each in Path(f"/proc/{pid}/task").iterdir())
    try:
        cpu_ns = time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError as error:
        raise ProcessLookupError(str(error)) from error
    return Used(time.monotonic_ns(), cpu_ns, switches)


def between(before: Used, after: Used) -> Used:
    """What was used from one moment to another."""
    switches = max(0, after.switches - before.switches)  # those of threads that ended are gone
    return Used(after.length_ns - before.length_ns, after.cpu_ns - before.cpu_ns, switches)


def _switches(task: Path) -> int:
    for line in _lines(task / "status"):
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    return 0


def _threads(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names alone
    return 0


def _lines(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):  # a thread that ended
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()
