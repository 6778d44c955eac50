"""The runtimes that wake a second thread only where there is something for it: built, and no goroutine is lost."""

import difflib
import json
import re
from pathlib import Path
from statistics import median

import pytest

from nanonap.toolchain.errors import CannotRebuild, ModeImpossible
from nanonap.toolchain.goroot import NETPOLL
from nanonap.toolchain.modes import MODES, Overlay
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wakep import PROC, needed_files, queued_files
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram
from tests.patcher.tracing import finished
from tests.soon import soon
from tests.toolchain.conftest import read_run
from tests.toolchain.test_rebuilt import copy

BOTH = ("wakep-queued", "wakep-needed")
KINDS = ("beside", "fork", "echo", "stream")


def switches(program: Path) -> float:
    """The voluntary switches that a lone sleep of 100 µs takes."""
    header = read_run(finished(program, "-plan", "100us*200", "-warmup", "20", "-gomaxprocs", "2").stdout).header
    return float(header["nvcsw"] / header["n"])


@pytest.mark.parametrize("mode", soon(BOTH))
def test_a_lone_sleep_switches_threads_less_often(build_program: BuildProgram, mode: str) -> None:
    changed, rebuilt = (build_program("sleepbench", DEFAULT_GO, each) for each in (mode, "rebuilt"))
    pairs = [(switches(changed), switches(rebuilt)) for _ in range(7)]
    assert median(own / base for own, base in pairs) < 0.9


@pytest.mark.parametrize("mode", soon(BOTH))
def test_it_survives_the_collector_and_many_sleepers(build_program: BuildProgram, mode: str) -> None:
    program = build_program("sleepbench", DEFAULT_GO, mode)
    run = read_run(finished(program, "-gc", "1", "-sleepers", "50", "-plan", "200us*40").stdout)
    assert run.header["n"] == 2_000
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


@pytest.mark.parametrize("mode", soon(["default", *BOTH], 0))
@pytest.mark.parametrize("kind", KINDS)
def test_parallel_work_is_done_and_told(build_program: BuildProgram, mode: str, kind: str) -> None:
    program = build_program("parallel", DEFAULT_GO, mode)
    told = json.loads(finished(program, "-kind", kind, "-time", "30ms").stdout)
    assert (told["kind"], told["gomaxprocs"]) == (kind, 2)
    assert told["done"] > 0
    assert told["wall_ns"] >= 30_000_000
    assert 0 < told["p50_ns"] <= told["p99_ns"]


@pytest.mark.parametrize("files", [queued_files, needed_files])
def test_of_the_scheduler_one_call_is_changed(files: Overlay) -> None:
    goroot = release_toolchain(DEFAULT_GO).root()
    stock, changed = (goroot / PROC).read_text(), files(goroot, DEFAULT_GO)[PROC]
    lines = [each for each in difflib.ndiff(stock.splitlines(), changed.splitlines()) if each[0] in "+-"]
    assert [each.split("nanonap")[0] for each in lines if "wakep()" not in each] == ["+ \tif ", "+ \t}"]
    assert (
        changed.index("func resetspinning() {") < changed.index("nanonapQueued()") < changed.index("func injectglist")
    )


@pytest.mark.parametrize(
    ("found", "replaced"),
    [(r"\twakep\(\)\n\}", "\twakep2()\n}"), (r"func resetspinning\(\)", "func resetspinningM()")],
)
def test_a_scheduler_of_another_shape_is_refused_with_what_was_expected(
    tmp_path: Path, found: str, replaced: str
) -> None:
    toolchain = release_toolchain(DEFAULT_GO)
    goroot = copy(toolchain, tmp_path)
    text, count = re.subn(found, replaced, (toolchain.root() / PROC).read_text())
    assert count > 0
    (goroot / PROC).write_text(text)
    with pytest.raises(CannotRebuild, match=r"resetspinning.* once, and has it 0 times: mode wakep-queued"):
        queued_files(goroot, DEFAULT_GO)
    assert (goroot / NETPOLL).is_file()


def test_before_the_heap_that_says_when_it_is_due_there_is_no_such_mode(build_program: BuildProgram) -> None:
    assert {MODES[each].since for each in BOTH} == {(1, 23)}
    with pytest.raises(ModeImpossible, match=r"wakep-needed needs Go 1\.23"):
        build_program("sleepbench", "1.21.13", "wakep-needed")
