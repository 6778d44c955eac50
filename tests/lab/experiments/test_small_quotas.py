"""small-quotas for real, and its verdicts on made data, each way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.small_quotas.experiment import SCHEMA, SmallQuotas
from nanonap.lab.experiments.small_quotas.verdicts import compared

ARM = "netpoll+slack1"


def rows(quota: str, arm: str, factor: float, noise: float = 0.02) -> list[dict[str, Any]]:
    """Runs whose sleeps last ``factor`` times stock's millisecond."""
    made = []
    for block in range(5):
        each = factor * (1 + noise * (-1) ** block)
        for mode in ("time", "count"):
            made.append(
                {
                    "mode": mode,
                    "quota": quota,
                    "arm": arm,
                    "block": block,
                    "requested_ns": 100_000,
                    "sleeps": int(1_000 / each) if mode == "time" else 100,
                    "wall_ns": int(1e8 * each) if mode == "count" else 1_000_000_000,
                    "mean_ns": 1e6 * each,
                    "p50_ns": int(1e6 * each),
                    "p99_ns": int(2e6 * each),
                    "throttled_ns": int(1e7 * each),
                    "nr_periods": 10,
                    "nr_throttled": 5,
                }
            )
    return made


def frame(factors: dict[str, float], noise: float = 0.02) -> pl.DataFrame:
    made = [row for quota in factors for row in rows(quota, "stock", 1.0, 0)]
    made += [row for quota, factor in factors.items() for row in rows(quota, ARM, factor, noise)]
    return pl.DataFrame(made, schema=SCHEMA)


def test_patched_and_stock_run_under_the_same_small_quotas(setting: Setting, patched: Path) -> None:
    data = SmallQuotas().run(replace(setting, patched={ARM: patched}))
    assert set(data["arm"].to_list()) == {"stock", ARM}
    counted = data.filter(pl.col("mode") == "count")
    assert counted["sleeps"].n_unique() == 1
    per_cell = data.group_by("mode", "quota", "arm").len()
    assert per_cell["len"].n_unique() == 1
    assert (data["nr_throttled"] <= data["nr_periods"]).all()
    # Without the quota in the way patched sleeps must be shorter, or the file is not patched.
    half = {each.column: each for each in compared(data) if each.quota == "50%"}
    assert half["p50_ns"].ratio.value < 1
    (verdict,) = SmallQuotas().judge(data)
    assert ARM in verdict.claim
    assert SmallQuotas().tables(data)
    assert SmallQuotas().draw(data) is not None


@pytest.mark.parametrize(
    ("factors", "noise", "outcome"),
    [
        ({"1%": 0.5, "50%": 0.1}, 0.02, "holds"),
        ({"1%": 1.5, "50%": 0.1}, 0.02, "holds in part"),
        ({"1%": 1.5, "50%": 1.2}, 0.02, "refuted"),
        ({"1%": 1.0, "50%": 1.0}, 0.3, "not settled"),
        ({"1%": 1.0, "50%": 1.0}, 0.005, "holds"),
    ],
    ids=["better", "worse at 1 %", "worse", "noise", "the same"],
)
def test_the_verdict_says_where_the_patch_is_worse(factors: dict[str, float], noise: float, outcome: str) -> None:
    (verdict,) = SmallQuotas().judge(frame(factors, noise))
    assert verdict.outcome == outcome
    worse = {each["quota"] for each in verdict.figures["worse"]}
    assert worse == {quota for quota, factor in factors.items() if factor > 1}
    for quota in worse:
        assert f"{quota}, 100 µs" in verdict.sentence


def test_more_sleeps_in_the_same_time_are_better_and_more_time_is_worse() -> None:
    found = {each.column: each for each in compared(frame({"1%": 0.5}))}
    assert found["sleeps"].better and not found["sleeps"].worse
    assert found["wall_ns"].better and not found["wall_ns"].worse


@pytest.mark.parametrize(("factor", "noise"), [(1.03, 0.001), (1.2, 0.1)], ids=["too little", "by chance"])
def test_a_little_and_what_chance_can_do_to_one_of_many_are_not_called_worse(factor: float, noise: float) -> None:
    (verdict,) = SmallQuotas().judge(frame({"1%": factor, "2%": 1.0, "5%": 1.0, "50%": 1.0}, noise))
    assert verdict.figures["worse"] == []


def test_without_a_patched_arm_nothing_is_answered() -> None:
    data = pl.DataFrame(rows("1%", "stock", 1.0), schema=SCHEMA)
    (verdict,) = SmallQuotas().judge(data)
    assert verdict.outcome == "cannot be tested here"
