"""The runtimes that bound their wake-ups keep their account, whatever else they do."""

import re
import time
from pathlib import Path

import pytest

from nanonap.toolchain.bounded import DENSE_NS, QUANTUM_NS, SAVED_NS
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram
from tests.patcher.tracing import finished
from tests.toolchain.conftest import read_run

pytestmark = pytest.mark.long
MANY = ("-sleepers", "50", "-pace", "absolute", "-phase", "20us", "-plan", "1ms*600")
_LIMIT = re.compile(r"epoll_pwait2.*\{tv_sec=(\d+), tv_nsec=(\d+)\}.* = (\d+)")


def waits(folder: Path, program: Path, *options: str) -> list[tuple[int, int]]:
    """(what was asked for in ns, how many events there were) of each wait with a limit, in the order they ended in."""
    log = folder / "log"
    trace = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=epoll_pwait2", "-e", "signal=none"]
    # A wait that a signal ends is told without its limit, so nothing may be preempted.
    finished("env", "GODEBUG=asyncpreemptoff=1", *trace, program, *options)
    found = [(int(s) * 10**9 + int(ns), int(events)) for s, ns, events in _LIMIT.findall(log.read_text())]
    assert found
    return found


def test_short_waits_are_precise_only_as_long_as_longer_ones_have_saved_up(
    build_program: BuildProgram, tmp_path: Path
) -> None:
    saved, short, lengthened = 0, 0, 0
    for asked, _ in waits(tmp_path, build_program("sleepbench", DEFAULT_GO, "saved-5000"), *MANY):
        if asked == QUANTUM_NS:
            lengthened += 1
        elif asked >= DENSE_NS:
            saved = min(saved + asked, SAVED_NS)
        else:
            short += 1
            saved -= 10**9 // 5_000
            assert saved >= 0
    assert short
    assert lengthened


def test_no_more_waits_run_out_than_are_counted(build_program: BuildProgram, tmp_path: Path) -> None:
    program = build_program("sleepbench", DEFAULT_GO, "counted-1250")
    before = time.monotonic()
    ended = [asked for asked, events in waits(tmp_path, program, *MANY) if events == 0]
    elapsed = time.monotonic() - before
    assert 0 < len(ended) <= 1_250 * (elapsed + 0.1) + 1


@pytest.mark.parametrize("mode", ["counted-1250", "saved-5000"])
def test_it_survives_the_collector_and_wakes_nobody_early(build_program: BuildProgram, mode: str) -> None:
    program = build_program("sleepbench", DEFAULT_GO, mode)
    run = read_run(finished(program, "-gc", "1", "-sleepers", "50", "-plan", "200us*40").stdout)
    assert run.header["n"] == 2_000
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()
