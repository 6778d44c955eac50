"""Watch a process for some seconds: stretches with probes and without them, so that what the probes cost is known."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from nanonap.base.interrupts import held
from nanonap.base.processes import cpu_time_ns
from nanonap.lab.advise.log import NOTHING, Used, Window
from nanonap.lab.advise.probing import Target, Uprobes
from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.ground.watchdog import guard
from patcher import NoSuchProcess
from patcher.probing import Probes

_FIRST_S = 0.5  # without probes, at first
_GLANCE_S = 0.02
_SETTLES_S = 0.003  # after breakpoints are set: the process is held up meanwhile
_SLICE_S, _REST_S = 0.1, 0.25
_MOST_SHARE = 0.5  # of the time with probes
_MOST_COST = 0.006  # of a core, for the process and for reading; setting probes comes to it, and 0.02 is stated
_HIT_NS = 12_000  # a breakpoint, stepping over what stood there, writing and reading its line; often half of it
_LEAST_HIT_NS, _MOST_HIT_NS = 1_000, 12_000  # what a hit's CPU time, as measured, is believed to be
_FEW_HITS = 500
_MOST_SHARES = 2  # of the hits that are left, in one window
_CYCLES, _CYCLE_S = 5, 10.0


@dataclass(frozen=True)
class Seen:
    """All that was seen. ``plain`` is what the process used while no probe was set. What watching took:
    ``probes_cpu_ns`` in the process, ``own_cpu_ns`` in this one.
    """

    windows: tuple[Window, ...]
    plain: Used
    probes_cpu_ns: int
    own_cpu_ns: int
    length_ns: int

    @property
    def lost(self) -> int:
        """Events that the buffer had no room for."""
        return sum(each.lost for each in self.windows)

    @property
    def cost(self) -> float:
        """What watching cost the process and this one, in parts of a core, on average over the whole time."""
        return (self.probes_cpu_ns + self.own_cpu_ns) / max(1, self.length_ns)


def watch(target: Target, probes: Probes, length_s: float, tick: Callable[[float], None]) -> Seen:
    """Watch; ``tick`` is told how many seconds are over. Nothing of it is left, whatever happens.

    Ends early, with what there is, where the process ends or runs another program. Raises TracingUnavailable;
    NoSuchProcess where it ended before anything was seen.
    """
    left = [sys.executable, "-c", "from nanonap.lab.advise.probing import remove_left; remove_left()"]
    with held() as let_through:
        guard.watch_command(left)
        try:
            with contextlib.closing(Uprobes(target, probes)) as uprobes, let_through():
                try:
                    return _Watch(target, uprobes, length_s, tick).seen()
                except OSError as error:
                    raise TracingUnavailable(
                        f"the kernel sets no probe ({error})", "run as root, on the host"
                    ) from error
        finally:
            guard.forget_command(left)


class _Watch:
    """One watch, from its begin."""

    def __init__(self, target: Target, uprobes: Uprobes, length_s: float, tick: Callable[[float], None]) -> None:
        self._target, self._uprobes, self._length_s, self._tick = target, uprobes, length_s, tick
        self._begin = time.monotonic()
        self._budget = int(_MOST_COST * length_s * 1e9 / _HIT_NS)  # hits
        self._most = _FEW_HITS  # in the next window

    def seen(self) -> Seen:
        """All of it."""
        windows: list[Window] = []
        plain = probed = NOTHING
        own, hits = time.process_time_ns(), 0
        rest_s, recorded_s = min(_FIRST_S, self._length_s / 4), _GLANCE_S
        while self._target.lives and (not windows or self._gone_s < self._length_s):
            mark = self._mark()
            self._rest(rest_s)
            plain += self._since(mark)
            if not self._target.lives:
                break
            before, mark = self._uprobes.hits(), self._mark()
            windows.append(self._recorded(recorded_s, before))
            probed += self._since(mark)
            hit = self._uprobes.hits() - before
            hits += hit
            rest_s, recorded_s = self._next(hit, windows[-1])
        if not windows:
            raise NoSuchProcess(f"process {self._target.pid}: ended before anything was seen")
        own = time.process_time_ns() - own
        # A program whose work comes in turns uses more or less while it is looked at by chance, too.
        more_ns = (probed.cpu_ns - probed.length_ns * plain.share) / hits if hits else 0.0
        hit_ns = int(min(max(more_ns, _LEAST_HIT_NS), _MOST_HIT_NS))
        whole = [each for each in windows if not each.lost] or windows
        used_ns, length_ns = hits * hit_ns, int(self._gone_s * 1e9)
        return Seen(tuple(replace(each, hit_ns=hit_ns) for each in whole), plain, used_ns, own, length_ns)

    @property
    def _gone_s(self) -> float:
        return time.monotonic() - self._begin

    def _next(self, hit: int, window: Window) -> tuple[float, float]:
        """How long to wait, and then to record, in seconds: the more the probes are hit, the rarer they are set.

        No window may use up much more than its share of the hits that are left: calm turns come after busy ones.
        """
        self._budget -= hit
        rate = hit / (window.end_ns - window.begin_ns) * 1e9
        part = min(_MOST_SHARE, _MOST_COST * 1e9 / (rate * _HIT_NS)) if rate else _MOST_SHARE
        left_s = max(self._length_s - self._gone_s, 2 * _GLANCE_S)
        cycles = max(_CYCLES, int(left_s / _CYCLE_S))
        cycle_s = left_s / max(1, min(cycles, int(left_s * part / _GLANCE_S)))
        recorded_s = max(cycle_s * part, _GLANCE_S / 2)
        self._most = max(_FEW_HITS, int(_MOST_SHARES * self._budget * cycle_s / left_s))
        return max(cycle_s - recorded_s, 0.01), recorded_s

    def _recorded(self, length_s: float, before: int) -> Window:
        """A window with probes; it ends early where they are hit more often than they were."""
        most = before + self._most
        try:
            self._uprobes.switch(on=True)
            self._uprobes.start()
            time.sleep(_SETTLES_S)
            begin_ns = time.monotonic_ns()
            until = time.monotonic() + length_s
            while (left := until - time.monotonic()) > 0 and self._uprobes.hits() < most:
                self._tick(self._gone_s)
                time.sleep(min(left, _SLICE_S))
            end_ns = time.monotonic_ns()
        finally:
            self._uprobes.switch(on=False)
        return self._uprobes.read(begin_ns, end_ns)

    def _rest(self, length_s: float) -> None:
        until = time.monotonic() + length_s
        while (left := until - time.monotonic()) > 0 and self._target.lives:
            self._tick(self._gone_s)
            time.sleep(min(left, _REST_S))

    def _mark(self) -> Used:
        """This moment, and the process's CPU time until now."""
        with contextlib.suppress(OSError):
            return Used(time.monotonic_ns(), cpu_time_ns(self._target.pid))
        return NOTHING

    def _since(self, mark: Used) -> Used:
        """What the process used since; of a stretch in which it ended nothing is told."""
        now = self._mark()
        if not self._target.lives or NOTHING in (mark, now):
            return NOTHING
        return Used(now.length_ns - mark.length_ns, now.cpu_ns - mark.cpu_ns)
