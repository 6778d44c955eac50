"""Cells and costs, against values computed by hand."""

import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanonap.lab.judge.analysis import analyse
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

US = 1_000


def _summary(folder: Path, runs: list[FakeRun], about: dict[str, Any] | None = None) -> dict[str, Any]:
    analysis = analyse(load(write_result(folder, runs, about)))
    return dict(msgspec.to_builtins(analysis.summary))


def _cell(summary: dict[str, Any], arm: str, requested_ns: int = 100 * US) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        cell for cell in summary["cells"] if cell["arm"] == arm and cell["requested_ns"] == requested_ns
    ]
    assert len(found) == 1
    return found[0]


def test_a_cell_pools_the_samples_of_its_runs(tmp_path: Path) -> None:
    values = [[110, 120, 130, 140, 900], [115, 125, 135, 145, 155]]
    runs = [
        FakeRun("stock", {100 * US: [value * US for value in own], US: [2 * US]}, block)
        for block, own in enumerate(values)
    ]
    cell = _cell(_summary(tmp_path, runs), "stock")
    pooled = sorted(value * US for own in values for value in own)
    assert (cell["runs"], cell["n"]) == (2, 10)
    assert (cell["min_ns"], cell["max_ns"]) == (110 * US, 900 * US)
    assert cell["p50_ns"] == pooled[4] == 130 * US
    assert cell["p90_ns"] == pooled[8] == 155 * US
    assert cell["p99_ns"] == 900 * US
    assert cell["stdev_ns"] == pytest.approx(statistics.stdev(pooled))
    assert cell["overshoot_p50_ns"] == 30 * US


def test_intervals_of_quantiles_the_minimum_and_the_deviation_hold_their_values(tmp_path: Path) -> None:
    runs = [
        FakeRun("stock", {100 * US: [(110 + step + block) * US for step in range(40)]}, block) for block in range(8)
    ]
    cell = _cell(_summary(tmp_path, runs), "stock")
    assert cell["p90_minus_p50_ns"] == cell["p90_ns"] - cell["p50_ns"]
    for value, bounds in (
        ("min_ns", "min_ci"),
        ("p50_ns", "p50_ci"),
        ("p90_ns", "p90_ci"),
        ("p99_ns", "p99_ci"),
        ("p90_minus_p50_ns", "p90_minus_p50_ci"),
        ("stdev_ns", "stdev_ci"),
    ):
        low, high = cell[bounds]
        assert low <= cell[value] <= high, value
        assert high - low < 10 * US, value
    assert cell["min_ci"][0] == cell["min_ns"]  # no draw has less than was measured
    alone = _cell(_summary(tmp_path / "one", runs[:1]), "stock")
    assert {name: alone[name] for name in alone if name.endswith("_ci")} == dict.fromkeys(
        (name for name in alone if name.endswith("_ci")), None
    )


def test_sleepers_on_a_timetable_have_lateness_and_others_overshoot(tmp_path: Path) -> None:
    loads = ("quiet", "burn:1", "idle", "sleepers:50", "aligned:50")
    summary = _summary(tmp_path, [FakeRun("stock", {1_000_000: [1_100_000]}, load=load) for load in loads])
    told = {cell["condition"]["load"]: (cell["pacing"], cell["measure"]) for cell in summary["cells"]}
    relative, absolute = ("relative", "overshoot"), ("absolute", "lateness")
    assert told == dict(zip(loads, (relative, relative, relative, absolute, absolute), strict=True))


def test_clusters_are_told_with_their_shares(tmp_path: Path) -> None:
    two = [120 * US + step * 100 for step in range(20)] + [1_100 * US + step * 1_000 for step in range(60)]
    runs = [FakeRun("stock", {100 * US: two}, block) for block in range(3)]
    near, far = _cell(_summary(tmp_path, runs), "stock")["modes"]
    assert (near["share"], far["share"]) == (0.25, 0.75)
    assert 115 * US < near["at_ns"] < 125 * US
    assert 1_050 * US < far["at_ns"] < 1_200 * US


