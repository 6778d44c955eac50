"""From what was seen to what a patch would bring and cost, and one sentence."""

import itertools
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from nanonap.base.durations import format_ns
from nanonap.lab.advise.log import MS, Window, rounded_ns
from nanonap.lab.advise.replay import Outcome, Rule, pretended, replay, wakes
from nanonap.lab.advise.wakeup import Wakeup
from nanonap.lab.advise.watching import Seen
from patcher import RECOMMENDED_DENSE_NS, RECOMMENDED_QUANTUM_NS, Wait
from patcher.strategies.netpoll.site import SLACK_SHIFT

WORTH, LITTLE, COSTLY = "worth it", "little to gain", "gain, but it costs"
_FEW_TIMERS = 1.0  # a second
_LEAST_GAIN_NS = 100_000
_LEAST_OF_INTERVAL = 0.02
_CHEAP, _NOTHING = 0.02, 0.0005  # of a core
_SHARPER = 0.8  # of the lateness with the slack that it has
_MOST_TIMES = 1.5  # the scheduler's own work, and the second thread that it wakes to look for more
_ROUGH = 0.25


@dataclass(frozen=True)
class Way:
    """How the program does, or would do, with some ``options`` of the patch (None: as it is): how late its timers go
    off in ns, how often a second it wakes, and CPU time in parts of a core.
    """

    name: str
    options: tuple[str, ...] | None
    late_p50_ns: float
    late_p99_ns: float
    wakes_per_s: float
    cpu: float


@dataclass(frozen=True)
class Advice:
    """The answer. Rates are per second. ``asked_ns``: p10, p50 and p90 of what waits with an end were asked for;
    ``short``: which part of those was below a millisecond; ``added_ns``: p50 and p99 of what whole milliseconds added;
    ``burst``: timers a wake-up, p50 and p99; ``interval_ns``: of the median timer, 0 where none came twice.
    ``check``: what the reckoning says of the program as it is, over what was seen, at the median and in wake-ups;
    ``timers_seen``: whether timers themselves were seen; else each wait counts for one.
    """

    verdict: str
    sentence: str
    options: tuple[str, ...]
    ways: tuple[Way, ...]
    waits_per_s: float
    timed_per_s: float
    timers_per_s: float
    asked_ns: tuple[float, ...]
    short: float
    added_ns: tuple[float, ...]
    burst: tuple[float, ...]
    interval_ns: int
    check: tuple[float, float]
    timers_seen: bool
    wakeup_ns: float
    cost: float
    lost: int

    @property
    def rough(self) -> bool:
        """Whether the reckoning misses what was seen by more than a quarter."""
        return any(not 1 - _ROUGH <= each <= 1 + _ROUGH for each in self.check)

    def to_json(self) -> dict[str, Any]:
        """The fields, with ``rough``."""
        return {**asdict(self), "rough": self.rough}


