"""How often a program calls the kernel and gives up its processor while it rests, as the kernel counts it."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.run.syscalls import PRIVATE_TRACEFS
from tests.patience import PATIENCE_S

REFUSE = Path(__file__).parents[1] / "patcher" / "refuse.py"
EVENTS = ("raw_syscalls:sys_enter", "context-switches")
_LENGTH = "10s"


@dataclass(frozen=True)
class Rest:
    """A program, what it is asked to do (a state of gosrc/waits), and (call, errno) refused to it or None."""

    program: Path
    state: str
    refused: tuple[str, int] | None


@dataclass(frozen=True)
class Counts:
    """From the beginning of the state to the process's end. A call that a filter refuses does not count: the kernel
    comes to the tracepoint only behind the filter (kernel/entry/common.c, syscall_trace_enter)."""

    system_calls: int
    switches: int


def count(rests: list[Rest], folder: Path) -> list[Counts]:
    """The counts of each, sixteen at a time: they rest. ``folder`` is for perf's files."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(_count, rests, [folder / f"counts{number}" for number in range(len(rests))]))


def _count(rest: Rest, out: Path) -> Counts:
    filtered = [sys.executable, str(REFUSE), rest.refused[0], str(rest.refused[1])] if rest.refused else []
    with _started([*filtered, str(rest.program), rest.state, _LENGTH]) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        events = [part for name in EVENTS for part in ("-e", name)]
        counter = ["perf", "stat", "-x", ",", "-o", str(out), *events, "-p", str(program.pid)]
        with _started([*PRIVATE_TRACEFS, *counter]) as perf:
            if rest.state == "idle":
                time.sleep(10)
                program.send_signal(signal.SIGTERM)
            assert program.wait(PATIENCE_S) == 0
            assert perf.wait(PATIENCE_S) == 0, perf.stderr
    fields = [line.split(",") for line in out.read_text().splitlines()]
    found = {each[2]: int(each[0]) for each in fields if len(each) > 2 and each[0].isdigit()}
    return Counts(*(found[name] for name in EVENTS))


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
