"""A verdict comes from the data, and comes out either way."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from nanonap.lab.judge.analysis import analyse
from nanonap.lab.judge.verdicts import judge
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

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
    summary = msgspec.to_builtins(analyse(load(write_result(folder, runs))).summary)
    return dict(next(verdict for verdict in summary["verdicts"] if verdict["name"] == name))


@pytest.mark.parametrize(
    ("low_high", "outcome"),
    [
        ([6.5, 7.5], "yes"),
        ([6.0, 6.0], "yes"),
        ([5.9, 7.5], "not settled"),
        ([1.0, 5.9], "no"),
        (None, "not settled"),
    ],
)
def test_a_limit_is_judged_by_the_whole_interval(low_high: list[float] | None, outcome: str) -> None:
    assert judge(low_high, least=6.0, most=float("inf")) == outcome


@pytest.mark.parametrize(
    ("patched_us", "outcome", "says"),
    [(140, "yes", "Yes: a sleep of 100 µs takes 140 µs"), (1100, "no", "No: "), (184, "not settled", "Not settled")],
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


@pytest.mark.parametrize(("above_us", "outcome"), [(10, "yes"), (60, "no"), (25, "not settled")])
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
    runs += _runs({"floor+slack1": 5_100, "netpoll+slack1": 5_400}, requested_ns=5_000_000)
    runs += _runs({"floor+slack1": 100_100, "netpoll+slack1": 100_400}, requested_ns=100_000_000)
    verdict = _verdict(tmp_path, "near-the-floor", runs)
    assert verdict["outcome"] == "yes"
    # 5 ms is told, and does not count.
    assert [(figure["requested_ns"], figure["outcome"]) for figure in verdict["figures"]] == [
        (100 * US, "yes"),
        (5_000_000, None),
    ]
    alone = _verdict(tmp_path / "alone", "near-the-floor", [run for run in runs if 5_000_000 in run.actual])
    assert alone["outcome"] == "not measured"


def _spread(arm: str, tail_us: int) -> list[FakeRun]:
    """Runs whose p90 lies ``tail_us`` above their p50, up to one in ten to either side."""
    return [
        FakeRun(arm, {100 * US: [120 * US] * 6 + [120 * US + tail_us * (90 + block % 3 * 10) * 10] * 4}, block)
        for block in range(BLOCKS)
    ]


@pytest.mark.parametrize(("tail_us", "outcome"), [(10, "yes"), (24, "no"), (15, "not settled")])
def test_the_tail_may_be_half_as_long_again_as_the_floors(tmp_path: Path, tail_us: int, outcome: str) -> None:
    runs = [*_spread("floor+slack1", 10), *_spread("netpoll+slack1", tail_us)]
    verdict = _verdict(tmp_path, "tail-near-the-floor", runs)
    assert verdict["outcome"] == outcome
    ratio, *tails = verdict["figures"]
    assert ratio["value"] == pytest.approx(tail_us / 10, rel=0.15)
    # p99 is told with its interval and never judged.
    assert [(figure["what"], figure["arm"], figure["outcome"]) for figure in tails] == [
        ("p99_ns", "netpoll+slack1", None),
        ("p99_ns", "floor+slack1", None),
    ]
    assert None not in [figure["interval"] for figure in tails]


@pytest.mark.parametrize(
    ("patched_us", "outcome"), [(141, "yes"), (146, "not settled"), (150, "no"), (130, "no"), (134, "not settled")]
)
def test_the_same_as_rebuilt_is_within_five_percent_either_way(tmp_path: Path, patched_us: int, outcome: str) -> None:
    verdict = _verdict(tmp_path, "same-as-rebuilt", _runs({"rebuilt+slack1": 140, "netpoll+slack1": patched_us}))
    assert verdict["outcome"] == outcome
    assert verdict["figures"][0]["confidence"] == 0.90
    assert "90 % intervals" in verdict["sentence"]


def test_the_two_one_sided_tests_use_the_ninety_percent_interval(tmp_path: Path) -> None:
    runs = [
        FakeRun(arm, {100 * US: [140 * US + block * 777] * 5}, block)
        for arm in ("rebuilt+slack1", "netpoll+slack1", "stock")
        for block in range(BLOCKS)
    ]
    summary = msgspec.to_builtins(analyse(load(write_result(tmp_path, runs))).summary)
    ninety = next(each for each in summary["verdicts"] if each["name"] == "same-as-rebuilt")["figures"][0]["interval"]
    whole = next(cell for cell in summary["cells"] if cell["arm"] == "netpoll+slack1")["p50_over_stock_ci"]
    assert whole[0] < ninety[0] < 1 < ninety[1] < whole[1]


@pytest.mark.parametrize(("usleep_us", "outcome"), [(1101, "no"), (150, "yes"), (1155, "not settled")])
def test_usleep_changes_nothing_unless_the_data_say_so(tmp_path: Path, usleep_us: int, outcome: str) -> None:
    verdict = _verdict(tmp_path, "usleep-no-change", _runs({"stock": 1100, "usleep": usleep_us}))
    assert verdict["outcome"] == outcome
    assert verdict["expected"] == "no"
    assert "does not call nanosleep" in verdict["sentence"]


def _cost(cpu: dict[str, int], load: str = "sleepers:50", threads: int = 8, wobble: int = 1) -> list[FakeRun]:
    """Each arm's runs, whose CPU time per sleep (ns) lies up to ``wobble`` to either side."""
    return [
        FakeRun(
            arm,
            {1_000_000: [1_050_000] * 9 + [1_400_000]},
            block,
            load=load,
            cpu_ns=(each + (block % 3 - 1) * wobble) * 10,
            threads=57 if arm == "sleep" else threads,
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


@pytest.mark.parametrize(
    ("patched", "outcome"), [(2_000, "yes"), (2_050, "yes"), (2_100, "not settled"), (2_300, "no"), (1_000, "yes")]
)
def test_no_more_cpu_than_rebuilt_allows_five_percent(tmp_path: Path, patched: int, outcome: str) -> None:
    same = {"rebuilt+slack1": 2_000, "netpoll+slack1": 2_000}
    runs = _cost(same, load="quiet", wobble=30) + _cost({**same, "netpoll+slack1": patched}, wobble=30)
    verdict = _verdict(tmp_path, "no-more-cpu-than-rebuilt", runs)
    assert verdict["outcome"] == outcome
    assert "with one sleeper" in verdict["sentence"]
    assert "with 50 sleepers" in verdict["sentence"]


@pytest.mark.parametrize(("quantum", "outcome"), [(2_500, "yes"), (3_000, "not settled"), (4_000, "no")])
def test_many_sleepers_cost_at_most_half_as_much_again_as_stock(tmp_path: Path, quantum: int, outcome: str) -> None:
    runs = _cost({"stock": 2_000, "netpoll+slack1": 20_000, "netpoll+slack1+quantum": quantum}, wobble=200)
    verdict = _verdict(tmp_path, "many-sleepers", runs)
    assert verdict["outcome"] == outcome
    assert {figure["what"]: figure["value"] for figure in verdict["figures"]} == {
        "cpu_over_stock": quantum / 2_000,
        "late_p50_ns": 50 * US,
        "late_p99_ns": 400 * US,
    }
    assert "50.0 µs [50.0 µs, 50.0 µs] after its deadline" in verdict["sentence"]


@pytest.mark.parametrize(("own", "outcome"), [(8, "yes"), (7, "yes"), (9, "no")])
def test_ten_thousand_sleepers_need_no_more_threads_than_stock(tmp_path: Path, own: int, outcome: str) -> None:
    runs = _cost({"stock": 2_000}, load="sleepers:10000")
    runs += _cost({"netpoll+slack1": 2_000}, load="sleepers:10000", threads=own)
    verdict = _verdict(tmp_path, "threads", runs)
    assert verdict["outcome"] == outcome
    assert verdict["figures"][0]["value"] == own - 8


def test_a_thread_more_in_some_runs_settles_nothing(tmp_path: Path) -> None:
    runs = _cost({"stock": 2_000, "netpoll+slack1": 2_000}, load="sleepers:10000")
    for run in runs:
        run.threads += run.arm != "stock" and run.block % 2
    assert _verdict(tmp_path, "threads", runs)["outcome"] == "not settled"


@pytest.mark.parametrize(("spin_us", "outcome"), [(112, "yes"), (117, "not settled"), (130, "no"), (99, "yes")])
def test_spinning_halves_the_overshoot_and_not_the_sleep(tmp_path: Path, spin_us: int, outcome: str) -> None:
    runs = _runs({"netpoll+slack1": 135, "netpoll+slack1+spin": spin_us})
    for run in runs:
        run.cpu_ns = 3_000_000 if run.arm.endswith("spin") else 1_000_000
    verdict = _verdict(tmp_path, "spin", runs)
    assert verdict["outcome"] == outcome
    assert verdict["figures"][0]["value"] == (spin_us - 100) * US
    assert "3.00 × [3.00, 3.00] the CPU" in verdict["sentence"]


@pytest.mark.parametrize(
    "name",
    [
        "floor-gone",
        "near-the-floor",
        "tail-near-the-floor",
        "same-as-rebuilt",
        "no-more-cpu-than-rebuilt",
        "usleep-no-change",
        "price",
        "many-sleepers",
        "threads",
        "spin",
    ],
)
def test_what_was_not_measured_is_said_to_be_not_measured(tmp_path: Path, name: str) -> None:
    verdict = _verdict(tmp_path, name, _runs({"netpoll": 150}))
    assert verdict["outcome"] == "not measured"
    assert verdict["sentence"].startswith("Not measured: it needs ")


def test_one_run_an_arm_settles_nothing(tmp_path: Path) -> None:
    runs = [run for run in _runs({"stock": 1100, "netpoll+slack1": 140}) if run.block == 0]
    assert _verdict(tmp_path, "floor-gone", runs)["outcome"] == "not settled"


def test_runs_under_quota_or_load_do_not_count(tmp_path: Path) -> None:
    runs = _runs({"stock": 1100, "netpoll+slack1": 140})
    for run in runs:
        run.load = "burn:1"
    assert _verdict(tmp_path, "floor-gone", runs)["outcome"] == "not measured"
