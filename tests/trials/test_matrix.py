"""Every release in the default mode and every mode in the oldest and the newest release; `invoke matrix` runs all.

The large programs (mode big) are left to `invoke matrix`: one takes as long as five other cells. So are
netpoll's opt-ins in other modes than the default: their stubs lie where netpoll's own does.
"""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

import nanonap.trials.matrix.main as main_module
import patcher
from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.patched import VARIANTS, Variant
from nanonap.toolchain.releases import NEWEST, installed_releases, release_toolchain
from nanonap.trials.errors import MatrixFailed
from nanonap.trials.matrix.cells import Cell, chosen_cells, language
from nanonap.trials.matrix.kept import keep_result, kept_result
from nanonap.trials.matrix.page import as_markdown
from nanonap.trials.matrix.result import Arm, Result, State, Step, result_from_json
from nanonap.trials.matrix.run import FOLDER, patcher_sha256, run_cell
from nanonap.trials.matrix.show import reasons
from nanonap.trials.matrix.steps import ArmRun, Programs
from nanonap.trials.unwinding.asleep import quit_asleep
from nanonap.trials.unwinding.survivors import STOCK, Survivor
from patcher import Patched
from tests.conftest import BuildProgram
from tests.soon import soon

#: `invoke matrix` has all releases in all modes.
CELLS = [
    *(Cell(release, "default") for release in (installed_releases(say=False)[0], NEWEST)),
    *(Cell(NEWEST, mode) for mode in ("pie-stripped", "race", "pgo-stripped") if not MODES[mode].missing()),
]


@pytest.mark.parametrize(
    "cell",
    soon(CELLS, long=(1, 2)),
    ids=lambda cell: cell.name,
)
def test_a_cell_holds_with_every_strategy(cell: Cell) -> None:
    variants = [each for each in VARIANTS if cell.mode == "default" or not each.wait.asked]
    result = run_cell(cell, release_toolchain(cell.release), again=True, variants=variants)
    assert [arm.name for arm in result.arms] == [each.name for each in variants]
    small = [arm for arm in result.arms if arm.name == "usleep" and arm.state is State.REFUSED]
    whole = dataclasses.replace(result, arms=tuple(arm for arm in result.arms if arm not in small))
    assert reasons([whole]) == []
    assert {arm.steps[-1].name for arm in whole.arms} == {"revert"}
    # How much is free behind the code is chance: what is left of its last page. usleep alone cannot do without.
    folder = FOLDER / "build" / cell.release / cell.mode
    free = {name: patcher.inspect(folder / name).layout.free_bytes for name in result.sha256}
    for arm in small:
        name, needed, there = re.findall(r"(\w+): (\d+) bytes are needed .* (\d+) are free", arm.reason)[0]
        assert int(there) == free[name] < int(needed)


NETPOLL = next(each for each in VARIANTS if each.name == "netpoll")


@pytest.fixture(scope="module")
def programs(build_program: BuildProgram) -> Programs:
    survive = build_program("survive")
    return Programs(build_program("sleepbench"), survive, quit_asleep(Survivor(survive, None), STOCK))


def failed_step(arm: Arm) -> str:
    return next(each.name for each in arm.steps if each.state is State.FAILED)


