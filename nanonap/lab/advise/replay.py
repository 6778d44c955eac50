"""Run the timers that were seen once more, by another rule for waiting: how late they would be, how often it wakes.

What is known of each timer: when it was due, when it went off, when it was due again. From that, whether it is on a
schedule (a ticker, or a loop that sleeps until the next of equal moments) or sets itself anew after its work. The first
comes at the same moments whatever the patch, the second sooner. One scheduler is replayed: it runs what is due, waits
as its rule says, and wakes late by what the kernel was late in the waits that were seen: later after a longer wait, as
a processor does that slept deeper.
"""

import bisect
import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from nanonap.lab.advise.log import Expiry, Wait, Window, rounded_ns

_SAME_NS = 1_000  # between moments that a schedule makes one: reads of the clock
_MOST_PARTS, _MOST = 50, 0.85
_LEAST_PERIOD_NS = 20_000
_FEWEST = 4
_MOST_TIMES, _MOST_MORE = 50, 10_000  # what was seen tells how much there can be
_SAME_SLEEP_NS = 100_000
_MEETS_NS = 50_000  # between the moment a wait was for and the timer that it was for

#: From how long a wait is asked for to how long the kernel is asked to wait, in ns.
Rule = Callable[[int], int]
#: How late a thread wakes after a sleep of so many ns, in ns.
Machine = Callable[[float], float]


@dataclass(frozen=True)
class Wakes:
    """What one window's waits show. ``late``: of waits for a timer, how long they were to last and how late the kernel
    ended them, in ns; ``events``: how many waits something else ended.
    """

    late: tuple[tuple[int, int], ...]
    events: int


@dataclass
class Outcome:
    """What happened in the time replayed: how long it slept each time, and of each timer that went off how late, and
    its interval (0: not known).
    """

    slept_ns: list[int] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)
    interval_ns: list[int] = field(default_factory=list)


@dataclass
class _Timer:
    """``gaps``: from going off to being due again, in turn, or ``sleep_ns``, if always the same; ``period_ns``: of a
    schedule, which ends at ``until_ns``; ``dues``: as it was seen.
    """

    dues: list[int]
    period_ns: int = 0
    until_ns: int = 0
    sleep_ns: int = 0
    gaps: Iterator[int] | None = None
    interval_ns: int = 0


def wakes(window: Window) -> Wakes:
    """What a window's waits show: each against the timers that went off next."""
    late, events = [], 0
    times = sorted({each.now_ns for each in window.expiries})
    first_due = {run[0].now_ns: min(each.due_ns for each in run) for run in _runs(window.expiries)}
    at = 0
    for wait, following in itertools.pairwise(window.waits):
        end = wait.at_ns + rounded_ns(wait.delay_ns) if wait.delay_ns > 0 else following.at_ns + 1
        while at < len(times) and times[at] < end and times[at] <= following.at_ns:
            at += 1  # run by another thread meanwhile
        if following.at_ns < end:
            events += 1
        elif at < len(times) and times[at] <= following.at_ns:
            due = wait.at_ns + wait.delay_ns
            if abs(due - first_due[times[at]]) < _MEETS_NS:
                late.append((end - wait.at_ns, max(0, times[at] - end - window.hit_ns)))
    return Wakes(tuple(late), events)


def pretended(waits: Sequence[Wait]) -> tuple[Expiry, ...]:
    """A timer for each wait with an end, where timers themselves were not seen."""
    found = []
    for number, (wait, following) in enumerate(itertools.pairwise(waits)):
        end = wait.at_ns + rounded_ns(wait.delay_ns) if wait.delay_ns > 0 else None
        if end is not None and following.at_ns >= end and wait.delay_ns < 10**6:
            found.append(Expiry(number, wait.at_ns + wait.delay_ns, end, 0))
    return tuple(found)


