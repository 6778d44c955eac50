"""polling for real, its ways to wait, and its verdict on made data, each way."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from bench.arms import Arm
from bench.conditions import PRIMARY
from bench.experiments.base import Outcome, Setting
from bench.experiments.polling import SCHEMA, Polling
from bench.experiments.polling_verdicts import WAYS
from bench.interrupt import Stop
from bench.quota.none import NoBackend
from bench.runner import measure
from bench.schedule import Run
from tests.conftest import BuildProgram

BLOCKS = 6
US = 1_000
WORKLOADS = ((1, 1_070 * US), (1, 15_700 * US), (50, 1_070 * US))
#: (lateness at the median in µs, CPU share) of each way, as they are expected to be.
EXPECTED = {
    "stock": (550.0, 0.03),
    "netpoll+slack1": (35.0, 0.03),
    "poll1ms": (520.0, 0.04),
    "poll10ms": (5_000.0, 0.01),
    "busy": (1.0, 1.0),
}
CHEAPER_THAN_BUSY = "less CPU than a busy loop"
FINER_THAN_10_MS = "more precise than polling at 10 ms"
CHEAPER_THAN_1_MS = "less CPU than polling at 1 ms where little is due"


def frame(**changed: tuple[float, float]) -> pl.DataFrame:
    """Six blocks of every way under every workload; ``changed`` is another lateness and share of a way."""
    rows = []
    for way, (late_us, share) in (EXPECTED | changed).items():
        for sleepers, interval_ns in WORKLOADS:
            for block in range(BLOCKS):
                wave = 1 + (0.01 if way == "stock" else -0.01) * (-1) ** block
                late_ns = int(late_us * US * wave)
                rows.append(
                    {
                        "way": way,
                        "sleepers": sleepers,
                        "interval_ns": interval_ns,
                        "block": block,
                        "deadlines": 1_000,
                        "missed": 0,
                        "wall_ns": 10**9,
                        "cpu_ns": int(share * 1e9 * wave),
                        "nvcsw": 1_000,
                        "late_p50_ns": late_ns,
                        "late_p99_ns": 2 * late_ns,
                    }
                )
    return pl.DataFrame(rows, schema=SCHEMA)


def outcome(data: pl.DataFrame) -> Outcome:
    (found,) = Polling().judge(data)
    assert found.claim == "T1 polling"
    return found.outcome


def true_parts(data: pl.DataFrame) -> set[str]:
    (found,) = Polling().judge(data)
    return {name for name, holds in found.figures["parts"].items() if holds}


def test_every_way_waits_for_real(setting: Setting) -> None:
    data = Polling().run(setting)
    assert set(data["way"]) == set(WAYS)
    assert data.select("way", "sleepers", "interval_ns", "block").is_unique().all()
    # All ways are given the same deadlines, and none is left out.
    assert set(data.group_by("sleepers", "interval_ns").agg(pl.col("deadlines").n_unique())["deadlines"]) == {1}
    assert (data["late_p50_ns"] >= 0).all()
    assert [table.title for table in Polling().tables(data)] == ["One sleeper", "50 sleepers, out of step"]
    assert Polling().draw(data) is not None
    (found,) = Polling().judge(data)
    assert set(found.figures["late_over_poll1ms"]) == {
        "1 sleeper, 1.07 ms",
        "1 sleeper, 15.7 ms",
        "50 sleepers, 1.07 ms",
    }


def ends_ns(build_program: BuildProgram, method: str, sleepers: int) -> NDArray[np.int64]:
    """When the sleeps of a method ended, ns from the window's start: all that were planned, and none early."""

    class Several(Run):
        planned = 12 * sleepers

        def options(self, gomaxprocs: int) -> list[str]:
            return [*super().options(gomaxprocs), "-sleepers", str(sleepers)]

    arm = Arm(method, build_program("sleepbench"), method, None, None, "", "")
    run = Several(0, arm, PRIMARY, ((100 * US, 6), (2_500 * US, 6)), 0, seed=1)
    requested, actual, start, _ = measure(run, 1, NoBackend(), Stop()).output.samples
    assert requested.size == 12 * sleepers
    assert (actual >= requested).all()
    return np.sort(start + actual)


@pytest.mark.parametrize("method", ["poll1ms", "poll10ms", "busy"])
def test_no_polled_sleep_ends_before_its_time_and_none_is_forgotten(build_program: BuildProgram, method: str) -> None:
    ends_ns(build_program, method, 5)


def test_a_polled_sleep_ends_at_a_tick_only(build_program: BuildProgram) -> None:
    ends = ends_ns(build_program, "poll10ms", 1)
    # Sleeps of 100 µs among them: that each takes a tick of its own is what polling means, not a speed.
    assert np.median(np.diff(ends)) >= 5_000 * US


def test_a_tick_wakes_everyone_who_is_due(build_program: BuildProgram) -> None:
    ends = ends_ns(build_program, "poll10ms", 50)
    ticks = np.flatnonzero(np.diff(ends, prepend=-np.inf) > 2_000 * US)
    # Whoever is left to the next tick would be late by the scheduler's order, not by polling.
    assert np.median(np.diff(ticks, append=ends.size)) == 50


def test_what_is_expected_holds_in_part() -> None:
    assert outcome(frame()) == "holds in part"
    assert true_parts(frame()) == {CHEAPER_THAN_BUSY, FINER_THAN_10_MS, CHEAPER_THAN_1_MS}


def test_it_holds_where_stock_is_more_precise_than_any_polling_and_cheap() -> None:
    assert outcome(frame(stock=(50.0, 0.02))) == "holds"


def test_it_is_refuted_where_stock_is_neither_precise_nor_cheap() -> None:
    assert outcome(frame(stock=(6_000.0, 2.0))) == "refuted"


@pytest.mark.parametrize(
    ("way", "figures", "part"),
    [
        ("busy", (1.0, 0.02), CHEAPER_THAN_BUSY),
        ("poll10ms", (600.0, 0.01), FINER_THAN_10_MS),
        ("poll1ms", (520.0, 0.02), CHEAPER_THAN_1_MS),
    ],
)
def test_each_part_fails_alone(way: str, figures: tuple[float, float], part: str) -> None:
    changed = frame(**{way: figures})
    assert true_parts(frame()) - true_parts(changed) == {part}
    assert true_parts(changed) <= true_parts(frame())


def test_what_lies_on_the_limit_is_not_settled() -> None:
    (found,) = Polling().judge(frame(stock=(0.8 * 520, 0.03)))
    assert found.figures["parts"]["more precise than polling at 1 ms"] is None
    assert "do not settle" in found.sentence


def test_nothing_is_judged_without_stock_or_from_two_runs() -> None:
    assert outcome(frame().filter(pl.col("way") != "stock")) == "cannot be tested here"
    assert outcome(frame().filter(pl.col("block") < 2)) == "cannot be tested here"


def test_ratios_in_the_table_are_to_polling_at_1_ms() -> None:
    row = Polling().tables(frame())[0].sections[0].rows[0]
    assert row[0] == "stock"
    assert row[3].startswith("1.058 ×")