def advise(seen: Seen, wakeup: Wakeup, slack_ns: int | None) -> Advice:
    """What a patch would do to a program of which this was seen, on a machine where a wake-up costs that much."""
    timers_seen = any(each.expiries for each in seen.windows)
    windows = [each if timers_seen else _with_pretended(each) for each in seen.windows]
    shown = [wakes(each) for each in windows]
    length_s = sum(each.end_ns - each.begin_ns for each in windows) / 1e9
    waits = [each for window in windows for each in window.waits]
    timed = [each.delay_ns for each in waits if each.delay_ns > 0]
    expiries = [each for window in windows for each in window.expiries]
    slept = [after.at_ns - each.at_ns for window in windows for each, after in itertools.pairwise(window.waits)]
    stock = _Reckoned([each.now_ns - each.due_ns for each in expiries], slept, len(waits) / length_s, length_s)
    events = sum(each.events for each in shown)
    cost = _cost(seen, stock, events / length_s, wakeup)

    def reckoned(rule: Rule, less_ns: int = 0) -> tuple[_Reckoned, Outcome]:
        done = _joined(
            [
                replay(window, each, rule, cost.timer_ns, wakeup.late_ns, less_ns=less_ns)
                for window, each in zip(windows, shown, strict=True)
            ]
        )
        return _Reckoned(done.late_ns, done.slept_ns, (len(done.slept_ns) + events) / length_s, length_s), done

    model, outcome = reckoned(rounded_ns)
    ways = [_way("as it is", None, stock, cost.cpu)]
    for name, options, rule, less_ns in _ways(slack_ns or 0):
        way, _ = reckoned(rule, less_ns)
        # What the reckoning misses of the program as it is, it is likely to miss here: the difference is what counts.
        # Of the reckoned, not of the seen: what was seen has waits that events ended, which no replay has.
        cpu = cost.cpu + cost.of(way) - cost.of(model)
        ways.append(_way(name, options, way, max(0.0, cpu)))
    intervals = [each for each in outcome.interval_ns if each]
    # Where most timers are made anew for each wait, what is known of the others is not the rule.
    interval_ns = int(median(intervals)) if 2 * len(intervals) > len(outcome.interval_ns) else 0
    verdict, sentence, options = _sentence(stock, ways, interval_ns)
    runs = _bursts(windows)
    return Advice(
        verdict=verdict,
        sentence=sentence,
        options=options,
        ways=tuple(ways),
        waits_per_s=stock.wakes_per_s,
        timed_per_s=len(timed) / length_s,
        timers_per_s=stock.timers_per_s,
        asked_ns=_quantiles(timed, 0.1, 0.5, 0.9),
        short=sum(each < MS for each in timed) / len(timed) if timed else 0.0,
        added_ns=_quantiles([max(0, rounded_ns(each) - each) for each in timed], 0.5, 0.99),
        burst=_quantiles(runs, 0.5, 0.99),
        interval_ns=interval_ns,
        check=(_ratio(_median(model.late_ns), _median(stock.late_ns)), _ratio(model.wakes_per_s, stock.wakes_per_s)),
        timers_seen=timers_seen,
        wakeup_ns=wakeup.cpu_ns(MS),
        cost=seen.cost,
        lost=seen.lost,
    )


@dataclass(frozen=True)
class _Reckoned:
    late_ns: list[int]
    slept_ns: list[int]
    wakes_per_s: float
    length_s: float

    @property
    def timers_per_s(self) -> float:
        return len(self.late_ns) / self.length_s


@dataclass(frozen=True)
class _Cost:
    """``cpu``: parts of a core as seen; a wake-up costs ``times`` what a bare one does here, a timer ``timer_ns``."""

    cpu: float
    wakeup: Wakeup
    times: float
    timer_ns: float

    def of(self, way: _Reckoned) -> float:
        """Of what differs between ways: wake-ups by timers, and what timers start."""
        return self.times * _asleep(way, self.wakeup) + way.timers_per_s * self.timer_ns / 1e9


def _asleep(way: _Reckoned, wakeup: Wakeup) -> float:
    return sum(map(wakeup.cpu_ns, way.slept_ns)) / way.length_s / 1e9


def _cost(seen: Seen, stock: _Reckoned, events_per_s: float, wakeup: Wakeup) -> _Cost:
    """What CPU time a bare wake-up does not explain is the scheduler's, up to half as much again, then that of what
    timers and events start, shared equally.
    """
    cpu, bare = seen.plain.share, _asleep(stock, wakeup)
    times = min(cpu / bare, _MOST_TIMES) if bare else 1.0
    started = stock.timers_per_s + events_per_s
    return _Cost(cpu, wakeup, times, max(0.0, cpu - times * bare) * 1e9 / started if started else 0.0)


