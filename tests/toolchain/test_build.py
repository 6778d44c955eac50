"""Programs are built reproducibly, whole, and not again without need."""

import dataclasses
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nanonap.toolchain.build as build_module
from nanonap.base.errors import OutputNotWritable, UsageError
from nanonap.base.paths import GOSRC
from nanonap.toolchain.big import FUNCTIONS, big_files
from nanonap.toolchain.build import build, build_one, inputs_sha256
from nanonap.toolchain.errors import BuildFailed, ModeImpossible
from nanonap.toolchain.go import Toolchain
from nanonap.toolchain.modes import MODES, Mode, chosen_modes
from tests.conftest import BuildProgram
from tests.soon import soon

DEFAULT = MODES["default"]
# A profile is taken anew in another folder, and no two are the same: profiled builds are not reproducible.
# Of the modes that change the runtime one stands for all: they are built alike.
BUILDABLE = [
    mode
    for mode in MODES.values()
    if not (mode.big or mode.profiled or mode.missing() or (mode.rival and mode.name != "rebuilt"))
]


@pytest.mark.long
def test_the_same_inputs_give_the_same_bytes_from_another_folder_with_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolchain: Toolchain, sleepbench_path: Path
) -> None:
    shutil.copytree(GOSRC, tmp_path / "elsewhere")
    monkeypatch.setattr(build_module, "GOSRC", tmp_path / "elsewhere")
    fresh = dataclasses.replace(toolchain, cache=tmp_path / "cache")
    again = build_one(fresh, DEFAULT, "sleepbench", tmp_path / "build")
    assert again.sha256 == hashlib.sha256(sleepbench_path.read_bytes()).hexdigest()
    assert again.path.read_bytes() == sleepbench_path.read_bytes()


@pytest.mark.parametrize("mode", soon(BUILDABLE, 0), ids=lambda mode: mode.name)
def test_every_mode_builds_reproducibly_and_only_untrimmed_depends_on_the_sources_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolchain: Toolchain, mode: Mode
) -> None:
    first = build_one(toolchain, mode, "sleepbench", tmp_path / "first")
    subprocess.run([first.path, "-plan", "1us*1"], stdout=subprocess.DEVNULL, check=True)
    if not mode.trimpath:
        assert build_one(toolchain, mode, "sleepbench", tmp_path / "again").sha256 == first.sha256
    shutil.copytree(GOSRC, tmp_path / "elsewhere")
    monkeypatch.setattr(build_module, "GOSRC", tmp_path / "elsewhere")
    second = build_one(toolchain, mode, "sleepbench", tmp_path / "second")
    assert (second.sha256 == first.sha256) is mode.trimpath


