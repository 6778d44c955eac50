"""How long a single sleep takes: against stock, and against what the kernel can do."""

import numpy as np

from nanonap.base.durations import asked, format_ns
from nanonap.lab.judge.verdicts import judging
from nanonap.lab.judge.verdicts.judging import Figure, Outcome, Verdict
from nanonap.lab.plan.arms import PRECISE, floor_of
from nanonap.lab.stats.cells import Cell, Cells, Key
from nanonap.lab.stats.effects import Interval, difference_of, ratio_of
from nanonap.lab.stats.resampling import interval, quantile

LEAST_RATIO = 6.0
MOST_ABOVE_FLOOR_NS = 25_000
MOST_TAIL_RATIO = 1.5
SAME_WITHIN = 0.05
_GONE_AT_NS = 100_000
_TOLD_UP_TO_NS = 5_000_000
_FLOOR = floor_of(PRECISE)
_WHY_NO_CHANGE = (
    "time.Sleep does not call nanosleep: it sets a timer, and the idle scheduler waits for it in epoll; "
    "runtime.usleep does, for the monitor thread, for spinning and for back-off"
)


def floor_gone(cells: Cells) -> Verdict:
    """Whether stock's sleep of 100 µs lasts at least 6 × that of netpoll with 1 ns slack."""
    name, question = "floor-gone", f"Is stock's extra millisecond gone at {asked(_GONE_AT_NS)}?"
    stock, precise = (cells.get(Key(arm, *judging.QUIET, _GONE_AT_NS)) for arm in ("stock", PRECISE))
    if stock is None or precise is None:
        return judging.not_measured(name, question, f"stock and {PRECISE}, quiet, without quota, at 100us", "yes")
    ratio, low_high = ratio_of(stock, precise)
    outcome = judging.judge(low_high, least=LEAST_RATIO)
    figure = Figure("stock_over_netpoll_slack1", PRECISE, _GONE_AT_NS, ratio, low_high, outcome)
    sentence = (
        f"{judging.say(outcome)}: a sleep of {asked(_GONE_AT_NS)} takes {format_ns(precise.p50_ns)} with {PRECISE}; "
        f"in stock {format_ns(stock.p50_ns)}, {figure.times} as long (the limit: at least {LEAST_RATIO:g} ×)"
    )
    return Verdict(name, question, outcome, sentence, "yes", [figure])


def near_the_floor(cells: Cells) -> Verdict:
    """Whether netpoll with 1 ns slack is at most 25 µs above the raw system call at the same slack, 50 µs to 1 ms.

    Longer sleeps, up to 5 ms, are told beside it and not judged.
    """
    name = "near-the-floor"
    question = f"Is {PRECISE} within {asked(MOST_ABOVE_FLOOR_NS)} of what the kernel can do ({_FLOOR})?"
    figures = []
    for key, cell, base in judging.pairs(cells, PRECISE, _FLOOR):
        if judging.in_range(key.requested_ns) or key.requested_ns == _TOLD_UP_TO_NS:
            above_ns, low_high = difference_of(cell, base)
            outcome = judging.judge(low_high, most=MOST_ABOVE_FLOOR_NS) if judging.in_range(key.requested_ns) else None
            figures.append(Figure("above_floor_ns", PRECISE, key.requested_ns, above_ns, low_high, outcome))
    judged = [figure for figure in figures if figure.outcome is not None]
    if not judged:
        return judging.not_measured(name, question, f"{PRECISE} and {_FLOOR}, quiet, without quota, 50us to 1ms", "yes")
    each = ", ".join(f"{figure.duration} at {asked(figure.requested_ns)}" for figure in judged)
    sentence = f"{judging.say(judging.weakest(judged))}: the median is above {_FLOOR} by {each}"
    return Verdict(name, question, judging.weakest(judged), sentence, "yes", figures)


def tail_near_the_floor(cells: Cells) -> Verdict:
    """Whether p90 − p50 of netpoll with 1 ns slack is at most 1.5 × the floor's, 50 µs to 1 ms. p99 is told only."""
    name = "tail-near-the-floor"
    question = f"Is the spread of {PRECISE} (p90 − p50) at most {MOST_TAIL_RATIO:g} × that of {_FLOOR}?"
    figures, tails = [], []
    for key, cell, base in judging.pairs(cells, PRECISE, _FLOOR):
        if judging.in_range(key.requested_ns):
            ratio, low_high = _tail_ratio(cell, base)
            outcome = judging.judge(low_high, most=MOST_TAIL_RATIO)
            figures.append(Figure("tail_over_floor", PRECISE, key.requested_ns, ratio, low_high, outcome))
            for arm, one in ((PRECISE, cell), (_FLOOR, base)):
                p99_ns, p99_ci = quantile(one.ordered, 0.99), interval(one.distribution(0.99))
                tails.append(Figure("p99_ns", arm, key.requested_ns, p99_ns, p99_ci))
    if not figures:
        return judging.not_measured(name, question, f"{PRECISE} and {_FLOOR}, quiet, without quota, 50us to 1ms", "yes")
    each = ", ".join(f"{figure.times} at {asked(figure.requested_ns)}" for figure in figures)
    sentence = f"{judging.say(judging.weakest(figures))}: it is {each}"
    return Verdict(name, question, judging.weakest(figures), sentence, "yes", [*figures, *tails])


def _tail_ratio(cell: Cell, base: Cell) -> tuple[float, Interval]:
    """p90 − p50 over the base's. A base without any spread counts as 1 ns, which no clock resolves."""
    own_ns, other_ns = (quantile(each.ordered, 0.9) - each.p50_ns for each in (cell, base))
    above, below = cell.tail_distribution, base.tail_distribution
    low_high = None if above is None or below is None else interval(above / np.maximum(below, 1))
    return own_ns / max(other_ns, 1), low_high


def usleep_changes_nothing(cells: Cells) -> Verdict:
    """Whether time.Sleep lasts as long with the usleep strategy as without (within 5 %)."""
    name, question = "usleep-no-change", "Does patching runtime.usleep change time.Sleep?"
    figures = []
    for key, cell, stock in judging.pairs(cells, "usleep", "stock"):
        ratio, low_high = ratio_of(cell, stock)
        same = judging.judge(low_high, least=1 - SAME_WITHIN, most=1 + SAME_WITHIN)
        figures.append(Figure("usleep_over_stock", "usleep", key.requested_ns, ratio, low_high, same))
    if not figures:
        return judging.not_measured(name, question, "stock and usleep, quiet, without quota", "no")
    furthest = max(figures, key=lambda figure: abs(figure.value - 1))
    where = f"of all medians the furthest from stock's is {furthest.times} at {asked(furthest.requested_ns)}"
    outcomes: dict[Outcome, Outcome] = {"yes": "no", "no": "yes"}
    outcome = outcomes.get(judging.weakest(figures), "not settled")
    expectation = "" if outcome == "no" else "; no change is expected"
    sentence = f"{judging.say(outcome)}: {where} (no change means within 5 %){expectation}: {_WHY_NO_CHANGE}"
    return Verdict(name, question, outcome, sentence, "no", figures)
