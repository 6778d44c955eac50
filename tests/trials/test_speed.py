"""The patcher's time and memory are measured for every command, for programs of either processor."""

from pathlib import Path

import pytest

from nanonap.toolchain.wheels import DEFAULT_GO
from nanonap.trials.errors import TooSlow
from nanonap.trials.speed import COMMANDS, LARGE, Ratio, Run, _ratio, judge, measure
from tests.conftest import BuildProgram
from tests.patcher.arm64.builds import build


@pytest.mark.long
def test_every_command_is_measured_on_programs_of_either_processor(build_program: BuildProgram) -> None:
    files = [build_program("sleepbench"), build(DEFAULT_GO)]
    before = [each.read_bytes() for each in files]
    ratios = measure(files, 1)
    assert [(each.file, each.command) for each in ratios] == [(str(path), name) for path in files for name in COMMANDS]
    assert all(each.wall_ns > 0 and each.peak > each.size and each.held is None for each in ratios)
    assert [each.read_bytes() for each in files] == before


@pytest.mark.parametrize(
    ("command", "held"), [("patch", False), ("inspect", False), ("verify", None), ("revert", None)]
)
def test_large_files_are_held_to_a_limit_where_there_is_one(tmp_path: Path, command: str, held: bool | None) -> None:
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(LARGE)
    slow, base = Run(3_000, 3_000, LARGE), Run(1_000, 1_000, LARGE)
    ratio: Ratio = _ratio(path, command, {(path, command): [slow, slow], (path, "base"): [base, base]})
    assert (ratio.time, ratio.wall_ns, ratio.held) == (3.0, 3_000, held)
    document = {"ratios": [vars(ratio)]}
    if held is False:
        with pytest.raises(TooSlow, match=command):
            judge(document)
    else:
        judge(document)
