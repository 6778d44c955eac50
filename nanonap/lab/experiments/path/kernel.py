"""The kernel's own record of the waiting calls and their timers (``path_recorder``), as calls on CLOCK_MONOTONIC."""

import re

from nanonap.lab.experiments.path.calls import Call
from nanonap.lab.experiments.path.recorder import WAITS
from nanonap.lab.experiments.path.strace import milliseconds

_LINE = re.compile(r"\s*.*?-(\d+)\s+\[\d+\]\s+\S+\s+(\d+)\.(\d+): (sys_|hrtimer_start|hrtimer_expire_entry)(.*)")
_EVENT = re.compile(": (?:sys|hrtimer)_")
_CALL = re.compile(r"(\w+)(?:\((.*)\)| -> (\S+))")
_TIMEOUT = re.compile(r"timeout: (\w+)")
_TIMER = re.compile(r": hrtimer=(\w+) ")
#: The timer of a waiting thread (kernel/time/hrtimer.c): an interrupt may start others in the thread's context.
_SET = re.compile(r"function=hrtimer_wakeup .*softexpires=(\d+)")


class _Open:
    """A call that has begun: when, its limit, its timer, and when that was set for and went off."""

    def __init__(self, name: str, ns: int, timeout_ns: int | None) -> None:
        self.name, self.ns, self.timeout_ns = name, ns, timeout_ns
        self.timer: str | None = None
        self.armed_ns: int | None = None
        self.fired_ns: int | None = None


def read_calls(text: str) -> list[Call]:
    """The calls that began and ended in a recording's text, by their ends. Its clock is cut to whole µs, timers' not.

    The limit of epoll_pwait2 and clock_nanosleep is an address there: what the timer was set for, less the moment of
    the call, stands for it.
    """
    calls: list[Call] = []
    begun: dict[int, _Open] = {}
    timers: dict[str, int] = {}
    for line in text.splitlines():
        match = _LINE.match(line) if _EVENT.search(line) else None
        if match is None:
            continue
        tid, ns = int(match[1]), int(match[2]) * 1_000_000_000 + int(match[3].ljust(9, "0"))
        if match[4] == "sys_":
            _call(calls, begun, tid, ns, match[5])
            continue
        timer = _TIMER.match(match[5])
        if timer is None:
            continue
        if match[4] == "hrtimer_start":
            call, expires = begun.get(tid), _SET.search(match[5])
            if call is not None and call.timer is None and expires is not None:
                call.timer, call.armed_ns = timer[1], int(expires[1])
                timers[timer[1]] = tid
        else:
            call = begun.get(timers.get(timer[1], -1))
            if call is not None and call.timer == timer[1]:
                call.fired_ns = ns
    return calls


def _call(calls: list[Call], begun: dict[int, _Open], tid: int, ns: int, said: str) -> None:
    match = _CALL.match(said)
    if match is None or match[1] not in WAITS:
        return
    if match[3] is None:
        timeout = _TIMEOUT.search(match[2]) if match[1] == "epoll_pwait" else None
        begun[tid] = _Open(match[1], ns, milliseconds(int(timeout[1], 0)) if timeout is not None else None)
        return
    call = begun.pop(tid, None)
    if call is not None and call.name == match[1]:
        timeout_ns = call.timeout_ns
        if timeout_ns is None and call.armed_ns is not None:
            timeout_ns = max(call.armed_ns - call.ns, 0)
        calls.append(Call(tid, call.name, call.ns, ns, timeout_ns, call.armed_ns, call.fired_ns))