def test_a_program_gets_its_releases_own_godebug_defaults(toolchain: Toolchain, sleepbench_path: Path) -> None:
    said = subprocess.run(
        [toolchain.go, "version", "-m", sleepbench_path],
        env=toolchain.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "GOARCH=" in said.stdout
    assert "DefaultGODEBUG" not in said.stdout


def test_what_is_up_to_date_is_left_alone(toolchain: Toolchain, tmp_path: Path) -> None:
    first = build_one(toolchain, DEFAULT, "sleepbench", tmp_path)
    written = first.path.stat()
    assert build_one(toolchain, DEFAULT, "sleepbench", tmp_path) == first
    assert (first.path.stat().st_ino, first.path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_a_damaged_output_and_a_killed_runs_remains_are_made_good(toolchain: Toolchain, tmp_path: Path) -> None:
    first = build_one(toolchain, DEFAULT, "sleepbench", tmp_path)
    content = first.path.read_bytes()
    first.path.write_bytes(content[: len(content) // 2])
    remains = first.path.with_name(".sleepbench.killed.part")
    remains.write_bytes(b"half")
    assert build_one(toolchain, DEFAULT, "sleepbench", tmp_path) == first
    assert first.path.read_bytes() == content
    assert not remains.exists()


def test_a_change_of_source_mode_or_toolchain_is_a_change_of_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolchain: Toolchain
) -> None:
    shutil.copytree(GOSRC, tmp_path / "gosrc")
    monkeypatch.setattr(build_module, "GOSRC", tmp_path / "gosrc")
    other_go = dataclasses.replace(toolchain, identity="another")
    seen = {inputs_sha256(toolchain, DEFAULT, "sleepbench"), inputs_sha256(other_go, DEFAULT, "sleepbench")}
    seen.add(inputs_sha256(toolchain, MODES["stripped"], "sleepbench"))
    with (tmp_path / "gosrc" / "sleepbench" / "main.go").open("a") as stream:
        stream.write("// one more line\n")
    seen.add(inputs_sha256(toolchain, DEFAULT, "sleepbench"))
    assert len(seen) == 4


def test_a_failed_build_says_what_go_said_and_leaves_nothing(toolchain: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="no-such-flag"):
        build_one(toolchain, Mode("broken", flags=("-no-such-flag",)), "sleepbench", tmp_path)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [".sleepbench.lock"]


def test_unknown_programs_and_modes_are_usage_errors_that_list_the_known() -> None:
    with pytest.raises(UsageError, match="sleepbench"):
        build(programs=("sleepbensch",))
    with pytest.raises(UsageError, match="default, stripped, pie"):
        build(mode="defualt")


def test_a_mode_without_its_compiler_is_refused_by_name_and_left_out_of_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModeImpossible, match="gcc"):
        chosen_modes("external")
    without = ["default", "stripped", "pie", "pie-stripped", "noopt", "untrimmed", "pgo", "pgo-stripped"]
    assert [mode.name for mode in chosen_modes("all")] == without
    assert "external is left out: gcc" in capsys.readouterr().err


def test_the_large_program_is_built_only_when_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "big" not in [mode.name for mode in chosen_modes("all")]
    assert "big is left out" in capsys.readouterr().err
    assert [mode.name for mode in chosen_modes("big")] == ["big"]


def test_the_rival_is_built_only_when_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(mode.rival for mode in chosen_modes("all", big=True))
    assert "rebuilt is left out" in capsys.readouterr().err
    assert [mode.name for mode in chosen_modes("default,rebuilt")] == ["default", "rebuilt"]


def test_the_large_program_gets_more_than_64_mib_of_functions_that_are_linked_in() -> None:
    files = big_files()
    assert FUNCTIONS * 12_000 > 64 << 20
    assert files["big_amd64.s"].count("\nTEXT ·big") == FUNCTIONS
    assert files["big_amd64.s"].count("\nDATA ·bigTable+") == FUNCTIONS
    assert files["big.go"].count("\nfunc big") == FUNCTIONS


def test_a_full_disk_is_said_and_leaves_no_output(toolchain: Toolchain, tmp_path: Path) -> None:
    """A file system of 2 MB, smaller than the program, in a mount namespace of its own."""
    code = (
        "import sys, pathlib\n"
        "from nanonap.toolchain.build import build\n"
        "from nanonap.base.errors import DiskFull\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "try: build(out=out)\n"
        "except DiskFull: print(sorted(p.name for p in out.rglob('*') if p.is_file()))\n"
    )
    small = f'mount -t tmpfs -o size=2m none "{tmp_path}" && exec "$0" "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small]
    answer = subprocess.run(
        [*command, sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (answer.stdout, answer.returncode) == ("['.sleepbench.lock']\n", 0), answer.stderr


def test_the_errors_of_a_refused_output_folder_are_the_projects(toolchain: Toolchain, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(OutputNotWritable):
        build_one(toolchain, DEFAULT, "sleepbench", blocked)


def test_other_tests_get_whole_programs(build_program: BuildProgram) -> None:
    for program in ("sleepbench", "survive"):
        assert subprocess.run([build_program(program), "-h"], capture_output=True, check=True).stdout != b""
