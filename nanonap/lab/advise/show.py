"""The advice for a person: the sentence last, where the eye is; above it what it stands on."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from nanonap.base.durations import format_ns
from nanonap.base.terminal import answers, say
from nanonap.lab.advise.advice import Advice
from nanonap.lab.advise.looking import Glances

_WIDTH = 112


def show_advice(name: str, advice: Advice) -> None:
    """Facts, the table of ways, the sentence."""
    say(f"{name}: nothing of it was changed")
    for line in _facts(advice):
        say(f"  {line}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for title in ("late, p50", "late, p99", "wake-ups/s", "CPU, % of a core"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in advice.ways:
        late = (format_ns(each.late_p50_ns), format_ns(each.late_p99_ns))
        table.add_row(each.name, *late, f"{each.wakes_per_s:,.0f}", f"{100 * each.cpu:.2f}")
    console = answers()
    console.print(table, width=console.width if console.is_terminal else _WIDTH)
    say("The first row was seen; the others are reckoned from the same timers, one by one.")
    for line in _warnings(advice):
        say(f"warning: {line}")
    say("")
    say(advice.sentence)


def show_glances(name: str, glances: Glances) -> None:
    """What little can be told, and what would tell more."""
    say(f"{name}: nothing of it was changed")
    say(f"  thread wake-ups  {glances.switches_per_s:,.0f} a second")
    say(f"  CPU              {100 * glances.cpu:.2f} % of a core")
    if glances.looks:
        say(f"  waits            with a time limit in {glances.timed} of {glances.looks} looks")
    say(f"  not told         how late timers are, and what a patch would cost: {glances.reason}")
    say("")
    say(glances.sentence)


def _facts(advice: Advice) -> Iterator[str]:
    yield f"waits          {advice.waits_per_s:,.0f} a second, {advice.timed_per_s:,.0f} of them with a time limit"
    if advice.asked_ns:
        low, middle, high = (format_ns(each) for each in advice.asked_ns)
        yield f"asked for      p10 {low}, p50 {middle}, p90 {high}; {advice.short:.0%} below a millisecond"
        half, most = (format_ns(each) for each in advice.added_ns)
        yield f"made longer    by whole milliseconds: p50 {half}, p99 {most}"
    if advice.timers_seen:
        every = f", the median one every {format_ns(advice.interval_ns)}" if advice.interval_ns else ""
        burst = f"; {advice.burst[0]:.0f} go off together at the median, {advice.burst[1]:.0f} at p99"
        yield f"timers         {advice.timers_per_s:,.0f} a second{every}{burst}"
    yield f"a wake-up      of a thread after a millisecond costs {format_ns(advice.wakeup_ns)} of CPU time here"
    yield f"watching cost  {advice.cost:.1%} of a core"


def _warnings(advice: Advice) -> Iterator[str]:
    if not advice.timers_seen and advice.timed_per_s:
        yield "its timers could not be seen, so that each wait counts for one: many at once are told as one"
    if advice.rough:
        late, often = advice.check
        yield (
            f"the same reckoning of the program as it is gives {late:.2f} × the lateness and {often:.2f} × the "
            "wake-ups that were seen: take the other rows for a rough guide, or watch for longer"
        )
    if advice.lost:
        yield f"{advice.lost} events were lost"
