"""dilation for real, and its verdicts on made data, each way."""

from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.dilation.experiment import Dilation
from nanonap.lab.experiments.dilation.runs import SCHEMA
from nanonap.lab.experiments.kit.base import Setting, Verdict

SECOND = 1_000_000_000
BLOCKS = 5


def rows(part: str, load: str, slower: float, *, noise: float = 0.01, **more: Any) -> list[dict[str, Any]]:
    """Runs without and with the quota, the latter ``slower`` times as long, in five blocks."""
    made = []
    for block in range(BLOCKS):
        wave = 1 + noise * (-1) ** block
        for quota, factor in (("none", 1.0), ("50%", slower * wave)):
            values = {
                "part": part,
                "load": load,
                "quota": quota,
                "block": block,
                "requested_ns": SECOND,
                "elapsed_ns": int(SECOND * factor),
                "whole_ns": int(SECOND * factor),
                "goroutines": 4,
            }
            if quota == "50%":
                values |= {"nr_periods": 10, "nr_throttled": 0 if load == "quiet" else 10, "throttled_ns": 0}
                values |= more
            made.append(values)
    return made


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Dilation().judge(data) if each.claim == claim)


@pytest.mark.long
def test_a_quiet_sleeper_is_not_stretched_on_the_real_kernel(setting: Setting) -> None:
    data = Dilation().run(setting)
    assert set(data["part"].to_list()) == {"sleep", "gosched", "go run"}
    quiet = data.filter(pl.col("part") == "sleep", pl.col("load") == "quiet")
    assert set(quiet["quota"].to_list()) == {"none", "50%"}
    limited = quiet.filter(pl.col("quota") == "50%")
    assert (limited["nr_throttled"] <= limited["nr_periods"]).all()
    assert data.filter(pl.col("part") == "gosched")["iterations"].min() > 0  # type: ignore[operator]
    assert verdict("D4", data).outcome == "holds"
    assert verdict("D2", data).outcome == "refuted"
    assert len(Dilation().tables(data)) == 2
    assert Dilation().draw(data) is not None


@pytest.mark.parametrize(
    ("quiet", "loaded", "outcome"),
    [
        (rows("sleep", "quiet", 2.0), rows("sleep", "burn:1", 2.0), "holds"),
        (rows("sleep", "quiet", 1.0), rows("sleep", "burn:1", 2.0), "holds in part"),
        (rows("sleep", "quiet", 1.0), rows("sleep", "burn:1", 1.05), "refuted"),
        (rows("sleep", "quiet", 1.5, noise=0.3), rows("sleep", "burn:1", 1.05), "not settled"),
        (rows("sleep", "quiet", 1.0), rows("sleep", "burn:1", 1.0, nr_throttled=1), "not settled"),
    ],
    ids=["twice", "twice when loaded", "once", "noise", "never throttled"],
)
def test_d1_follows_the_ratios(quiet: list[dict[str, Any]], loaded: list[dict[str, Any]], outcome: str) -> None:
    assert verdict("D1", frame(quiet, loaded)).outcome == outcome


def test_d1_tells_that_other_work_kept_even_sleeps_without_a_quota_from_ending() -> None:
    data = frame(rows("sleep", "quiet", 1.0))
    assert "disturbed" not in verdict("D1", data).sentence
    late = pl.when(quota="none", block=0).then(pl.col("elapsed_ns") + SECOND // 5).otherwise("elapsed_ns")
    assert "ended up to 200 ms late" in verdict("D1", data.with_columns(elapsed_ns=late)).sentence


@pytest.mark.parametrize(
    ("changed", "first", "outcome"),
    [(2.0, 2.0, "holds"), (1.1, 2.0, "holds in part"), (1.1, 1.2, "refuted")],
)
def test_go_run_explains_the_doubling_if_only_the_whole_takes_twice_as_long(
    changed: float, first: float, outcome: str
) -> None:
    data = frame(*(rows("go run", kind, slower) for kind, slower in (("changed", changed), ("first build", first))))
    assert verdict("D1 go run", data.with_columns(elapsed_ns=pl.lit(SECOND))).outcome == outcome
    assert verdict("D1 go run", data.with_columns(whole_ns=pl.lit(SECOND))).outcome == "refuted"


def test_go_run_does_not_explain_a_doubling_that_the_sleep_in_it_has_too() -> None:
    assert verdict("D1 go run", frame(rows("go run", "changed", 2.0))).outcome == "refuted"


def test_go_run_that_cannot_be_had_says_what_is_missing() -> None:
    data = frame([{"part": "go run", "load": "changed", "missing": "no toolchain there"}])
    found = verdict("D1 go run", data)
    assert found.outcome == "cannot be tested here"
    assert "no toolchain there" in found.sentence


@pytest.mark.parametrize(
    ("quiet_s", "loaded_s", "outcome"), [(130, 130, "holds"), (0, 130, "holds in part"), (0, 1, "refuted")]
)
def test_d2_follows_the_groups_own_counters(quiet_s: int, loaded_s: int, outcome: str) -> None:
    data = frame(
        rows("sleep", "quiet", 1.0, throttled_ns=quiet_s * SECOND),
        rows("sleep", "burn:1", 1.0, throttled_ns=loaded_s * SECOND, root_throttled_ns=7 * SECOND),
    )
    found = verdict("D2", data)
    assert found.outcome == outcome
    assert "the topmost group 7.00 s" in found.sentence
    assert verdict("D2", data.with_columns(throttled_ns=pl.lit(None, pl.Int64))).outcome == "cannot be tested here"


@pytest.mark.parametrize(
    ("slower", "noise", "outcome"),
    [(2.0, 0.01, "holds"), (1.02, 0.01, "refuted"), (1.5, 0.3, "not settled")],
)
def test_d3_follows_the_loops_time(slower: float, noise: float, outcome: str) -> None:
    data = frame(rows("gosched", "quiet", slower, noise=noise, iterations=500))
    assert verdict("D3", data).outcome == outcome


@pytest.mark.parametrize(
    ("under_quota", "outcome"), [((4, 4), "holds"), ((5, 4), "holds in part"), ((5, 5), "refuted")]
)
def test_d4_compares_the_numbers_of_goroutines(under_quota: tuple[int, int], outcome: str) -> None:
    parts = zip(("quiet", "sibling:1"), under_quota, strict=True)
    data = frame(*(rows("sleep", load, 1.0, goroutines=number) for load, number in parts))
    assert verdict("D4", data).outcome == outcome


def test_without_data_nothing_is_answered() -> None:
    outcomes = {each.outcome for each in Dilation().judge(frame())}
    assert outcomes == {"not settled", "cannot be tested here"}