def _ways(slack_ns: int) -> list[tuple[str, tuple[str, ...], Rule, int]]:
    quantum = Wait(quantum_ns=RECOMMENDED_QUANTUM_NS, dense_ns=RECOMMENDED_DENSE_NS)
    words = ("--quantum", str(quantum.quantum_ns), "--dense", str(quantum.dense_ns))

    def precise(delay_ns: int) -> int:
        return delay_ns - (delay_ns >> SLACK_SHIFT)

    def quantised(delay_ns: int) -> int:
        return RECOMMENDED_QUANTUM_NS if delay_ns < RECOMMENDED_DENSE_NS else delay_ns

    return [
        ("netpoll", (), precise, 0),
        ("netpoll, slack 1 ns", ("--slack-ns", "1"), precise, max(0, slack_ns - 1)),
        ("netpoll, quantum", words, quantised, 0),
    ]


def _sentence(stock: _Reckoned, ways: list[Way], interval_ns: int) -> tuple[str, str, tuple[str, ...]]:
    now, precise, sharp, quantum = ways
    gain = now.late_p50_ns - precise.late_p50_ns
    if stock.timers_per_s < _FEW_TIMERS:
        return LITTLE, f"{LITTLE}: it waits for events, not for time ({stock.timers_per_s:.2g} timers a second)", ()
    if gain < _LEAST_GAIN_NS:
        said = f"make the median timer {format_ns(gain)} later" if gain > 0 else "do not make the median timer later"
        return LITTLE, f"{LITTLE}: whole milliseconds {said}", ()
    if interval_ns and gain < _LEAST_OF_INTERVAL * interval_ns:
        said = f"the median timer would go off {format_ns(gain)} sooner, and comes every {format_ns(interval_ns)}"
        return LITTLE, f"{LITTLE}: {said}", ()
    sharper = sharp.late_p50_ns < _SHARPER * precise.late_p50_ns and sharp.cpu - now.cpu <= _CHEAP
    best = sharp if sharper else precise
    said = f"the median timer goes off {format_ns(best.late_p50_ns)} late instead of {format_ns(now.late_p50_ns)}"
    options = best.options or ()
    if best.cpu - now.cpu <= _CHEAP:
        return WORTH, f"{WORTH}: {said}, {_price(best.cpu - now.cpu)}{_take(options)}", options
    more, less = best.cpu - now.cpu, quantum.cpu - now.cpu
    if less < more / 2:
        options = quantum.options or ()
        late = f"{format_ns(quantum.late_p50_ns)} late at the median"
        return COSTLY, f"{COSTLY} {more:.0%} of a core{_take(options)} ({late}, {_price(less)})", options
    return COSTLY, f"{COSTLY} {more:.0%} of a core: {said}", ()


def _price(more: float) -> str:
    return f"for {more:.1%} of a core more" if more >= _NOTHING else "for no more CPU time than now"


def _take(options: tuple[str, ...]) -> str:
    return f": take {' '.join(options)}" if options else ""


def _with_pretended(window: Window) -> Window:
    return replace(window, expiries=pretended(window.waits))


def _joined(outcomes: list[Outcome]) -> Outcome:
    whole = Outcome()
    for each in outcomes:
        whole.slept_ns += each.slept_ns
        whole.late_ns += each.late_ns
        whole.interval_ns += each.interval_ns
    return whole


def _bursts(windows: list[Window]) -> list[int]:
    counts: dict[int, int] = {}
    for window in windows:
        for each in window.expiries:
            counts[each.now_ns] = counts.get(each.now_ns, 0) + 1
    return list(counts.values())


def _way(name: str, options: tuple[str, ...] | None, way: _Reckoned, cpu: float) -> Way:
    p50, p99 = _quantiles(way.late_ns, 0.5, 0.99) or (0.0, 0.0)
    return Way(name, options, p50, p99, way.wakes_per_s, cpu)


def _quantiles(values: list[int], *shares: float) -> tuple[float, ...]:
    """Those of the values; () of none."""
    ordered = sorted(values)
    return tuple(float(ordered[min(len(ordered) - 1, int(each * len(ordered)))]) for each in shares) if ordered else ()


def _median(values: list[int]) -> float:
    return median(values) if values else 0.0


def _ratio(own: float, seen: float) -> float:
    return own / seen if seen else 1.0
