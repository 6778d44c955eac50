"""The scheduler's trace of gosrc/handoff (GODEBUG=schedtrace, scheddetail): what it says while goroutines sleep.

The format is that of ``schedtrace`` in runtime/proc.go; https://pkg.go.dev/runtime describes the variable. The
program's own marks, ``<word>``, stand between the lines, and may stand within one: the runtime keeps one
print whole, and a line of the trace is several.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MARK = re.compile(r"<(begin|asleep|awake)>\n")
_HEAD = re.compile(
    r"SCHED \d+ms: gomaxprocs=\d+ idleprocs=(?P<idle_ps>\d+) threads=(?P<threads>\d+) "
    r"spinningthreads=\d+ needspinning=\d+ idlethreads=(?P<idle_threads>\d+) "
)
_P = re.compile(r"^  P\d+: status=\d+ schedtick=\d+ syscalltick=(\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class _Mark:
    word: str
    samples_before: int


def samples_of(stderr: str) -> Iterator[dict[str, Any]]:
    """A row a sample taken while every sleeper slept: after the last ``asleep`` of a sleep, before its first ``awake``.

    The first sleep is the warm-up and left out. ``syscall_ticks`` is None where the trace has no details.
    """
    marks, heads, bodies = _taken_apart(stderr)
    for number, (asleep, awake) in enumerate(_sleeps(marks)):
        if number == 0:
            continue
        for place in range(asleep.samples_before, awake.samples_before):
            counts = {name: int(value) for name, value in heads[place].groupdict().items()}
            ticks = [int(each) for each in _P.findall(bodies[place])]
            yield {"number": number, **counts, "syscall_ticks": sum(ticks) if ticks else None}


def _taken_apart(stderr: str) -> tuple[list[_Mark], list[re.Match[str]], list[str]]:
    """The marks, each with how many samples began before it; the samples' first lines; what follows each of these."""
    marks, text, length, read = [], [], 0, 0
    for match in _MARK.finditer(stderr):
        text.append(stderr[read : match.start()])
        length += match.start() - read
        read = match.end()
        marks.append((match[1], length))
    whole = "".join([*text, stderr[read:]])
    heads = list(_HEAD.finditer(whole))
    ends = [*(head.start() for head in heads[1:]), len(whole)]
    bodies = [whole[head.end() : end] for head, end in zip(heads, ends, strict=False)]
    counted = [_Mark(word, sum(head.start() < place for head in heads)) for word, place in marks]
    return counted, heads, bodies


def _sleeps(marks: list[_Mark]) -> Iterator[tuple[_Mark, _Mark]]:
    """(the last that fell asleep, the first that woke) of each sleep in which they all slept at once."""
    asleep: _Mark | None = None
    awake: _Mark | None = None
    for mark in [*marks, _Mark("begin", 0)]:
        if mark.word == "begin":
            if asleep is not None and awake is not None:
                yield asleep, awake
            asleep = awake = None
        elif mark.word == "asleep":
            asleep = mark
        elif awake is None:
            awake = mark
