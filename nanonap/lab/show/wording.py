"""What a report says in words: its headline, and what each arm is."""

from dataclasses import dataclass

from nanonap.base.durations import asked, format_ns
from nanonap.lab.judge.analysis import Summary
from nanonap.lab.judge.verdicts import Figure
from nanonap.lab.plan.arms import PRECISE, in_order
from nanonap.lab.quota.above_limit import label
from nanonap.lab.show.tables import by_condition, ratio_text
from patcher.strategies.table import STRATEGIES

QUESTION = "Does a Go program sleep as long as it was asked to, and does a patch of its binary help?"
ARMS = {
    "stock": "the program as the Go toolchain builds it",
    "stock+slack1": "stock, patched only to set its timer slack to 1 ns when it starts",
    "stock+prctl": "stock, started by a wrapper that sets the timer slack to 1 ns: no patch",
    **{name: f"patched: {each.told}" for name, each in STRATEGIES.items() if each.function is not None},
    PRECISE: "netpoll with 1 ns of timer slack: what a user would take who wants short sleeps",
    f"{PRECISE}+quantum": f"{PRECISE}, and near deadlines share a wake-up: for many timers",
    f"{PRECISE}+spin": f"{PRECISE}, and it wakes early and polls until the deadline: shorter still, for more CPU",
    "live": "stock, injected with netpoll while it runs, and then measured",
    "live+slack1": "the same with 1 ns of timer slack: what a user would take whose program must not restart",
    "godebug": "stock, run with GODEBUG=epollpwait2=1",
    "rebuilt": "built with a runtime whose netpoll uses epoll_pwait2: what a change of Go itself would give",
    "rebuilt+slack1": "rebuilt, with 1 ns of timer slack",
    "upstream": "built with the runtime that upstream plans: epoll_pwait2, waits rounded up to 10 µs, 100 µs, 1 ms",
    "upstream+slack1": "upstream, with 1 ns of timer slack",
    "nanosleep": "a workaround in source: syscall.Nanosleep on the goroutine",
    "sleep-then-spin": "a workaround in source: time.Sleep for most of it, then a loop that polls the clock",
    "floor": "a raw clock_nanosleep in a thread of its own: what the kernel can do",
    "floor+slack1": "floor, with 1 ns of timer slack",
    "cyclictest": "rt-tests' cyclictest, a C program",
    "cyclictest+fifo": "cyclictest under SCHED_FIFO",
    "control": "an idle raw sleep of 1 ms in every block: what the machine does by itself",
}


@dataclass(frozen=True)
class Headline:
    """The answer: a sentence in large type, and what stands behind it."""

    sentence: str
    behind: str


def headline(summary: Summary) -> Headline:
    """Stock's sleep over the patched program's at 100 µs, with its interval; where that was not measured, what was."""
    for verdict in summary.verdicts:
        for figure in verdict.figures:
            if figure.what == "stock_over_netpoll_slack1":
                return _times(summary, figure)
    sleeping = [cell for cells in by_condition(summary).values() for cell in cells]
    if not sleeping:
        return Headline("What precision costs", "Only cost workloads were measured: no single sleeps.")
    cell = min(sleeping, key=lambda each: (each.requested_ns, in_order(each.arm)))
    sentence = f"A sleep of {asked(cell.requested_ns)} lasts {format_ns(cell.p50_ns)} in {cell.arm}"
    return Headline(sentence, "The median; stock was not measured beside the patched program at 100 µs.")


def _times(summary: Summary, figure: Figure) -> Headline:
    low_high = figure.interval
    bounds = f" [{ratio_text(low_high[0])}, {ratio_text(low_high[1])}]" if low_high else ""
    requested = asked(figure.requested_ns)
    sentence = (
        f"In stock Go a sleep of {requested} lasts {ratio_text(figure.value)} ×{bounds} as long as in the patched "
        "program"
    )
    medians = {
        cell.arm: cell.p50_ns
        for cell in next(iter(by_condition(summary).values()), [])
        if cell.requested_ns == figure.requested_ns
    }
    behind = (
        f"Medians of {format_ns(medians['stock'])} and {format_ns(medians[PRECISE])} ({PRECISE})"
        if {"stock", PRECISE} <= medians.keys()
        else f"Medians, stock over {PRECISE}"
    )
    within = label(summary.above)
    quota = f"without a quota of ours, {within}" if within else "without a quota"
    interval = "in brackets the 95 % interval" if low_high else "one run, so no interval"
    return Headline(sentence, f"{behind}, quiet, {quota}; {interval}.")


def arm_lines(summary: Summary) -> list[tuple[str, str]]:
    """(name, what it is) of every arm that was measured, in the canonical order."""
    measured = {cell.arm for cell in summary.cells} | set(summary.binaries)
    return [(arm, ARMS.get(arm, "of another version of this tool")) for arm in sorted(measured, key=in_order)]