def replay(
    window: Window, seen: Wakes, rule: Rule, busy_ns: float, machine: Machine = lambda _: 0.0, *, less_ns: int = 0
) -> Outcome:
    """The window by another rule. ``busy_ns``: CPU time that each timer takes; ``machine``: how late this one wakes at
    the least, by which a wait is later or less late than one of another length that was seen; ``less_ns``: by how much
    less late the kernel wakes than was seen.
    """
    timers = _timers(window)
    late = itertools.cycle(seen.late or [(0, 0)])

    def slept(asked_ns: int) -> int:
        length_ns, late_ns = next(late)
        least_ns = machine(asked_ns)
        late_ns = max(0, int(late_ns + least_ns - machine(length_ns or asked_ns)))
        return asked_ns + max(late_ns - less_ns, min(late_ns, int(least_ns)))

    outcome = Outcome()
    most = _MOST_TIMES * len(window.expiries) + _MOST_MORE
    queue = [(timer.dues[0], number) for number, timer in enumerate(timers)]
    heapq.heapify(queue)
    free = window.begin_ns
    while queue and queue[0][0] < window.end_ns and len(outcome.late_ns) < most:
        now = free
        while now < queue[0][0]:  # more than once where the first part of a longer wait is rounded down
            outcome.slept_ns.append(slept(rule(queue[0][0] - now)))
            now += outcome.slept_ns[-1]
        ran = 0
        while queue and queue[0][0] <= now and ran < len(timers):
            due, number = heapq.heappop(queue)
            timer = timers[number]
            outcome.late_ns.append(now - due)
            outcome.interval_ns.append(timer.interval_ns)
            ran += 1
            if (again := _again(timer, due, now, int(busy_ns * ran))) is not None:
                heapq.heappush(queue, (again, number))
        free = now + int(busy_ns * ran)
    return outcome


def _again(timer: _Timer, due: int, now: int, after: int) -> int | None:
    if timer.period_ns > 0:
        again = due + timer.period_ns * (1 + (now - due) // timer.period_ns)
        return again if again <= timer.until_ns else None
    if timer.gaps is not None:
        return now + after + max(_LEAST_PERIOD_NS, next(timer.gaps))
    timer.dues.pop(0)
    return timer.dues[0] if timer.dues else None


def _runs(expiries: Sequence[Expiry]) -> list[list[Expiry]]:
    """Timers that went off together: the scheduler reads the clock once for all that are due."""
    by_now = sorted(expiries, key=lambda each: each.now_ns)
    return [list(group) for _, group in itertools.groupby(by_now, key=lambda each: each.now_ns)]


def _timers(window: Window) -> list[_Timer]:
    """Each timer with what is known of it. All timers of a run meet their probes before any of them starts work: by so
    much later each was due again.
    """
    by_timer: dict[int, list[tuple[Expiry, int]]] = defaultdict(list)
    for run in _runs(window.expiries):
        for each in run:
            by_timer[each.timer].append((each, len(run) * window.hit_ns))
    timers = [_timer(each, window.hit_ns, window.end_ns) for each in by_timer.values()]
    alike = [each for each in timers if each.sleep_ns]
    sleeps = sorted(each.sleep_ns for each in alike)
    for timer in alike:  # of sleeps of about the same length the shortest seen is the nearest to all
        timer.sleep_ns = sleeps[bisect.bisect_left(sleeps, timer.sleep_ns - _SAME_SLEEP_NS // 2)]
        timer.gaps = itertools.repeat(timer.sleep_ns)
    return timers


def _timer(seen: list[tuple[Expiry, int]], hit_ns: int, end_ns: int) -> _Timer:
    dues = [each.due_ns for each, _ in seen]
    apart = [late - early for early, late in itertools.pairwise(dues)]
    interval = int(median(apart)) if apart else 0
    period = seen[-1][0].period_ns or (_period(apart) if len(seen) >= _FEWEST else 0)
    if period:
        period = max(period, _LEAST_PERIOD_NS)
        # One that is not seen again was stopped.
        until_ns = end_ns if dues[-1] + 2 * period > end_ns else dues[-1]
        return _Timer(dues, period, until_ns, interval_ns=period)
    gaps = [after.due_ns - before.now_ns for (before, _), (after, _) in itertools.pairwise(seen)]
    held = [each for _, each in seen[:-1]]
    if len(seen) < _FEWEST or median(gaps) <= 0:
        return _Timer(dues, interval_ns=interval)
    if median(gaps) - min(gaps) < median(held) + _SAME_SLEEP_NS:  # a sleep of one length, and what was in its way
        sleep_ns = max(1, min(gaps) - hit_ns)
        return _Timer(dues, sleep_ns=sleep_ns, interval_ns=sleep_ns)
    own = [max(1, gap - each) for gap, each in zip(gaps, held, strict=True)]
    return _Timer(dues, gaps=itertools.cycle(own), interval_ns=int(median(own)))


def _period(apart: Sequence[int]) -> int:
    """The longest period of a schedule that nearly all distances are multiples of; 0 for none.

    A schedule's are so to some hundred nanoseconds; those of a loop that sleeps anew jitter by the kernel's lateness.
    """
    middle = median(apart)
    for parts in range(1, int(min(_MOST_PARTS, middle / _LEAST_PERIOD_NS)) + 1):
        period = middle / parts
        near = [each for each in apart if abs(each - round(each / period) * period) <= _SAME_NS and each > period / 2]
        if len(near) >= _MOST * len(apart):
            return round(sum(near) / sum(round(each / period) for each in near))
    return 0
