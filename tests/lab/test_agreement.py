"""What makes a result weak is said beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.judge.warnings import warnings
from nanonap.lab.stats.cells import make_cells
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

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


def test_sleeps_that_vary_are_said_to_need_quantiles(tmp_path: Path) -> None:
    def runs(tail_us: int) -> list[FakeRun]:
        return [FakeRun("stock", {100 * US: [1000 * US] * 20 + [tail_us * US]}, block) for block in range(12)]

    (text,) = _warnings(tmp_path / "wide", runs(2_000))
    assert "in 1 of 1 cells the standard deviation" in text
    assert "most: 20%, stock at 100 µs, quota none, load quiet" in text
    assert _warnings(tmp_path / "narrow", runs(1_200)) == []


def test_clusters_are_named_once_with_the_clearest(tmp_path: Path) -> None:
    runs = [
        FakeRun(
            arm,
            {100 * US: [(1000 + step) * US for step in range(20)] + [(1080 + step) * US for step in range(many)]},
            block,
        )
        for arm, many in (("stock", 10), ("usleep", 18), ("netpoll", 0))
        for block in range(12)
    ]
    (text,) = _warnings(tmp_path, runs)
    assert "in 2 of 3 cells sleeps fall into clusters (clearest: usleep at 100 µs" in text
    assert "47% are in the second" in text


def _disturbed(during: Sequence[dict[str, Any] | None], **change: Any) -> list[FakeRun]:
    runs = _runs([1100] * len(during))
    for run, each in zip(runs, during, strict=True):
        run.change = {"host_during": each, **change}
    return runs


@pytest.mark.parametrize(
    ("name", "says"),
    [("steal_ns", "the hypervisor took CPU time"), ("others_cpu_ns", "other processes used CPU time")],
)
def test_cpu_time_taken_during_runs_is_told_with_how_many_and_the_worst(tmp_path: Path, name: str, says: str) -> None:
    # A run lasts 200 ms and its machine is taken for one of one CPU: 40 ms are a fifth.
    much, more, tick = (
        {"steal_ns": 0, "others_cpu_ns": 0, name: taken} for taken in (40_000_000, 80_000_000, 20_000_000)
    )
    (text,) = _warnings(tmp_path / "much", _disturbed([much, more] + [tick] * 8))
    assert text.startswith(says)
    assert "in 2 of 10 runs: 5% of it or more, 40% at most" in text
    # Of two CPUs, and of a run that lasted longer than what was measured of it, it is less.
    host = {"kernel": "6.18.0", "cpus_online": 2, "timer_slack_ns": 50_000}
    assert _warnings(tmp_path / "longer", _disturbed([much] * 10, host=host, took_ns=10**9)) == []
    calm: list[Sequence[dict[str, Any] | None]] = [[tick] * 10, [much] + [tick] * 9, [None] * 10, [{name: None}] * 10]
    for number, during in enumerate(calm):
        assert _warnings(tmp_path / f"calm{number}", _disturbed(during)) == []


def test_a_containers_own_cpu_time_is_not_that_of_others(tmp_path: Path) -> None:
    runs = _disturbed([{"steal_ns": 0, "others_cpu_ns": 150_000_000}] * 10)
    for run in runs:
        run.change["condition"] = {"quota": "none", "load": "quiet", "gomaxprocs": 2, "backend": "docker"}
    assert _warnings(tmp_path, runs) == []


def test_hiccups_of_the_control_are_told_with_their_blocks(tmp_path: Path) -> None:
    control = [
        FakeRun("control", {1_000_000: [1_060 * US] * 20 + [(9_000 if block in (1, 7) else 1_060) * US]}, block)
        for block in range(10)
    ]
    (text,) = _warnings(tmp_path / "hiccups", [*_runs([1100] * 10), *control])
    assert "2 of 210 sleeps of the idle control were late by more than 1.00 ms (blocks 2, 8; most: 8.00 ms)" in text
    calm = [run for run in control if run.block not in (1, 7)]
    assert _warnings(tmp_path / "calm", [*_runs([1100] * 10), *calm]) == []


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
