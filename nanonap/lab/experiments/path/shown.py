"""The sleep that the picture shows: of all that were recorded whole, the one of median length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nanonap.lab.attribution.threads import Threads
from nanonap.lab.experiments.path.calls import Call, Row, Sleep, argument
from nanonap.lab.experiments.path.trace import Span, during
from nanonap.lab.show.style import short

GOROUTINE, THREAD, CALL, MOMENT = "goroutine", "thread", "system call", "moment"
SET, FIRED = "timer set for", "timer fires"
#: Before the request and after the wake-up, so that both can be seen.
_MARGIN_NS = 20_000


@dataclass(frozen=True)
class Shown:
    """A sleep with all that is drawn of it; ``file`` is the execution trace that has it."""

    sleep: Sleep
    call: Call
    spans: list[Span]
    threads: Threads
    file: Path
    block: int

    @property
    def alone(self) -> bool:
        """Whether the goroutine parked on the thread that waited for it: then one thread's row tells it all."""
        inside = during(self.spans, self.sleep)
        return len(inside) > 1 and inside[1].m == self.call.tid

    @property
    def actual_ns(self) -> int:
        """How long it lasted."""
        return self.sleep.end_ns - self.sleep.start_ns


def whole(
    sleep: Sleep,
    calls: Sequence[Call],
    monitor: int | None,
    spans: list[Span],
    threads: Threads,
    file: Path,
    block: int,
) -> Shown | None:
    """The sleep if one call alone made it, on the thread where the sleep ended, with its timer; else None."""
    begun = [
        call
        for call in calls
        if call.tid != monitor and sleep.start_ns <= call.enter_ns < sleep.end_ns and call.timeout_ns != 0
    ]
    if len(begun) != 1 or begun[0].tid != sleep.tid or begun[0].fired_ns is None or not during(spans, sleep):
        return None
    return Shown(sleep, begun[0], spans, threads, file, block)


def median(found: Sequence[Shown]) -> Shown:
    """The one of median length, the lower of two; of those of one thread, where there are any."""
    chosen = [each for each in found if each.alone] or found
    return sorted(chosen, key=lambda each: each.actual_ns)[(len(chosen) - 1) // 2]


def span_rows(shown: Shown, arm: str) -> Iterator[Row]:
    """The rows that the picture is drawn from; times from the request on."""
    sleep, call = shown.sleep, shown.call
    start_ns = sleep.start_ns
    wide = replace(sleep, start_ns=start_ns - _MARGIN_NS, end_ns=sleep.end_ns + _MARGIN_NS)
    parts = [(GOROUTINE, span.label, span.start_ns, span.end_ns) for span in during(shown.spans, wide)]
    segments = shown.threads.within(call.tid, wide.start_ns, wide.end_ns)
    for segment in segments:
        begin_ns, end_ns = max(segment.start_ns, wide.start_ns), min(segment.end_ns, wide.end_ns)
        parts.append((THREAD, segment.state.value, begin_ns, end_ns))
    # In the kernel's record a limit of nanoseconds is what the timer was set for: true to the clock's step of 1 µs.
    limit = argument(call) if call.name == "epoll_pwait" else f"≈ {short(round(call.timeout_ns or 0, -3))}"
    parts.append((CALL, f"{call.name}({limit})", call.enter_ns, call.exit_ns))
    parts += [(MOMENT, name, ns, ns) for name, ns in ((SET, call.armed_ns), (FIRED, call.fired_ns)) if ns is not None]
    for lane, name, begin_ns, end_ns in parts:
        yield {
            "kind": "span",
            "arm": arm,
            "block": shown.block,
            "index": sleep.index,
            "requested_ns": sleep.requested_ns,
            "actual_ns": shown.actual_ns,
            "lane": lane,
            "name": name,
            "begin_ns": begin_ns - start_ns,
            "end_ns": end_ns - start_ns,
        }
