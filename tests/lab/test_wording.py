"""Titles, durations and intervals as people read them."""

import pytest

from nanonap.base.durations import asked
from nanonap.lab.show.style import nice_ticks, short
from nanonap.lab.show.tables import condition_title, time_with
from nanonap.lab.store.runs import RunCondition


@pytest.mark.parametrize(
    ("quota", "load", "title"),
    [
        ("none", "quiet", "Quiet, no quota"),
        ("50%", "burn:1", "Beside 1 CPU burner, quota 50% of a CPU (period 100 ms)"),
        ("25%/10ms", "burn:3", "Beside 3 CPU burners, quota 25% of a CPU (period 10 ms)"),
    ],
)
def test_conditions_are_titled_for_a_person(quota: str, load: str, title: str) -> None:
    assert condition_title(RunCondition(quota=quota, load=load)) == title


def test_an_interval_is_written_in_its_times_unit() -> None:
    assert time_with(409_000, [157_000, 1_070_000]) == "409 [157, 1070] µs"
    assert time_with(-2_790, [-12_700, 9_080]) == "−2.79 [−12.7, 9.08] µs"
    assert time_with(1_000_000, None) == "1.00 ms"
    assert time_with(None, [1, 2]) == "–"


def test_durations_are_written_with_a_unit() -> None:
    assert [asked(value) for value in (50_000, 1_000_000, 2_500_000, 10**9, 7)] == [
        "50 µs",
        "1 ms",
        "2.5 ms",
        "1 s",
        "7 ns",
    ]
    assert [short(value) for value in (0, 5e4, 2.5e6, 1e9)] == ["0", "50 µs", "2.5 ms", "1 s"]


@pytest.mark.parametrize(("low", "high"), [(5e4, 5e6), (1e8, 1.005e8), (1e3, 1e10), (9e5, 1.2e6)])
def test_ticks_are_few_and_within_the_axis(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