def test_a_slack_that_is_not_the_one_asked_for_fails_and_the_patch_is_reverted(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = patcher.patch

    def other_slack(binary: Path, out: Path, strategy: str, **options: bool | int | None) -> Patched:
        return real(binary, out, strategy, slack_ns=3, accept_thread_cost=True)

    monkeypatch.setattr(patcher, "patch", other_slack)
    arm = ArmRun(Variant("netpoll+slack1", "netpoll", 1), programs, tmp_path).run()
    assert (arm.state, failed_step(arm)) == (State.FAILED, "sleep")
    assert "timer slack 3 ns, expected 1 ns" in arm.reason
    assert arm.steps[-1].name == "revert"
    assert arm.steps[-1].state is State.OK
    assert not list(tmp_path.glob("survive*"))


def test_a_program_that_is_not_patched_at_all_fails(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = patcher.patch

    def slack_alone(binary: Path, out: Path, strategy: str, **options: bool | int | None) -> Patched:
        return real(binary, out, "slack", slack_ns=50_000)

    monkeypatch.setattr(patcher, "patch", slack_alone)
    monkeypatch.setattr("nanonap.trials.matrix.steps._PROFILE_LENGTHS", ("100ms", "200ms"))
    arm = ArmRun(NETPOLL, programs, tmp_path).run()
    assert (arm.state, failed_step(arm)) == (State.FAILED, "count")
    assert re.search(r"[1-9]\d* waits in whole milliseconds are left, 0 are precise", arm.reason)


def test_a_refusal_is_told_with_its_reason(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Patched:
        raise patcher.errors.NoRoom(f"{programs.survive}: no free bytes here")

    monkeypatch.setattr(patcher, "patch", refuse)
    arm = ArmRun(NETPOLL, programs, tmp_path).run()
    assert (arm.state, arm.reason) == (State.REFUSED, "patch: survive: no free bytes here")


CELL = Cell("1.27.3", "pie")


def made_result(state: State = State.OK, key: str = "key") -> Result:
    arms = tuple(Arm(each.name, (Step("patch", state, "so it was", 0.5),)) for each in VARIANTS)
    return Result(CELL.release, CELL.mode, key, "2026-01-01T00:00:00+00:00", 1.0, {"survive": "00"}, arms)


def test_a_result_is_read_as_it_was_written() -> None:
    for state in State:
        written = made_result(state)
        assert result_from_json(json.loads(json.dumps(written.to_json()))) == written
        assert written.state is state


def test_a_kept_result_holds_for_the_same_programs_and_patcher_alone_and_never_if_it_failed(tmp_path: Path) -> None:
    assert kept_result(tmp_path, CELL, "key") is None
    keep_result(tmp_path, CELL, made_result())
    assert kept_result(tmp_path, CELL, "key") == made_result()
    assert kept_result(tmp_path, CELL, "other") is None
    assert kept_result(tmp_path, Cell("1.27.3", "race"), "key") is None
    keep_result(tmp_path, CELL, made_result(State.FAILED))
    assert kept_result(tmp_path, CELL, "key") is None
    (tmp_path / "cells" / f"{CELL.name}.json").write_text('{"schema": 1}')
    assert kept_result(tmp_path, CELL, "key") is None


def test_a_cell_that_is_done_is_not_run_again_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanonap.trials.matrix.cells.VARIANTS", ())
    cell, toolchain = Cell(NEWEST, "default"), release_toolchain(NEWEST)
    ran = []

    def counted(survivor: Survivor, variant: str) -> object:
        ran.append(variant)
        return quit_asleep(survivor, variant)

    monkeypatch.setattr("nanonap.trials.matrix.run.quit_asleep", counted)
    (tmp_path / "cells").mkdir()
    first = run_cell(cell, toolchain, folder=tmp_path)
    assert run_cell(cell, toolchain, folder=tmp_path) == first
    assert len(ran) == 1
    monkeypatch.setattr("nanonap.trials.matrix.run.patcher_sha256", lambda arch: "another patcher")
    assert run_cell(cell, toolchain, folder=tmp_path) != first
    run_cell(cell, toolchain, again=True, folder=tmp_path)
    assert len(ran) == 3


def test_the_cells_of_all_are_every_release_and_mode_and_the_large_program_at_both_ends() -> None:
    cells = chosen_cells("all", "all")
    releases = installed_releases(say=False)
    large = [each for each in cells if MODES[each.mode].big]
    assert {each.release for each in large} == {releases[0], releases[-1]}
    assert {each.mode for each in large} == {name for name, mode in MODES.items() if mode.big}
    assert {(each.release, each.mode) for each in cells if each not in large} == {
        (release, name)
        for release in releases
        for name, mode in MODES.items()
        if not (mode.big or mode.rival or mode.missing()) and language(release) >= mode.since
    }
    assert chosen_cells("1.27", "pie,race") == [Cell("1.27.3", "pie"), Cell("1.27.3", "race")]
    assert chosen_cells("1.25", "big") == [Cell("1.25.5", "big")]
    with pytest.raises(UsageError, match=r"1\.27\.3"):
        chosen_cells("1.99", "all")
    with pytest.raises(UsageError, match="needs no patch"):
        chosen_cells("1.27", "default,rebuilt")


def test_a_failed_cell_is_shown_and_written_before_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [made_result(), dataclasses.replace(made_result(State.FAILED), release="1.21.13")]
    monkeypatch.setattr(main_module, "run_matrix", lambda cells, **_: results)
    page = tmp_path / "matrix.md"
    with pytest.raises(MatrixFailed, match=r"1 of 2 cells failed: 1\.21\.13 pie") as raised:
        main_module.matrix("1.27", "pie", again=False, as_json=True, markdown=page)
    assert raised.value.exit_code == 52
    shown = json.loads(capsys.readouterr().out)
    assert shown["states"] == {"ok": 1, "failed": 1}
    assert "| 1.21.13 | `pie` | **failed** |" in page.read_text()
    assert page.read_text() == as_markdown(results)


def test_what_a_files_patch_does_not_pass_through_is_no_part_of_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PROJECT / "patcher", tmp_path / "patcher")
    monkeypatch.setattr("nanonap.trials.matrix.run.PROJECT", tmp_path)
    hashes = []
    for changed in (
        "",
        "live/agent.py",
        "images/tar.py",
        "isa/arm64/isa.py",
        "strategies/netpoll/arm64.py",
        "patching.py",
    ):
        if changed:
            with (tmp_path / "patcher" / changed).open("a", encoding="utf-8") as stream:
                stream.write("\n")
        hashes.append(patcher_sha256.__wrapped__())
    assert len(set(hashes[:-1])) == 1
    assert hashes[-1] != hashes[0]
    (tmp_path / "patcher" / "strategies" / "slack" / "amd64.py").write_text("", encoding="utf-8")
    assert patcher_sha256.__wrapped__() != hashes[-1]
    assert patcher_sha256.__wrapped__("arm64") != patcher_sha256.__wrapped__()
