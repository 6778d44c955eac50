"""Programs for another processor are built by the same toolchains, in the same modes, into folders of their own."""

from pathlib import Path

import pytest

from nanonap.base.errors import UsageError
from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build, build_one
from nanonap.toolchain.errors import ModeImpossible
from nanonap.toolchain.modes import MODES, chosen_modes, mode_of
from nanonap.toolchain.patched import VARIANTS, has_code
from nanonap.toolchain.releases import NEWEST, release_toolchain
from nanonap.toolchain.targets import AMD64, ARM64, TARGETS, target_named
from patcher import inspect
from tests.soon import soon

#: Modes that need the other processor's C compiler.
CROSS = [each for each in ("external", "cgo", "race") if not MODES[each].on(ARM64).missing()]


def test_a_mode_of_this_processor_is_what_it_was() -> None:
    assert [mode.on(AMD64) for mode in MODES.values()] == list(MODES.values())


def test_every_mode_has_its_name_for_each_target_and_is_found_by_it() -> None:
    for target in TARGETS.values():
        for mode in chosen_modes("all", target=target):
            assert mode.target == target
            assert mode_of(mode.name) == mode
    assert mode_of("arm64-pie") == MODES["pie"].on(ARM64)
    assert (mode_of("arm64"), mode_of("arm64-"), mode_of("riscv64-pie")) == (None, None, None)


def test_what_cannot_be_built_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="--arch mips: unknown; choose from amd64, arm64"):
        target_named("mips")
    with pytest.raises(ModeImpossible, match="--mode big: the functions that it adds are amd64's machine code"):
        chosen_modes("big", target=ARM64)
    monkeypatch.setenv("PATH", "/nonexistent")
    packages = (
        r"aarch64-linux-gnu-gcc is not on PATH; install it \(Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross\)"
    )
    with pytest.raises(ModeImpossible, match=f"--mode race: {packages}, or choose another mode"):
        chosen_modes("race", target=ARM64)
    names = {each.name for each in chosen_modes("all", big=True, target=ARM64)}
    assert {"arm64-default", "arm64-pie"} <= names
    assert not names & {"arm64-big", "arm64-race", "arm64-rebuilt"}
    said = " ".join(capsys.readouterr().err.split())
    assert "mode big is left out: the functions that it adds are amd64's" in said
    assert "mode cgo is left out: aarch64-linux-gnu-gcc is not on PATH" in said


def test_a_program_for_another_processor_lies_beside_that_for_this_one() -> None:
    (built,) = build(NEWEST, out=TRIED, target=ARM64)
    assert built.path == TRIED / NEWEST / "arm64-default" / "sleepbench"
    assert inspect(built.path).go.arch == "arm64"


@pytest.mark.parametrize("mode", soon(CROSS, long=(0,)))
def test_c_is_linked_in_where_a_mode_has_it(mode: str, tmp_path: Path) -> None:
    built = build_one(release_toolchain(NEWEST), MODES[mode].on(ARM64), "survive", tmp_path)
    assert b"ld-linux-aarch64.so.1" in built.path.read_bytes()


def test_a_strategy_says_which_processors_it_has_code_for() -> None:
    assert {each.strategy for each in VARIANTS if has_code(each, ARM64)} == {"netpoll", "slack"}
    assert all(has_code(each, AMD64) for each in VARIANTS)
