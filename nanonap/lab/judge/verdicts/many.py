"""Many sleepers at once: what precision costs, and how that is bettered."""

from nanonap.base.durations import format_ns
from nanonap.lab.judge.verdicts.judging import COST, Costs, Figure, Verdict, cost_ratio, judge, not_measured, say
from nanonap.lab.plan.arms import PRECISE, QUANTUM, SPIN, in_order
from nanonap.lab.stats.cells import Cells, Key
from nanonap.lab.stats.resampling import interval, mean_distribution, quantile

MOST_QUANTUM_RATIO = 1.5
MOST_MORE_THREADS = 0.5
"""Half a thread, on the mean over runs: whoever has one thread more in every run has more."""
_THREADS = ("none", "sleepers:10000")
_SLEEPERS_NS = 1_000_000
_TOLD = ("usleep", "sleep", "netpoll", PRECISE, QUANTUM, SPIN)


def price(costs: Costs) -> Verdict:
    """Whether precision costs CPU time, and how much: per sleep, against stock, 50 sleepers on absolute schedules."""
    name, question = "price", "Does precision cost CPU time, with 50 sleepers of 1 ms on absolute schedules?"
    stock = costs.get(("stock", *COST))
    figures, parts = [], []
    for (arm, *condition), cost in sorted(costs.items(), key=lambda pair: in_order(pair[0][0])):
        found = cost_ratio(costs, arm, "stock", COST)
        if tuple(condition) != COST or arm == "stock" or found is None:
            continue
        threads = cost.counter("threads_peak")
        figure = Figure(
            what="cpu_over_stock",
            arm=arm,
            requested_ns=_SLEEPERS_NS,
            value=found[0],
            interval=found[1],
            outcome=judge(found[1], least=1.0),
            threads_peak=max(threads) if threads else None,
        )
        figures.append(figure)
        held = f", {figure.threads_peak} threads" if arm == "sleep" and figure.threads_peak else ""
        if arm in _TOLD:
            parts.append(f"{arm} {format_ns(cost.cpu_ns_per_sleep or 0)}, {figure.times}{held}")
    precise = next((figure for figure in figures if figure.arm == PRECISE), None)
    if precise is None or precise.outcome is None or stock is None:
        return not_measured(name, question, f"stock and {PRECISE} under sleepers:50, without quota", "yes")
    base = format_ns(stock.cpu_ns_per_sleep or 0)
    sentence = f"{say(precise.outcome)}: a sleep takes {base} of CPU in stock; {'; '.join(parts)}"
    return Verdict(name, question, precise.outcome, sentence, "yes", figures)


def many_sleepers(cells: Cells, costs: Costs) -> Verdict:
    """Whether the quantum for many timers brings CPU per sleep down to 1.5 × stock's, and the lateness that costs."""
    name = "many-sleepers"
    question = f"Does {QUANTUM} take at most {MOST_QUANTUM_RATIO:g} × stock's CPU, with 50 sleepers never in step?"
    cell, found = cells.get(Key(QUANTUM, *COST, _SLEEPERS_NS)), cost_ratio(costs, QUANTUM, "stock", COST)
    if cell is None or found is None:
        return not_measured(name, question, f"{QUANTUM} and stock under sleepers:50, without quota", "yes")
    ratio, low_high = found
    outcome = judge(low_high, most=MOST_QUANTUM_RATIO)
    cpu = Figure("cpu_over_stock", QUANTUM, _SLEEPERS_NS, ratio, low_high, outcome)
    late = []
    for q, what in ((0.5, "late_p50_ns"), (0.99, "late_p99_ns")):
        drawn = cell.distribution(q)
        bounds = None if drawn is None else interval(drawn - _SLEEPERS_NS)
        late.append(Figure(what, QUANTUM, _SLEEPERS_NS, quantile(cell.ordered, q) - _SLEEPERS_NS, bounds))
    sentence = (
        f"{say(outcome)}: a sleep takes {cpu.times} stock's CPU; "
        f"it ends {late[0].duration} after its deadline (p99: {late[1].duration})"
    )
    return Verdict(name, question, outcome, sentence, "yes", [cpu, *late])


def threads(costs: Costs) -> Verdict:
    """Whether 10,000 sleepers need no more threads than in stock: the mean of the runs' peaks, within half a thread."""
    name, question = "threads", f"Do 10,000 sleepers of {PRECISE} need no more threads than stock's?"
    own, other = (costs.get((arm, *_THREADS)) for arm in (PRECISE, "stock"))
    peaks, base = (cost.counter("threads_peak") if cost is not None else None for cost in (own, other))
    if own is None or other is None or not peaks or not base:
        return not_measured(name, question, f"{PRECISE} and stock under sleepers:10000, without quota", "yes")
    more = sum(peaks) / len(peaks) - sum(base) / len(base)
    above, below = mean_distribution(peaks, own.seed), mean_distribution(base, other.seed)
    low_high = None if above is None or below is None else interval(above - below)
    outcome = judge(low_high, most=MOST_MORE_THREADS)
    figure = Figure("threads_more_than_stock", PRECISE, 0, more, low_high, outcome, max(peaks))
    bounds = f" [{low_high[0]:+.1f}, {low_high[1]:+.1f}]" if low_high else ""
    sentence = f"{say(outcome)}: on average {more:+.1f}{bounds} threads; at most {max(peaks)}, stock {max(base)}"
    return Verdict(name, question, outcome, sentence, "yes", [figure])
