"""What makes a result weak is said beside it."""

from pathlib import Path
from typing import Any

from bench.cells import make_cells
from bench.result import load
from bench.stability import warnings
from tests.bench.made import FakeRun, write_result

US = 1_000


def _warnings(folder: Path, runs: list[FakeRun], about: dict[str, Any] | None = None) -> list[str]:
    result = load(write_result(folder, runs, about))
    return warnings(result, make_cells(result))


def _runs(medians_us: list[int], **change: Any) -> list[FakeRun]:
    return [
        FakeRun("stock", {100 * US: [median * US] * 3}, block, change=dict(change))
        for block, median in enumerate(medians_us)
    ]


def test_a_steady_result_has_no_warning(tmp_path: Path) -> None:
    assert _warnings(tmp_path, _runs([1100, 1101, 1102] * 4)) == []


def test_fewer_than_ten_runs_are_said_once_for_all_conditions(tmp_path: Path) -> None:
    runs = [*_runs([1100] * 9), FakeRun("stock", {100 * US: [1100 * US]}, load="burn:1")]
    found = [text for text in _warnings(tmp_path, runs) if "fewer than 10 runs" in text]
    assert len(found) == 1
    assert "9 at quota none, load quiet; 1 at quota none, load burn:1" in found[0]


def test_runs_that_spread_by_a_tenth_are_unstable(tmp_path: Path) -> None:
    assert any("spread by 10 %" in text for text in _warnings(tmp_path / "wide", _runs([1000, 1300] * 6)))
    assert not any("spread" in text for text in _warnings(tmp_path / "tight", _runs([1000, 1050] * 6)))


def test_a_later_half_that_differs_from_the_earlier_is_a_drift(tmp_path: Path) -> None:
    assert any("later half" in text for text in _warnings(tmp_path / "up", _runs([1000] * 6 + [1150] * 6)))
    assert not any("later half" in text for text in _warnings(tmp_path / "mixed", _runs([1000, 1150] * 6)))


def test_sleeps_that_ended_too_soon_are_counted_and_named(tmp_path: Path) -> None:
    runs = [FakeRun("netpoll", {100 * US: [100 * US, 100 * US - 1, 99 * US]}, block) for block in range(10)]
    found = [text for text in _warnings(tmp_path, runs) if text.startswith("early")]
    assert found == ["early: 20 sleeps ended too soon, by up to 1000 ns (netpoll)"]


def test_a_cut_short_bench_is_said_first(tmp_path: Path) -> None:
    found = _warnings(tmp_path, _runs([1100] * 10, partial=True), {"notes": ["4 of 10 blocks were dropped"]})
    assert found[0].startswith("partial")
    assert found[1] == "4 of 10 blocks were dropped"


def test_runs_of_different_machines_do_not_compare(tmp_path: Path) -> None:
    runs = _runs([1100] * 10)
    runs[3].change = {"host": {"kernel": "6.1.0", "cpu_model": "A CPU", "timer_slack_ns": 50_000}}
    assert any("differ in kernel" in text for text in _warnings(tmp_path, runs))


def test_a_slack_that_did_not_take_effect_is_named_by_arm(tmp_path: Path) -> None:
    runs = [
        FakeRun("netpoll+slack1", {100 * US: [150 * US]}, block, change={"timer_slack_ns": 50_000})
        for block in range(10)
    ]
    found = [text for text in _warnings(tmp_path, runs) if "PR_SET_TIMERSLACK" in text]
    assert len(found) == 1
    assert found[0].startswith("netpoll+slack1: its timer slack was 50000 ns")


def test_a_slack_that_the_caller_set_and_a_busy_machine_are_said(tmp_path: Path) -> None:
    host = {"kernel": "6.18.0", "timer_slack_ns": 1, "load_average": [3.5, 1.0, 0.2]}
    found = _warnings(tmp_path, _runs([1100] * 10, host=host))
    assert any("timer slack was 1 ns here" in text for text in found)
    assert any("busy at the start (load average 3.5)" in text for text in found)


def test_runs_without_any_sample_are_counted(tmp_path: Path) -> None:
    runs = [*_runs([1100] * 10), FakeRun("stock", {}, 10)]
    assert any(text.startswith("1 runs gave no sample") for text in _warnings(tmp_path, runs))
