"""An execution trace (runtime/trace) as goroutines' states, from ``go tool trace -d=parsed``.

That is the toolchain's own parser; its text is described by ``go tool trace -help`` as parsed events, one a line, and
by the String methods in src/internal/trace. A line: ``M=123 P=0 G=23 StateTransition Time=NS GoID=23 Running->Waiting
Reason="sleep"``: on which thread, with which P, in whose context, which goroutine changed. Its clock and
CLOCK_MONOTONIC are read together by each Sync event.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from nanonap.lab.experiments.path.calls import Row, Sleep

_SYNC = re.compile(r"M=.* Sync Time=\d+ N=\d+ Trace=(\d+) Mono=(\d+)")
_CHANGE = re.compile(
    r"M=(-?\d+) P=(-?\d+) G=(-?\d+) StateTransition Time=(\d+) (GoID|ProcID)=(\d+) (\w+)->(\w+) Reason=\"(.*)\""
)
RUNNING, WAITING, RUNNABLE, SYSCALL = "Running", "Waiting", "Runnable", "Syscall"
#: The label of a goroutine in time.Sleep (waitReasonSleep in src/runtime/runtime2.go).
ASLEEP = f"{WAITING} (sleep)"
#: What an arrow between states looks like in the data.
TO = " → "
NOBODY = -1
#: On Linux the trace's clock is CLOCK_MONOTONIC itself, divided by 64 (traceClockNow in src/runtime/tracetime.go: the
#: processor's counter is for systems whose own clock is coarse). Laid on each other they are still apart: the division
#: cuts off up to 63 ns of every moment, and a Sync event reads CLOCK_MONOTONIC a little before the trace's clock
#: (time_now in traceSyncBatch), so that all moments of the trace come out early by what passes between the two, tens of
#: ns, and more where the thread is interrupted there. This leaves room for an interrupt; a thread that lost its CPU
#: just there would put its whole trace off by more.
CLOCKS_APART_NS = 2_000


class Span(NamedTuple):
    """A goroutine's state; ``reason`` as the runtime gives it (``sleep``), ``by`` the goroutine that began the state.

    ``by`` is NOBODY where the scheduler did, on thread ``m``.
    """

    state: str
    reason: str
    start_ns: int
    end_ns: int
    m: int
    by: int

    @property
    def label(self) -> str:
        """``Waiting (sleep)``."""
        return f"{self.state} ({self.reason})" if self.state == WAITING and self.reason else self.state


@dataclass(frozen=True)
class Trace:
    """Spans by goroutine, ascending; which threads and Ps were seen; how often a name of the kind looked for was."""

    goroutines: dict[int, list[Span]]
    threads: frozenset[int]
    processors: frozenset[int]
    named: int


def parse_trace(text: str, name: str) -> Trace:
    """Read ``-d=parsed``; ``name`` is looked for in the stacks. Raises ValueError for text that is no such trace."""
    sync = _SYNC.search(text)
    if sync is None:
        raise ValueError("it has no Sync event with the monotonic clock")
    offset_ns = int(sync[2]) - int(sync[1])
    goroutines: dict[int, list[Span]] = {}
    threads, processors = set(), set()
    for line in text.splitlines():
        match = _CHANGE.match(line)
        if match is None:
            continue
        m, p, by, ns, number = int(match[1]), int(match[2]), int(match[3]), int(match[4]) + offset_ns, int(match[6])
        threads.add(m)
        processors.add(p if match[5] == "GoID" else number)
        if match[5] == "GoID":
            spans = goroutines.setdefault(number, [])
            if spans:
                spans[-1] = spans[-1]._replace(end_ns=ns)
            spans.append(Span(match[8], match[9], ns, ns, m, by))
    return Trace(goroutines, frozenset(threads - {-1}), frozenset(processors - {-1}), text.count(name))


def sleeper(trace: Trace, sleeps: Sequence[Sleep]) -> list[Span]:
    """The spans of the goroutine that sleeps: the one whose rests are most of the sleeps. [] for none."""
    rests: Counter[int] = Counter()
    for number, spans in trace.goroutines.items():
        resting = [span for span in spans if span.state in (WAITING, SYSCALL)]
        rests[number] = sum(any(_alike(span, sleep) for span in resting) for sleep in sleeps)
    best = rests.most_common(1)
    return trace.goroutines[best[0][0]] if best and best[0][1] else []


def _alike(span: Span, sleep: Sleep) -> bool:
    """Whether what they have in common is half of either at least."""
    common = min(span.end_ns, sleep.end_ns) - max(span.start_ns, sleep.start_ns)
    return 2 * common >= max(span.end_ns - span.start_ns, sleep.end_ns - sleep.start_ns)


def during(spans: Sequence[Span], sleep: Sleep) -> list[Span]:
    """The part of a goroutine's spans that lies in a sleep, cut to it."""
    return [
        span._replace(start_ns=max(span.start_ns, sleep.start_ns), end_ns=min(span.end_ns, sleep.end_ns))
        for span in spans
        if span.start_ns < sleep.end_ns and span.end_ns > sleep.start_ns
    ]


def _snapped(spans: Sequence[Span], sleep: Sleep) -> Sleep:
    """The sleep from a moment to a moment at which its goroutine ran, as it did when it read the clock."""
    running = [span for span in spans if span.state == RUNNING]
    start_ns, end_ns = sleep.start_ns, sleep.end_ns
    if not any(span.start_ns < start_ns < span.end_ns for span in running):
        before = [span.end_ns - 1 for span in running if 0 <= start_ns - span.end_ns < CLOCKS_APART_NS]
        start_ns = max(before, default=start_ns)
    if not any(span.start_ns < end_ns <= span.end_ns for span in running):
        after = [span.start_ns + 1 for span in running if 0 <= span.start_ns - end_ns < CLOCKS_APART_NS]
        end_ns = min(after, default=end_ns)
    return replace(sleep, start_ns=start_ns, end_ns=end_ns)


def state_row(spans: Sequence[Span], sleep: Sleep) -> Row:
    """A sleep as its goroutine's states: the columns ``states`` to ``by_goroutine`` of the data."""
    inside = during(spans, _snapped(spans, sleep))
    spent: Counter[str] = Counter()
    for span in inside:
        spent[span.label] += span.end_ns - span.start_ns
    woken = [span.by for before, span in pairwise(inside) if before.label == ASLEEP]
    return {
        "states": TO.join(span.label for span in inside) or None,
        "running_ns": spent[RUNNING],
        "waiting_ns": spent[ASLEEP],
        "runnable_ns": spent[RUNNABLE],
        "syscall_ns": spent[SYSCALL],
        "by_goroutine": any(by != NOBODY for by in woken) if woken else None,
    }
