"""Cells of linux/arm64: run in the guest, and what the guest told is judged; wrong programs are found."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import patcher
from nanonap.base.paths import TRIED
from nanonap.lab.guest.jobs import Outcome
from nanonap.toolchain.build import build
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.patched import variant_of
from nanonap.toolchain.releases import NEWEST, installed_releases, release_toolchain
from nanonap.toolchain.targets import AMD64, ARM64
from nanonap.trials.matrix.cells import Cell, chosen_cells, variants_for
from nanonap.trials.matrix.elsewhere import ArmElsewhere
from nanonap.trials.matrix.inside import ended, medians, none_early
from nanonap.trials.matrix.result import Arm, Result, State, Step
from nanonap.trials.matrix.run import run_cell
from nanonap.trials.matrix.section import page_with
from nanonap.trials.matrix.show import columns, reasons
from nanonap.trials.matrix.steps import Failed
from nanonap.trials.unwinding.survivors import Unsound
from tests.soon import soon

OLDEST = installed_releases(say=False)[0]
#: `invoke matrix --arch arm64` has all releases in all modes.
CELLS = [
    Cell(NEWEST, "arm64-default"),
    Cell(OLDEST, "arm64-pie"),
    *(Cell(NEWEST, f"arm64-{each}") for each in ("external", "race") if not MODES[each].on(ARM64).missing()),
]


@pytest.mark.usefixtures("what_an_arm64_guest_needs")
@pytest.mark.parametrize("cell", soon(CELLS, long=(0,)), ids=lambda cell: cell.name)
def test_a_cell_holds_with_every_strategy(cell: Cell) -> None:
    result = run_cell(cell, release_toolchain(cell.release), again=True, variants=variants_for(ARM64))
    assert [arm.name for arm in result.arms] == ["netpoll", "netpoll+slack1", "stock+slack1"]
    assert reasons([result]) == []
    steps = {arm.name: [each.name for each in arm.steps] for arm in result.arms}
    inside = ["sleep", "precise", "count", "refuse", "preempt", "collect", "strain", "profile", "quit", "crash"]
    assert steps["netpoll"] == ["inspect", "patch", "verify", *inside, "revert"]
    assert set(inside) - set(steps["stock+slack1"]) == {"count", "profile"}


def test_the_cells_are_those_of_the_other_processor() -> None:
    cells = chosen_cells("1.27,1.25", "default,pie", ARM64)
    assert [each.name for each in cells] == [
        "1.27.3-arm64-default", "1.27.3-arm64-pie", "1.25.5-arm64-default", "1.25.5-arm64-pie",
    ]  # fmt: skip
    assert {each.strategy for each in variants_for(ARM64)} == {"netpoll", "slack"}
    assert "big" not in {each.mode.removeprefix("arm64-") for each in chosen_cells(NEWEST, "all", ARM64)}


def slept(actual_ns: dict[int, int], slack_ns: int = 50_000, status: int = 0) -> Outcome:
    """What sleepbench tells, each duration three times."""
    requested = np.repeat(list(actual_ns), 3)
    columns = np.stack([requested, np.repeat(list(actual_ns.values()), 3), requested, requested]).astype("<i8")
    header = {"columns": ["requested_ns", "actual_ns", "start_ns", "sleeper"], "n": columns.shape[1]}
    header |= {"truncated": False, "timer_slack_ns": slack_ns}
    return Outcome(status, json.dumps(header).encode() + b"\n" + columns.tobytes(), b"", {})


FLOOR = {50_000: 64_000, 100_000: 114_000, 1_000_000: 1_014_000}
STOCK = dict.fromkeys(FLOOR, 1_068_000)


def judged(arm: ArmElsewhere, **given: Outcome) -> Arm:
    """The arm after its steps here, and the first of those in the guest that does not hold."""
    arm.begin()
    controls = {"stock": slept(STOCK), "floor": slept(FLOOR), "floor+slack1": slept(FLOOR, 1)}
    return arm.end(given, controls)


@pytest.fixture
def arm(tmp_path: Path) -> ArmElsewhere:
    sleepbench, survive = (
        build(NEWEST, programs=(each,), out=TRIED, target=ARM64)[0].path for each in ("sleepbench", "survive")
    )
    return ArmElsewhere(variant_of("netpoll+slack1"), sleepbench, survive, tmp_path)


RIGHT = {each: FLOOR[each] + 9_000 for each in FLOOR}
WRONG = {
    "early": (slept({1_000_000: 999_999}, 1), slept(RIGHT), "sleep: Failed: 3 of 3 sleeps early"),
    "slack": (slept(RIGHT, 50_000), slept(RIGHT), "sleep: Failed: timer slack 50000 ns, expected 1 ns"),
    "died": (slept(RIGHT, 1, status=-11), slept(RIGHT), "sleep: Failed: exit status -11"),
    "late": (slept(RIGHT, 1), slept(RIGHT | {100_000: 124_100}), "precise: Failed: at most 10.1 µs above the floor"),
    "as stock": (slept(RIGHT, 1), slept(STOCK), "precise: Failed: at most 1004.0 µs above the floor"),
    "not told": (slept(RIGHT, 1), slept(RIGHT), "count: KeyError"),
}


@pytest.mark.parametrize("what", soon(list(WRONG), 0, 3))
def test_what_does_not_hold_in_the_guest_fails_and_the_patch_is_reverted(what: str, arm: ArmElsewhere) -> None:
    sleep, precise, said = WRONG[what]
    done = judged(arm, sleep=sleep, precise=precise)
    assert done.state is State.FAILED
    assert done.reason.startswith(said)
    assert (done.steps[-1].name, done.steps[-1].state) == ("revert", State.OK)
    assert not list(arm.folder.glob("s*"))


def test_a_patch_that_is_refused_has_no_steps_in_the_guest(arm: ArmElsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise patcher.errors.NoRoom("no free bytes here")

    monkeypatch.setattr(patcher, "patch", refuse)
    done = judged(arm)
    assert (done.state, [each.name for each in done.steps]) == (State.REFUSED, ["inspect", "patch"])


def test_what_a_job_gave_is_read_or_refused() -> None:
    assert medians(slept(RIGHT)) == RIGHT
    assert none_early(slept(RIGHT).stdout) == 9
    with pytest.raises(Failed):
        none_early(slept({100_000: 99_999}).stdout)
    with pytest.raises(Failed, match="exit status 1"):
        medians(slept(RIGHT, status=1))
    with pytest.raises(Unsound, match="it did not sleep: status 1"):
        ended(Outcome(1, b"", b"grep: said", {}), Path("survive"))


def made(mode: str, state: State, release: str = NEWEST) -> Result:
    arms = tuple(Arm(each.name, (Step("patch", state, "so it was", 0.5),)) for each in variants_for(ARM64))
    return Result(release, mode, "key", "2026-01-01T00:00:00+00:00", 1.0, {"survive": "00"}, arms)


def test_the_page_of_one_processor_keeps_the_section_of_another() -> None:
    here, there = [made("pie", State.OK)], [made("arm64-pie", State.OK), made("arm64-race", State.REFUSED)]
    page = page_with("", here)
    assert columns(here) == tuple(each.name for each in variants_for(AMD64))
    both = page_with(page, there)
    assert both.startswith(page)
    assert f"| {NEWEST} | `race` | **refused** | **refused** | **refused** |" in both
    assert "2 cells, 1 ok, 1 refused" in both
    assert page_with(both, here) == both == page_with(both, there)
    again = page_with(both, [dataclasses.replace(there[0], release=OLDEST)])
    assert again.startswith(page)
    assert (f"| {OLDEST} | `pie` | ok | ok | ok |" in again, "race` | **refused**" in again) == (True, False)
