"""A verdict comes from the data, and comes out either way."""

from pathlib import Path
from typing import Any

import pytest

from bench.analysis import analyse
from bench.result import load
from bench.verdicts import judge
from tests.bench.made import FakeRun, write_result

US = 1_000
BLOCKS = 12


def _runs(medians: dict[str, int], requested_ns: int = 100 * US, wobble: int = 2) -> list[FakeRun]:
    """Each arm's runs, whose medians (µs) lie up to ``wobble`` µs to either side."""
    return [
        FakeRun(arm, {requested_ns: [(median + (block % 3 - 1) * wobble) * US] * 5}, block)
        for arm, median in medians.items()
        for block in range(BLOCKS)
    ]


def _verdict(folder: Path, name: str, runs: list[FakeRun]) -> dict[str, Any]:
    summary = analyse(load(write_result(folder, runs))).summary
    return next(verdict for verdict in summary["verdicts"] if verdict["name"] == name)


@pytest.mark.parametrize(
    ("low_high", "outcome"),
    [
        ([6.5, 7.5], "yes"),
        ([6.0, 6.0], "yes"),
        ([5.9, 7.5], "unsettled"),
        ([1.0, 5.9], "no"),
        (None, "unsettled"),
    ],
)
def test_a_limit_is_judged_by_the_whole_interval(low_high: list[float] | None, outcome: str) -> None:
    assert judge(low_high, least=6.0, most=float("inf")) == outcome


@pytest.mark.parametrize(
    ("patched_us", "outcome", "says"),
    [(140, "yes", "Yes: a sleep of 100 µs takes 140 µs"), (1100, "no", "No: "), (184, "unsettled", "Not settled")],
)
def test_the_floor_is_gone_only_if_stock_takes_six_times_as_long(
    tmp_path: Path, patched_us: int, outcome: str, says: str
) -> None:
    runs = _runs({"stock": 1100, "netpoll+slack1": patched_us}, wobble=4)
    verdict = _verdict(tmp_path, "floor-gone", runs)
    assert verdict["outcome"] == outcome
    assert verdict["sentence"].startswith(says)
    figure = verdict["figures"][0]
    assert figure["value"] == pytest.approx(1100 / patched_us, rel=0.05)
    assert figure["interval"][0] <= figure["value"] <= figure["interval"][1]


@pytest.mark.parametrize(("above_us", "outcome"), [(10, "yes"), (60, "no"), (25, "unsettled")])
def test_near_the_floor_means_25_microseconds_at_every_duration(tmp_path: Path, above_us: int, outcome: str) -> None:
    runs = _runs({"floor+slack1": 120, "netpoll+slack1": 125})
    runs += _runs({"floor+slack1": 1040, "netpoll+slack1": 1040 + above_us}, requested_ns=1_000_000)
    verdict = _verdict(tmp_path, "near-the-floor", runs)
    assert verdict["outcome"] == outcome
    assert [figure["value"] for figure in verdict["figures"]] == [5 * US, above_us * US]
    assert "at 100 µs" in verdict["sentence"]
    assert "at 1 ms" in verdict["sentence"]


def test_long_sleeps_are_not_held_against_the_floor(tmp_path: Path) -> None:
    runs = _runs({"floor+slack1": 120, "netpoll+slack1": 125})
    runs += _runs({"floor+slack1": 100_100, "netpoll+slack1": 100_400}, requested_ns=100_000_000)
    verdict = _verdict(tmp_path, "near-the-floor", runs)
    assert verdict["outcome"] == "yes"
    assert [figure["requested_ns"] for figure in verdict["figures"]] == [100 * US]


@pytest.mark.parametrize(("usleep_us", "outcome"), [(1101, "no"), (150, "yes"), (1155, "unsettled")])
def test_usleep_changes_nothing_unless_the_data_say_so(tmp_path: Path, usleep_us: int, outcome: str) -> None:
    verdict = _verdict(tmp_path, "usleep-no-change", _runs({"stock": 1100, "usleep": usleep_us}))
    assert verdict["outcome"] == outcome
    assert verdict["expected"] == "no"
    assert "enters no nanosleep" in verdict["sentence"]


def _cost(cpu: dict[str, int]) -> list[FakeRun]:
    return [
        FakeRun(
            arm,
            {1_000_000: [1_050_000] * 10},
            block,
            load="sleepers:50",
            cpu_ns=each * 10 + block,
            threads=57 if arm == "sleep" else 8,
        )
        for arm, each in cpu.items()
        for block in range(BLOCKS)
    ]


def test_the_price_is_told_for_every_arm_and_threads_for_sleep(tmp_path: Path) -> None:
    cpu = {"stock": 2_000, "usleep": 2_000, "sleep": 20_000, "netpoll": 9_000, "netpoll+slack1": 18_000}
    verdict = _verdict(tmp_path, "price", _cost(cpu))
    assert verdict["outcome"] == "yes"
    assert {figure["arm"]: round(figure["value"], 1) for figure in verdict["figures"]} == {
        "usleep": 1.0,
        "sleep": 10.0,
        "netpoll": 4.5,
        "netpoll+slack1": 9.0,
    }
    assert "57 threads" in verdict["sentence"]
    assert verdict["sentence"].count("threads") == 1


def test_a_price_that_is_none_is_told_as_none(tmp_path: Path) -> None:
    assert _verdict(tmp_path, "price", _cost({"stock": 2_000, "netpoll+slack1": 1_000}))["outcome"] == "no"


@pytest.mark.parametrize("name", ["floor-gone", "near-the-floor", "usleep-no-change", "price"])
def test_what_was_not_measured_is_said_to_be_not_measured(tmp_path: Path, name: str) -> None:
    verdict = _verdict(tmp_path, name, _runs({"netpoll": 150}))
    assert verdict["outcome"] == "not measured"
    assert verdict["sentence"].startswith("Not measured: it takes ")


def test_one_run_an_arm_settles_nothing(tmp_path: Path) -> None:
    runs = [run for run in _runs({"stock": 1100, "netpoll+slack1": 140}) if run.block == 0]
    assert _verdict(tmp_path, "floor-gone", runs)["outcome"] == "unsettled"


def test_runs_under_quota_or_load_do_not_count(tmp_path: Path) -> None:
    runs = _runs({"stock": 1100, "netpoll+slack1": 140})
    for run in runs:
        run.load = "burn:1"
    assert _verdict(tmp_path, "floor-gone", runs)["outcome"] == "not measured"
