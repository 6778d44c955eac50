"""The process that records: ``python -m nanonap.lab.attribution.recorder``, started by
``Recording``. Standard library only.

It is a process of its own since the tracing file system is mounted for it alone, and since it outlives a parent that is
killed: when its standard input ends it cleans up. On standard output it writes one JSON line, ``{"method": …, "reason":
…, "remedy": …}`` (the last two say why it is not the best method, else null), and after the line ``stop`` came in, the
record:

- ``@from NS`` and ``@to NS``: recording began and ended (CLOCK_MONOTONIC);
- lines of ``nanonap.lab.attribution.sampling``, and ``@lost CPU COUNT`` of ``nanonap.lab.attribution.tracefs``;
- the kernel's trace, as Documentation/trace/ftrace.rst shows it.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.attribution.sampling import Sampling
from nanonap.lab.attribution.tracefs import Instance

SCHEDSTAT, COUNTERS, NOTHING = "schedstat sampling", "counters", "none"
MODES = ("auto", "trace", "schedstat", "counters")


def begin(modes: Sequence[str]) -> argparse.Namespace:
    """A recorder's options, ``program``, ``stat`` and ``mode``; from now on SIGTERM and SIGHUP end it in good order."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--stat", type=Path)
    parser.add_argument("--mode", choices=modes, default="auto")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    return options


def main(kind: type[Instance] = Instance) -> int:
    """Record until standard input says stop, or ends, with an instance of that kind."""
    options = begin(MODES)
    instance: Instance | None = None
    try:
        refusal = None
        if options.mode in ("auto", "trace"):
            try:
                instance = kind(options.program)
            except TracingUnavailable as error:
                refusal = error
        method = instance.method if instance is not None else _without_tracing(options.mode, options.stat)
        sampling = Sampling(options.program, options.stat, tasks=method == SCHEDSTAT)
        text = _record(instance, sampling, method, refusal)
    finally:
        if instance is not None:
            instance.close()
    if text is not None:
        sys.stdout.buffer.write(text)
    return 0


def _record(
    instance: Instance | None, sampling: Sampling, method: str, refusal: TracingUnavailable | None
) -> bytes | None:
    from_ns = time.monotonic_ns()
    if instance is not None:
        instance.start()
    sampling.start()
    about = {"method": method, "reason": refusal and refusal.reason, "remedy": refusal and refusal.remedy}
    print(json.dumps(about), flush=True)
    if sys.stdin.readline() != "stop\n":
        return None
    to_ns = time.monotonic_ns()
    kernel = instance.stop() if instance is not None else b""
    return f"@from {from_ns}\n@to {to_ns}\n{sampling.stop()}".encode() + kernel


def _without_tracing(mode: str, stat: Path | None) -> str:
    if mode != "counters" and os.access("/proc/self/schedstat", os.R_OK):
        return SCHEDSTAT
    return COUNTERS if stat is not None else NOTHING


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
