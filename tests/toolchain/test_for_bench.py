"""What the bench runs is built in one go, and each program is patched with what it can be patched with."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import nanonap.toolchain.goroot as goroot_module
import nanonap.toolchain.patched as patched_module
import nanonap.toolchain.rebuilt as rebuilt_module
from nanonap.toolchain.build import build, build_for_bench
from nanonap.toolchain.errors import BuildFailed, CannotRebuild
from nanonap.toolchain.modes import MODES, Mode
from nanonap.toolchain.patched import VARIANTS, Outcome, built_programs, patch_built
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram


def programs(out: Path) -> set[tuple[str, str]]:
    return {(each.parent.name, each.name) for each in out.glob("*/*/*") if each.stat().st_mode & 0o100}


RIVALS = {("rebuilt", "sleepbench"), ("upstream", "sleepbench")}
EVERYTHING = {("default", "sleepbench"), ("default", "slackexec"), *RIVALS}


def test_the_program_its_rival_and_the_wrapper_are_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build_for_bench(out=tmp_path)
    assert {(each.mode, each.program) for each in built} == EVERYTHING == programs(tmp_path)
    assert {each.path for each in built} == {
        tmp_path / DEFAULT_GO / mode / program for mode, program in programs(tmp_path)
    }
    assert capsys.readouterr().err == ""


Programs = set[tuple[str, str]]
Spoil = Callable[[pytest.MonkeyPatch], tuple[type[Exception], Programs]]


def unknown_shape(monkeypatch: pytest.MonkeyPatch) -> tuple[type[Exception], Programs]:
    monkeypatch.setattr(goroot_module, "_DELAY", re.compile("func netpoll\\(another\\)"))
    return CannotRebuild, RIVALS


def does_not_compile(monkeypatch: pytest.MonkeyPatch) -> tuple[type[Exception], Programs]:
    monkeypatch.setattr(rebuilt_module, "_NEW", "func epollPwait2() {}\n")
    return BuildFailed, {("rebuilt", "sleepbench")}


@pytest.mark.parametrize("spoil", [unknown_shape, does_not_compile])
def test_a_rival_that_cannot_be_built_is_told_and_is_an_error_only_when_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: Spoil
) -> None:
    error, left_out = spoil(monkeypatch)
    assert {(each.mode, each.program) for each in build_for_bench(out=tmp_path)} == EVERYTHING - left_out
    said = capsys.readouterr().err
    assert said.startswith("sleepbench is left out in mode rebuilt: ")
    assert DEFAULT_GO in said
    with pytest.raises(error, match=DEFAULT_GO):
        build(mode="rebuilt", out=tmp_path)


def test_a_program_that_cannot_be_built_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "default", Mode("default", flags=("-no-such-flag",)))
    with pytest.raises(BuildFailed, match="no-such-flag"):
        build_for_bench(out=tmp_path)


@pytest.fixture
def outcomes(build_program: BuildProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """Every program that the bench runs, patched."""
    for mode, program in EVERYTHING:
        target = tmp_path / "build" / DEFAULT_GO / mode / program
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build_program(program, mode=mode), target)
    monkeypatch.setattr(patched_module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(patched_module, "PATCHED", tmp_path / "patched")
    assert {each.name for each in built_programs()} == {"sleepbench"}
    return list(patch_built(None, None))


@pytest.mark.long
def test_a_rival_gets_less_slack_alone_and_the_wrapper_nothing(outcomes: list[Outcome], tmp_path: Path) -> None:
    assert [str(each.refusal) for each in outcomes if each.refusal] == []
    assert {(each.program.parent.name, each.variant.name) for each in outcomes} == {
        *((mode, "stock+slack1") for mode, _ in RIVALS),
        *(("default", each.name) for each in VARIANTS),
    }
    names = ["sleepbench.stock+slack1", "sleepbench.stock+slack1.patch.json"]
    for mode, _ in RIVALS:
        assert sorted(each.name for each in (tmp_path / "patched" / DEFAULT_GO / mode).iterdir()) == names
    assert not any("slackexec" in each.name for each in (tmp_path / "patched").rglob("*"))


@pytest.mark.long
def test_a_strategy_that_is_asked_for_passes_a_rival_by(outcomes: list[Outcome]) -> None:
    assert {each.program.parent.name for each in patch_built("netpoll", None)} == {"default"}
    assert {each.program.parent.name for each in patch_built("slack", 7)} == {"default", "rebuilt", "upstream"}
