"""The patched program against one whose runtime was rebuilt from changed source, and against its own spinning form."""

from dataclasses import replace

from nanonap.base.durations import asked, format_ns
from nanonap.lab.judge.verdicts import judging
from nanonap.lab.judge.verdicts.judging import Figure, Verdict
from nanonap.lab.plan.arms import PRECISE, SPIN
from nanonap.lab.stats.cells import Cells, Key
from nanonap.lab.stats.effects import ratio_of
from nanonap.lab.stats.resampling import interval

REBUILT = "rebuilt+slack1"
EQUIVALENT_WITHIN = 0.05
EQUIVALENCE_CONFIDENCE = 0.90
"""Two one-sided tests at 5 % each reject iff the 90 % interval lies within the margins (Schuirmann 1987)."""
MOST_CPU_RATIO = 1.05
MOST_SPIN_RATIO = 0.5
_SPIN_AT_NS = 100_000
_WHERE = {judging.QUIET: "one sleeper", judging.COST: "50 sleepers"}


def same_as_rebuilt(cells: Cells) -> Verdict:
    """Whether sleeps last as long as with the rebuilt runtime: equivalent within ± 5 % of p50, 50 µs to 1 ms.

    Two one-sided tests in their interval form, from the bootstrap's distribution of the ratio: sleep times are
    multimodal, and the t test's form would ask for normal ones.
    """
    name, question = "same-as-rebuilt", f"Does {PRECISE} sleep as long as a rebuilt runtime ({REBUILT}), within ± 5 %?"
    figures = []
    for key, cell, base in judging.pairs(cells, PRECISE, REBUILT):
        if judging.in_range(key.requested_ns):
            ratio, low_high = ratio_of(cell, base, EQUIVALENCE_CONFIDENCE)
            outcome = judging.judge(low_high, least=1 - EQUIVALENT_WITHIN, most=1 + EQUIVALENT_WITHIN)
            figure = Figure("p50_over_rebuilt", PRECISE, key.requested_ns, ratio, low_high, outcome)
            figures.append(replace(figure, confidence=EQUIVALENCE_CONFIDENCE))
    if not figures:
        return judging.not_measured(
            name, question, f"{PRECISE} and {REBUILT}, quiet, without quota, 50us to 1ms", "yes"
        )
    each = ", ".join(f"{figure.times} at {asked(figure.requested_ns)}" for figure in figures)
    outcome = judging.weakest(figures)
    sentence = f"{judging.say(outcome)}: its median is {each} (90 % intervals, as two one-sided tests ask)"
    return Verdict(name, question, outcome, sentence, "yes", figures)


def no_more_cpu_than_rebuilt(costs: judging.Costs) -> Verdict:
    """Whether a sleep costs no more CPU than with the rebuilt runtime, one sleeper and fifty.

    No more: not above 1.05 ×, by the whole 95 % interval (non-inferiority; the margin is the equivalence's).
    """
    name, question = "no-more-cpu-than-rebuilt", f"Does a sleep of {PRECISE} take no more CPU than one of {REBUILT}?"
    figures, parts = [], []
    for condition, where in _WHERE.items():
        found = judging.cost_ratio(costs, PRECISE, REBUILT, condition)
        if found is not None:
            ratio, low_high = found
            outcome = judging.judge(low_high, most=MOST_CPU_RATIO)
            figure = Figure(f"cpu_over_rebuilt_{condition[1]}", PRECISE, 0, ratio, low_high, outcome)
            figures.append(figure)
            parts.append(f"{figure.times} with {where}")
    if len(figures) < len(_WHERE):
        what = f"{PRECISE} and {REBUILT}, quiet and under sleepers:50, without quota"
        return judging.not_measured(name, question, what, "yes")
    outcome = judging.weakest(figures)
    sentence = f"{judging.say(outcome)}: it takes {', '.join(parts)} (no more means at most {MOST_CPU_RATIO:g} ×)"
    return Verdict(name, question, outcome, sentence, "yes", figures)


def spinning(cells: Cells, costs: judging.Costs) -> Verdict:
    """Whether polling before the deadline halves the overshoot of 100 µs, and what CPU time that takes."""
    name, question = "spin", f"Does {SPIN} halve the overshoot of {PRECISE} at {asked(_SPIN_AT_NS)}?"
    spin, precise = (cells.get(Key(arm, *judging.QUIET, _SPIN_AT_NS)) for arm in (SPIN, PRECISE))
    price = judging.cost_ratio(costs, SPIN, PRECISE, judging.QUIET)
    if spin is None or precise is None:
        return judging.not_measured(name, question, f"{SPIN} and {PRECISE}, quiet, without quota, at 100us", "yes")
    over_ns, base_ns = (each.p50_ns - _SPIN_AT_NS for each in (spin, precise))
    above, below = spin.p50_distribution, precise.p50_distribution
    low_high, own = None, None
    if above is not None and below is not None:
        # Judged as a difference, since an overshoot may be 0: spin's less half of the other's is at most 0.
        own = interval(above - _SPIN_AT_NS)
        low_high = interval((above - _SPIN_AT_NS) - MOST_SPIN_RATIO * (below - _SPIN_AT_NS))
    outcome = judging.judge(low_high, most=0)
    figures = [
        Figure("overshoot_ns", SPIN, _SPIN_AT_NS, over_ns, own),
        Figure("overshoot_less_half_ns", SPIN, _SPIN_AT_NS, over_ns - MOST_SPIN_RATIO * base_ns, low_high, outcome),
    ]
    cpu = "its CPU time is not known"
    if price is not None:
        figures.append(Figure("cpu_over_netpoll_slack1", SPIN, 0, *price))
        cpu = f"a sleep takes {figures[-1].times} the CPU"
    sentence = f"{judging.say(outcome)}: its median is late by {figures[0].duration}, not {format_ns(base_ns)}; {cpu}"
    return Verdict(name, question, outcome, sentence, "yes", figures)