def test_ranks_of_run_medians_are_tested_against_stock(tmp_path: Path) -> None:
    runs = [
        FakeRun(arm, {100 * US: [base * US + block]}, block)
        for arm, base in (("stock", 1100), ("usleep", 1100), ("netpoll", 150))
        for block in range(5)
    ]
    summary = _summary(tmp_path, runs)
    netpoll, usleep, stock = (_cell(summary, arm) for arm in ("netpoll", "usleep", "stock"))
    assert netpoll["mann_whitney_p"] == pytest.approx(2 / 252)  # the two extreme ones of C(10, 5) orders
    assert netpoll["effect_size"] == 1
    assert (usleep["mann_whitney_p"], usleep["effect_size"]) == (pytest.approx(1), 0.5)
    assert (stock["mann_whitney_p"], stock["effect_size"]) == (None, None)
    few = _summary(tmp_path / "few", [run for run in runs if run.block < 3])
    assert _cell(few, "netpoll")["mann_whitney_p"] is None


def test_the_control_is_compared_with_nothing_and_tells_hiccups_and_their_blocks(tmp_path: Path) -> None:
    calm = [1_060 * US] * 50
    runs = [FakeRun(arm, {1_000_000: [1_060 * US] * 3}, block) for arm in ("stock", "netpoll") for block in range(4)]
    without = _summary(tmp_path / "without", runs)
    runs += [
        FakeRun("control", {1_000_000: [*calm, 2_061 * US] if block == 2 else [*calm, 1_900 * US]}, block)
        for block in range(4)
    ]
    summary = _summary(tmp_path / "with", runs)
    assert without["control"] is None
    assert summary["control"] == {
        "runs": 4,
        "n": 204,
        "late_p50_ns": 60 * US,
        "late_p99_ns": 900 * US,
        "late_max_ns": 1_061 * US,
        "hiccup_from_ns": 1_000_000,
        "hiccups": 1,
        "hiccup_share": 1 / 204,
        "blocks": [2],
    }
    assert {name: summary[name] for name in ("cells", "costs", "verdicts")} == {
        name: without[name] for name in ("cells", "costs", "verdicts")
    }


def test_a_control_that_is_always_late_has_no_hiccups_for_that(tmp_path: Path) -> None:
    runs = [FakeRun("control", {1_000_000: [1_400 * US] * 20 + [5_100 * US]})]
    summary = _summary(tmp_path, [FakeRun("stock", {US: [2 * US]}), *runs])
    assert (summary["control"]["hiccup_from_ns"], summary["control"]["hiccups"]) == (4_000 * US, 1)
    calm = _summary(tmp_path / "calm", [FakeRun("control", {1_000_000: [1_400 * US] * 20 + [4_900 * US]})])
    assert (calm["control"]["hiccups"], calm["control"]["blocks"], calm["cells"]) == (0, [], [])


def test_ratios_are_to_stock_and_to_the_floor_at_the_same_slack(tmp_path: Path) -> None:
    medians = {"stock": 1100, "netpoll": 180, "floor": 160, "netpoll+slack1": 140, "floor+slack1": 120}
    runs = [
        FakeRun(arm, {100 * US: [(median + shift) * US for shift in (-1, 0, 1)]}, block)
        for arm, median in medians.items()
        for block in range(3)
    ]
    summary = _summary(tmp_path, runs)
    plain, slack1 = _cell(summary, "netpoll"), _cell(summary, "netpoll+slack1")
    assert plain["p50_over_stock"] == pytest.approx(180 / 1100)
    assert plain["p50_over_floor"] == pytest.approx(180 / 160)
    assert slack1["p50_over_floor"] == pytest.approx(140 / 120)
    assert slack1["p50_minus_floor_ns"] == 20 * US
    low, high = slack1["p50_over_stock_ci"]
    assert low <= slack1["p50_over_stock"] <= high
    stock = _cell(summary, "stock")
    assert (stock["p50_over_stock"], stock["p50_over_stock_ci"]) == (1.0, None)


