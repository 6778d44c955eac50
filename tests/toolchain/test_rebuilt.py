"""The rebuilt runtime waits in epoll_pwait2, in every release; a runtime of another shape is refused by name."""

import dataclasses
import errno
import itertools
import re
import shutil
import sys
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.build import build_one, inputs_sha256
from nanonap.toolchain.errors import CannotRebuild
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.goroot import NETPOLL
from nanonap.toolchain.modes import MODES, Overlay
from nanonap.toolchain.rebuilt import ADDED, rebuilt_files
from nanonap.toolchain.releases import installed_releases, release_toolchain
from nanonap.toolchain.upstream import upstream_files
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.errors import AlreadyPrecise
from tests.conftest import BuildProgram
from tests.patcher.tracing import finished, named, timeout_ms, timeout_ns, traced
from tests.soon import soon
from tests.toolchain.conftest import Run, read_run

REFUSE = Path(__file__).parents[1] / "patcher" / "refuse.py"
_ALL = installed_releases(say=False)
RELEASES = [*_ALL[:2], _ALL[len(_ALL) // 2], _ALL[-1]]  # shapes of the runtime that differ
PLAN = ("-plan", "50us*20,1ms*10,2500us*10", "-warmup", "2")
EPOLL_PWAIT2 = "441"


def assert_right(run: Run) -> None:
    assert (run.header["n"], run.header["truncated"]) == (40, False)
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


@pytest.mark.parametrize("go", soon(RELEASES, -1, long=(0,)))
def test_every_release_waits_to_the_nanosecond_and_only_when_rebuilt(
    build_program: BuildProgram, tmp_path: Path, go: str
) -> None:
    run, threads = traced(tmp_path / "rebuilt", build_program("sleepbench", go, "rebuilt"), *PLAN)
    assert_right(run)
    assert run.header["go_version"] == f"go{go}"
    asked = [timeout_ns(each) for each in named(threads, "epoll_pwait2")]
    assert len(asked) > 20
    assert all(0 < each <= 2_500_000 for each in asked)
    assert len({each % 1_000 for each in asked}) > 1, "rounded to microseconds"
    assert {timeout_ms(each) for each in named(threads, "epoll_pwait")} <= {-1, 0}

    run, threads = traced(tmp_path / "stock", build_program("sleepbench", go), *PLAN)
    assert_right(run)
    assert named(threads, "epoll_pwait2") == []


@pytest.mark.parametrize("refusal", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("go", soon(RELEASES, -1, long=(0,)))
def test_where_the_new_wait_is_refused_every_release_waits_as_stock(
    build_program: BuildProgram, tmp_path: Path, go: str, refusal: str
) -> None:
    filtered = (sys.executable, str(REFUSE), EPOLL_PWAIT2, str(getattr(errno, refusal)))
    run, threads = traced(tmp_path / "log", *filtered, build_program("sleepbench", go, "rebuilt"), *PLAN)
    assert_right(run)
    pairs = [pair for thread in threads for pair in itertools.pairwise(thread) if pair[0].name == "epoll_pwait2"]
    assert len(pairs) > 20
    for new, stock in pairs:
        assert new.result.startswith(f"-1 {refusal} ")
        assert stock.name == "epoll_pwait"
        assert timeout_ms(stock) >= 1


@pytest.mark.parametrize("go", soon([DEFAULT_GO, RELEASES[0]], 0))
def test_it_survives_the_collector_and_many_sleepers(build_program: BuildProgram, go: str) -> None:
    program = build_program("sleepbench", go, "rebuilt")
    run = read_run(finished(program, "-gc", "1", "-sleepers", "50", "-plan", "200us*40").stdout)
    assert run.header["n"] == 2_000
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


@pytest.mark.parametrize("go", soon(RELEASES, -1, long=(0,)))
def test_the_patcher_knows_it_as_precise_and_lowers_its_slack(
    build_program: BuildProgram, tmp_path: Path, go: str
) -> None:
    program = build_program("sleepbench", go, "rebuilt")
    with pytest.raises(AlreadyPrecise, match="epollPwait2"):
        patcher.patch(program, tmp_path / "netpoll", "netpoll")
    patcher.patch(program, tmp_path / "slack", "slack", slack_ns=1)
    run = read_run(finished(tmp_path / "slack", *PLAN).stdout)
    assert_right(run)
    assert run.header["timer_slack_ns"] == 1


@pytest.mark.long
def test_goroot_is_read_only(tmp_path: Path, toolchain: Toolchain) -> None:
    runtime = toolchain.root() / "src" / "runtime"
    before = listing(runtime)
    fresh = dataclasses.replace(toolchain, cache=tmp_path / "cache")  # so that the runtime is compiled
    build_one(fresh, MODES["rebuilt"], "sleepbench", tmp_path / "build")
    assert listing(runtime) == before
    assert not (toolchain.root() / ADDED).exists()


@pytest.mark.parametrize("mode", ["rebuilt", "upstream"])
@pytest.mark.parametrize("go", [DEFAULT_GO, RELEASES[0]])
def test_a_change_of_the_runtime_is_a_change_of_inputs(tmp_path: Path, go: str, mode: str) -> None:
    toolchain = release_toolchain(go)
    copied = dataclasses.replace(toolchain, goroot=copy(toolchain, tmp_path / "goroot"))
    same = inputs_sha256(copied, MODES[mode], "sleepbench")
    with (tmp_path / "goroot" / NETPOLL).open("a") as stream:
        stream.write("// one more line\n")
    assert same == inputs_sha256(toolchain, MODES[mode], "sleepbench")
    assert same != inputs_sha256(copied, MODES[mode], "sleepbench")


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.stat().st_mtime_ns, each.stat().st_size) for each in folder.iterdir()}


def copy(toolchain: Toolchain, goroot: Path) -> Path:
    """What the edit reads of a GOROOT."""
    for name in (NETPOLL, *(str(each.relative_to(toolchain.root())) for each in syscall_files(toolchain))):
        (goroot / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toolchain.root() / name, goroot / name)
    return goroot


def syscall_files(toolchain: Toolchain) -> list[Path]:
    folders = (toolchain.root() / "src" / each for each in ("internal/runtime/syscall", "runtime/internal/syscall"))
    return [each for folder in folders if folder.exists() for each in folder.rglob("syscall_linux.go")]


Shape = tuple[str, str, str, str]
SHAPES: list[Shape] = [
    (NETPOLL, r"func netpoll\(delay int64\)", "func netpoll(wait int64)", r"delay int64.* once, and has it 0 times"),
    (NETPOLL, r"(?i)epollwait\(epfd,", "epollWaitFor(epfd,", r"EpollWait.* once, and has it 0 times"),
    (NETPOLL, r"(?im)^(.*epollwait\(epfd,.*)$", r"\1\n\1", r"once, and has it 2 times"),
    (NETPOLL, r"waitms\)\n", "waitms, nil)\n", r"EpollWait.* once, and has it 0 times"),
    (NETPOLL, r"\Z", "// EpollPwait2 is here\n", "EpollPwait2 of its own.*GODEBUG=epollpwait2=1"),
    ("syscall", r"func Syscall6\(num,", "func Syscall6(trap,", "Syscall6.* and has it in none"),
]
UPSTREAM_SHAPES: list[Shape] = [
    (NETPOLL, r"if waitms > 0 \{", "if waitms != 0 {", r"waitms > 0.* once, and has it 0 times: mode upstream"),
    (NETPOLL, r"func netpollinit\(\)", "func netpollstart()", r"netpollinit.* once, and has it 0 times: mode upstream"),
]


@pytest.mark.parametrize("go", [DEFAULT_GO, RELEASES[0]])
@pytest.mark.parametrize(
    ("files", "shape"),
    [(rebuilt_files, each) for each in SHAPES] + [(upstream_files, each) for each in UPSTREAM_SHAPES],
)
def test_a_runtime_of_another_shape_is_refused_with_what_was_expected(
    tmp_path: Path, go: str, files: Overlay, shape: Shape
) -> None:
    name, found, replaced, named = shape
    goroot = copy(release_toolchain(go), tmp_path)
    files(goroot, go)
    changed = goroot / name if name == NETPOLL else next(goroot.rglob("syscall_linux.go"))
    text, count = re.subn(found, replaced, changed.read_text())
    assert count > 0
    changed.write_text(text)
    with pytest.raises(CannotRebuild, match=named) as refused:
        files(goroot, go)
    assert str(refused.value).startswith(f"Go {go}: {goroot}/src")


def test_a_release_without_its_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRebuild, match=r"netpoll_epoll\.go cannot be read \(No such file"):
        rebuilt_files(tmp_path, "1.27.3")
