"""The runtime that upstream plans rounds its waits up, in every release; where that is refused it waits as stock."""

import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.releases import installed_releases
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.errors import AlreadyPrecise
from tests.conftest import BuildProgram
from tests.patcher.tracing import Call, finished, named, timeout_ms, timeout_ns, traced
from tests.soon import soon
from tests.toolchain.conftest import read_run
from tests.toolchain.test_rebuilt import EPOLL_PWAIT2, REFUSE, assert_right

_ALL = installed_releases(say=False)
RELEASES = [*_ALL[:2], _ALL[len(_ALL) // 2], _ALL[-1]]  # shapes of the runtime that differ
PLAN = ("-plan", "73us*20,1ms*5,3300us*5,13900us*3", "-warmup", "2")


def buckets(calls: list[Call]) -> Iterator[tuple[int, int]]:
    """(what was asked for, the step it is a multiple of), in ns."""
    for each in calls:
        asked = timeout_ns(each)
        yield asked, 10_000 if asked <= 1_000_000 else 100_000 if asked <= 10_000_000 else 1_000_000


@pytest.mark.parametrize("go", soon(RELEASES, long=(0, -1)))
def test_every_release_rounds_its_waits_up_by_their_length(
    build_program: BuildProgram, tmp_path: Path, go: str
) -> None:
    run, threads = traced(tmp_path / "log", build_program("sleepbench", go, "upstream"), *PLAN)
    assert run.header["n"] == 33
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()
    asked = named(threads, "epoll_pwait2")
    assert [each.result.split()[1] for each in asked if each.arguments.startswith("-1, ")] == ["EBADF"]
    limited = [each for each in asked if re.search(r", 128, \{", each.arguments)]
    assert [asked for asked, step in buckets(limited) if asked % step] == []
    assert {step for _, step in buckets(limited)} == {10_000, 100_000, 1_000_000}
    # A sleep of 13.9 ms has waited for 0.9 ms before rounding down and up would give the same.
    assert 14_000_000 in {asked for asked, _ in buckets(limited)}
    assert {timeout_ms(each) for each in named(threads, "epoll_pwait")} <= {0}


@pytest.mark.parametrize("refusal", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("go", soon([DEFAULT_GO, RELEASES[0]]))
def test_where_the_call_is_refused_it_is_asked_for_once_and_the_program_waits_as_stock(
    build_program: BuildProgram, tmp_path: Path, go: str, refusal: str
) -> None:
    filtered = (sys.executable, str(REFUSE), EPOLL_PWAIT2, str(getattr(errno, refusal)))
    short = ("-plan", "50us*20,1ms*10,2500us*10", "-warmup", "2")
    run, threads = traced(tmp_path / "log", *filtered, build_program("sleepbench", go, "upstream"), *short)
    assert_right(run)
    assert len(named(threads, "epoll_pwait2")) == 1
    assert max(timeout_ms(each) for each in named(threads, "epoll_pwait")) >= 1


@pytest.mark.parametrize("go", soon([DEFAULT_GO, RELEASES[0]]))
def test_it_survives_the_collector_and_is_known_as_precise(
    build_program: BuildProgram, tmp_path: Path, go: str
) -> None:
    program = build_program("sleepbench", go, "upstream")
    run = read_run(finished(program, "-gc", "1", "-sleepers", "50", "-plan", "200us*40").stdout)
    assert run.header["n"] == 2_000
    with pytest.raises(AlreadyPrecise, match="calls epoll_pwait2"):
        patcher.patch(program, tmp_path / "netpoll", "netpoll")
