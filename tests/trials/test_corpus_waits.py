"""The corpus counts the waits of patched programs, names their filters, and builds with profiles that move the wait."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.corpus.arms import chosen_arms
from nanonap.trials.corpus.counting import Waits, _open_files, _writers, tracing, waits_in
from nanonap.trials.corpus.obtain import Obtainer
from nanonap.trials.corpus.processes import Processes
from nanonap.trials.corpus.profiled import build_profiled
from nanonap.trials.corpus.programs import Program
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.corpus.working import ProgramTrial
from nanonap.trials.corpus.workplace import Workplace
from nanonap.trials.errors import CorpusIncomplete
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from patcher.golang.waits import find_waits
from tests.conftest import BuildProgram
from tests.soon import soon

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
Work = Callable[[Workplace], dict[str, str]]


def counted(program: Path, folder: Path, *arguments: str) -> Waits:
    folder.mkdir()
    log = folder / "waits"
    Workplace(folder, (program,), Processes(), before=tracing(log)).run(*arguments)
    return waits_in(log)


@needs_strace
def test_waits_in_whole_milliseconds_are_told_from_precise_ones(build_program: BuildProgram, tmp_path: Path) -> None:
    stock = build_program("waits")
    patched = patcher.patch(stock, tmp_path / "patched").out
    found = counted(stock, tmp_path / "one", "ticker", "200ms")
    assert found.milliseconds > 5
    assert found.precise == 0
    found = counted(patched, tmp_path / "other", "ticker", "200ms")
    assert found.milliseconds == 0
    assert found.precise > 5


@needs_strace
def test_a_traced_server_is_asked_to_end_and_its_waits_are_kept(build_program: BuildProgram, tmp_path: Path) -> None:
    log = tmp_path / "waits"
    at = Workplace(tmp_path, (build_program("waits"),), Processes(), before=tracing(log))

    def ready() -> None:
        if "ready" not in (tmp_path / "server.log").read_text():
            raise ConnectionError("not yet")

    with at.serving("idle", "1h", ready=ready):
        pass
    assert waits_in(log).precise == 0


def test_without_strace_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusIncomplete, match="apt-get install strace"):
        tracing(tmp_path / "waits")


def tried(program: Program, stock: Path, folder: Path) -> list[Row]:
    """The rows of a program that lies here."""
    here = replace(program, source=f"go:{DEFAULT_GO}", paths=(f"../../../../../../../../../..{stock}",))
    processes = Processes()
    return ProgramTrial(here, chosen_arms("netpoll"), Obtainer(processes), processes, folder)()


def ticks(at: Workplace) -> dict[str, str]:
    return {"said": at.run("ticker", "100ms").decode()}


@needs_strace
def test_a_program_that_goes_on_to_wait_in_whole_milliseconds_is_changed(
    build_program: BuildProgram, tmp_path: Path
) -> None:
    stock = build_program("waits")
    (row,) = tried(Program("waits", "", (), ticks, "ticks", counted=True), stock, tmp_path / "right")
    assert row.result == Result.SAME
    assert "waits in whole milliseconds: 0, others: " in row.detail
    (row,) = tried(
        Program("waits", "", (), lambda at: ticks(replace(at, programs=(stock,))), "ticks", counted=True),
        stock,
        tmp_path / "wrong",
    )
    assert row.result == Result.CHANGED
    assert "waits in whole milliseconds: " in row.detail


def test_a_filter_that_is_not_named_is_a_change_and_more_arms_are_tried(
    build_program: BuildProgram, tmp_path: Path
) -> None:
    stock = build_program("waits")
    program = Program("waits", "", (), ticks, "ticks", also=chosen_arms("slack"))
    assert [row.arm for row in tried(program, stock, tmp_path / "arms")] == ["netpoll", "stock+slack1"]
    named = replace(program, filters=frozenset({"gvisor.dev/gvisor/pkg/seccomp"}))
    (row,) = tried(named, stock, tmp_path / "filters")
    assert row.result == Result.CHANGED
    assert row.detail == "expected gvisor.dev/gvisor/pkg/seccomp to be named, which sets a filter"


@pytest.mark.parametrize("built", soon([("profiled", "EpollWait"), ("inlined", "Syscall6")], long=(0,)), ids="-".join)
def test_a_program_built_with_the_profile_waits_elsewhere(tmp_path: Path, built: tuple[str, str]) -> None:
    folder, callee = built
    work = tmp_path / "work"
    work.mkdir()
    build_profiled(DEFAULT_GO, Processes(), work, tmp_path, {folder: ("pack",)})
    calls = find_waits(Functions(read_image(tmp_path / folder / "pack"))).calls
    assert {(each.function.name, each.callee) for each in calls} == {
        ("runtime.netpoll", callee),
        ("runtime.findRunnable", callee),
    }


def test_a_process_that_has_ended_has_nothing_open(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert list(_open_files(Path(f"/proc/{ended.pid}"))) == []
    with log.with_name("log.1").open("w"):
        assert list(_writers(log)) == [str(os.getpid())]
    assert list(_writers(log)) == []
