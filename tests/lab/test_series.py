"""What a series of counters says: when a group was throttled, and whether the counters are in order."""

from pathlib import Path

import polars as pl
import pytest

from nanonap.base.errors import OutputNotWritable
from nanonap.lab.quota.base import Throttling
from nanonap.lab.quota.sampler import COUNTERS, SERIES_SCHEMA
from nanonap.lab.quota.series import (
    STAT_SCHEMA,
    check,
    grows_while_throttled,
    stalls_in,
    whole_periods,
    write_series,
)

MS = 1_000_000


def made(throttled_ms: list[float], gap_ms: float = 2, **counters: list[int]) -> pl.DataFrame:
    """A series whose samples are ``gap_ms`` apart and take no time."""
    count = len(throttled_ms)
    columns: dict[str, list[int] | list[None]] = {
        "monotonic_ns": [round(each * gap_ms * MS) for each in range(count)],
        "read_ns": [0] * count,
        "deadline_ns": [round(each * gap_ms * MS) for each in range(count)],
        **dict.fromkeys(COUNTERS, [0] * count),
        "throttled_ns": [round(each * MS) for each in throttled_ms],
        "usage_ns": [None] * count,
    }
    return pl.DataFrame({**columns, **counters}, schema=SERIES_SCHEMA)


def held(*steps: tuple[float, int]) -> list[float]:
    """(value, for how many samples) …"""
    return [value for value, count in steps for _ in range(count)]


def test_a_stall_ends_where_the_counter_grew_and_is_as_long_as_the_growth() -> None:
    stalls = stalls_in(made(held((0, 51), (80, 50), (155, 20))))
    assert stalls.rows() == [(102 * MS, 80 * MS), (202 * MS, 75 * MS)]


def test_cpus_that_are_let_go_on_both_sides_of_a_sample_are_one_interval() -> None:
    assert stalls_in(made(held((0, 50), (75, 1), (150, 50)))).rows() == [(102 * MS, 150 * MS)]


def test_whole_periods_are_counted_from_the_first_stalls_end_to_the_lasts() -> None:
    periods = [int(each) for each in held((1, 51), (2, 50), (3, 50), (4, 9))]
    series = made(held((0, 51), (80, 50), (155, 50), (155, 9)), nr_periods=periods, nr_throttled=periods)
    assert whole_periods(series) == Throttling(1, 1, 75 * MS, 0, 0, None)
    assert whole_periods(made(held((0, 51), (80, 50)))) is None
    assert whole_periods(made([])) is None


def test_short_stalls_one_after_the_other_stay_apart() -> None:
    series = made([each * 1.2 for each in range(20)])
    assert not grows_while_throttled(series)
    assert stalls_in(series)["throttled_ns"].to_list() == [1_200_000] * 19


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_counter_that_grows_during_the_stall_gives_one_interval_a_stall(cpus: int) -> None:
    one = [*held((0, 10)), *(cpus * 2.0 * each for each in range(1, 41))]
    two = [*held((one[-1], 10)), *(one[-1] + cpus * 2.0 * each for each in range(1, 31)), *held((one[-1] * 1.75, 5))]
    series = made([*one, *two])
    assert grows_while_throttled(series)
    assert stalls_in(series).rows() == [(98 * MS, 80 * MS * cpus), (178 * MS, 60 * MS * cpus)]


@pytest.mark.parametrize("throttled", [[], [5.0], [5.0, 5.0]])
def test_without_growth_there_is_no_interval(throttled: list[float]) -> None:
    assert stalls_in(made(throttled)).height == 0


def test_counters_that_the_kernel_has_not_give_no_interval_and_no_finding() -> None:
    series = made([1.0] * 5).with_columns(*(pl.lit(None, pl.Int64).alias(name) for name in COUNTERS))
    assert stalls_in(series).height == 0
    assert check(series).holds


def test_more_throttled_than_periods_is_found_where_it_begins() -> None:
    checked = check(made([0.0] * 4, nr_periods=[1, 2, 3, 4], nr_throttled=[1, 2, 5, 5]))
    assert (checked.samples, checked.more_throttled, checked.torn, checked.backwards) == (4, 2, 0, 0)
    assert not checked.holds
    assert checked.first == f"sample 2 at {4 * MS} ns: nr_throttled is 5 and nr_periods 3"


def test_an_excess_that_the_next_sample_explains_is_a_torn_reading() -> None:
    checked = check(made([0.0] * 4, nr_periods=[1, 2, 3, 4], nr_throttled=[1, 3, 3, 4]))
    assert (checked.more_throttled, checked.torn) == (1, 1)
    assert checked.holds
    assert checked.first is not None
    assert "torn" in checked.first


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_that_goes_back_is_found(name: str) -> None:
    values = {"nr_periods": [9, 9, 9, 9], name: [5, 6, 4, 4]}
    checked = check(made([0.0] * 4).with_columns(**{each: pl.Series(column) for each, column in values.items()}))
    assert (checked.backwards, checked.holds) == (1, False)
    assert checked.first is not None
    assert f"{name} (now 4)" in checked.first


def test_a_series_is_written_with_its_run_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "stat.parquet"
    one, two = made([0.0, 1.0]), made([2.0])
    write_series(path, {"00000": one, "00001": two})
    read = pl.read_parquet(path)
    assert read.schema == STAT_SCHEMA
    assert read.filter(run_id="00000").drop("run_id").equals(one)
    assert read.filter(run_id="00001").drop("run_id").equals(two)
    write_series(path, {})
    assert pl.read_parquet(path).schema == STAT_SCHEMA
    with pytest.raises(OutputNotWritable):
        write_series(tmp_path / "missing" / "stat.parquet", {"00000": one})
    assert sorted(tmp_path.iterdir()) == [path]