def test_without_stock_or_floor_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    cell = _cell(_summary(tmp_path, [FakeRun("netpoll", {100 * US: [150 * US]})]), "netpoll")
    assert cell["p50_over_stock"] is None
    assert cell["p50_over_floor"] is None
    assert cell["p50_ci"] is None
    assert cell["stdev_ns"] is None


def test_conditions_are_kept_apart(tmp_path: Path) -> None:
    runs = [
        FakeRun("stock", {100 * US: [1000 * US]}),
        FakeRun("stock", {100 * US: [9000 * US]}, quota="50%", load="burn:1", throttling=(10, 4, 1)),
    ]
    cells = {cell["condition"]["quota"]: cell for cell in _summary(tmp_path, runs)["cells"]}
    assert cells["none"]["p50_ns"] == 1000 * US
    assert cells["50%"]["p50_ns"] == 9000 * US
    assert cells["none"]["throttled_share"] is None
    assert cells["50%"]["throttled_share"] == 0.4


def test_cpu_per_sleep_is_over_all_of_a_run_and_not_told_beside_burners(tmp_path: Path) -> None:
    plan = {50 * US: [70 * US] * 6, 100 * US: [120 * US] * 4}
    runs = [
        FakeRun("stock", plan, 0, cpu_ns=1_000_000),
        FakeRun("stock", plan, 1, cpu_ns=3_000_000),
        FakeRun("stock", plan, 0, load="burn:1", cpu_ns=10**9),
        FakeRun("usleep", plan, 0, cpu_ns=None),
    ]
    summary = _summary(tmp_path, runs)
    told = {
        (cell["arm"], cell["condition"]["load"], cell["requested_ns"]): cell["cpu_ns_per_sleep"]
        for cell in summary["cells"]
    }
    assert told["stock", "quiet", 50 * US] == told["stock", "quiet", 100 * US] == 4_000_000 / 20
    assert told["stock", "burn:1", 50 * US] is None
    assert told["usleep", "quiet", 50 * US] is None


def test_the_cost_rows_hold_lateness_cpu_threads_and_system_calls(tmp_path: Path) -> None:
    late = [1_000_000 + each * US for each in (10, 20, 30, 40)]
    runs = [
        FakeRun("stock", {1_000_000: late}, block, load="sleepers:50", cpu_ns=4_000, change={"missed": 1})
        for block in range(2)
    ]
    runs += [
        FakeRun("netpoll", {1_000_000: late}, block, load="sleepers:50", cpu_ns=40_000, threads=7 + block)
        for block in range(2)
    ]
    counted = {"netpoll": {"counter": "perf", "calls": {}, "sleeps": 1, "wall_ns": 1, "epoll_per_second": 12_345.0}}
    rows = {row["arm"]: row for row in _summary(tmp_path, runs, {"syscalls": counted})["costs"]}
    assert rows["netpoll"]["late_p50_ns"] == 20 * US
    assert rows["netpoll"]["cpu_ns_per_sleep"] == 10_000
    assert rows["netpoll"]["cpu_over_stock"] == 10
    assert rows["netpoll"]["threads_peak"] == 8
    assert rows["netpoll"]["epoll_per_second"] == 12_345.0
    assert rows["stock"]["epoll_per_second"] is None
    assert rows["stock"]["missed_share"] == 0.25
    assert rows["stock"]["cpu_share"] == pytest.approx(8_000 / 400_000_000)


def test_the_same_data_give_the_same_summary(tmp_path: Path) -> None:
    runs = [
        FakeRun(arm, {100 * US: [base * US + block * 37 + step for step in range(9)]}, block)
        for arm, base in (("stock", 1100), ("netpoll+slack1", 140))
        for block in range(6)
    ]
    assert _summary(tmp_path / "a", runs) == _summary(tmp_path / "b", runs)


def test_the_go_release_is_that_of_the_go_programs_whichever_ran_first(tmp_path: Path) -> None:
    first = FakeRun("cyclictest", {1_000_000: [1_060 * US]}, change={"go_version": "none"})
    assert _summary(tmp_path, [first, FakeRun("stock", {US: [2 * US]})])["go_version"] == "1.27.3"
