"""polling for real, its ways to wait, and its verdict on made data, each way."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from nanonap.lab.experiments.kit.base import Outcome, Setting
from nanonap.lab.experiments.polling.experiment import FULL, SCHEMA, Polling, schedule
from nanonap.lab.experiments.polling.verdicts import WAYS
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.docker import DockerBackend
from nanonap.lab.quota.none import NoBackend
from nanonap.lab.run.runner import measure
from nanonap.lab.show.terminal import print_table
from nanonap.lab.stats.resampling import quantile
from tests.conftest import BuildProgram
from tests.lab.experiments.pictures import assert_title_is_clear

BLOCKS = 6
US = 1_000
MS = 1_000_000
WORKLOADS = ((1, 1_070 * US), (1, 15 * MS), (50, 1_070 * US))
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
CHEAPER_WHERE_LITTLE_IS_DUE = "less CPU than polling at 1 ms where little is due"
CHEAPER_THAN_1_MS = "less CPU than polling at 1 ms whatever is due"
CHEAPER = {CHEAPER_WHERE_LITTLE_IS_DUE, CHEAPER_THAN_1_MS}


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
                        "wall_ns": 10**9,
                        "cpu_ns": int(share * 1e9 * wave),
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
        "1 sleeper, 15 ms",
        "50 sleepers, 1.07 ms",
    }


def test_a_container_is_refused(build_program: BuildProgram, tmp_path: Path) -> None:
    elsewhere = object.__new__(DockerBackend)  # it needs no engine to be refused
    setting = Setting(True, elsewhere, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        Polling().run(setting)


def polled_medians(interval_ns: int, tick_ns: int) -> list[int]:
    """The median lateness in each block of a full run if polling were perfect: until the tick after each deadline."""
    medians = []
    for block in range(FULL.blocks):
        own_ns, deadlines = schedule(interval_ns, block, FULL.window_ns)
        late = -own_ns * np.arange(1, deadlines + 1) % tick_ns  # the first interval begins at a tick
        medians.append(quantile(np.sort(late), 0.5))
    return medians


INTERVALS = sorted({interval_ns for _, interval_ns in FULL.workloads})


@pytest.mark.parametrize("interval_ns", INTERVALS)
@pytest.mark.parametrize("tick_ns", [MS, 10 * MS])
def test_deadlines_lie_evenly_between_ticks(interval_ns: int, tick_ns: int) -> None:
    assert np.mean(polled_medians(interval_ns, tick_ns)) == pytest.approx(tick_ns / 2, rel=0.05)


@pytest.mark.parametrize("interval_ns", [each for each in INTERVALS if each >= 10 * MS])
def test_few_deadlines_do_not_fall_at_the_same_places_in_every_block(interval_ns: int) -> None:
    assert len(set(polled_medians(interval_ns, 10 * MS))) == FULL.blocks
    # So that blocks can be compared, each has the same number, and there is one in the middle of them.
    (deadlines,) = {schedule(interval_ns, block, FULL.window_ns)[1] for block in range(FULL.blocks)}
    assert deadlines % 2 == 1
    # So that ways can be compared, each has the same interval.
    assert schedule(interval_ns, 3, FULL.window_ns) == schedule(interval_ns, 3, FULL.window_ns)


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
    assert true_parts(frame()) == {CHEAPER_THAN_BUSY, FINER_THAN_10_MS, *CHEAPER}


def test_it_holds_where_stock_is_more_precise_than_any_polling_and_cheap() -> None:
    assert outcome(frame(stock=(50.0, 0.02))) == "holds"


def test_it_is_refuted_where_stock_is_neither_precise_nor_cheap() -> None:
    assert outcome(frame(stock=(6_000.0, 2.0))) == "refuted"


@pytest.mark.parametrize(
    ("way", "figures", "parts"),
    [
        ("busy", (1.0, 0.02), {CHEAPER_THAN_BUSY}),
        ("poll10ms", (600.0, 0.01), {FINER_THAN_10_MS}),
        ("poll1ms", (520.0, 0.02), CHEAPER),
    ],
)
def test_each_part_fails_alone(way: str, figures: tuple[float, float], parts: set[str]) -> None:
    changed = frame(**{way: figures})
    assert true_parts(frame()) - true_parts(changed) == parts
    assert true_parts(changed) <= true_parts(frame())


def test_timers_that_are_cheap_only_where_little_is_due_are_not_cheap() -> None:
    much_due = (pl.col("way") == "poll1ms") & (pl.col("interval_ns") < 10 * MS)
    half = pl.when(much_due).then(pl.col("cpu_ns") // 2).otherwise(pl.col("cpu_ns"))
    changed = frame(stock=(50.0, 0.03)).with_columns(cpu_ns=half)
    assert outcome(changed) == "holds in part"
    (found,) = Polling().judge(changed)
    assert [name for name, holds in found.figures["parts"].items() if not holds] == [CHEAPER_THAN_1_MS]


def test_what_lies_on_the_limit_is_not_settled() -> None:
    (found,) = Polling().judge(frame(stock=(0.8 * 520, 0.03)))
    assert found.figures["parts"]["more precise than polling at 1 ms"] is None
    assert "too few runs" in found.sentence


def test_nothing_is_judged_without_stock_or_from_two_runs() -> None:
    assert outcome(frame().filter(pl.col("way") != "stock")) == "not settled"
    assert outcome(frame().filter(pl.col("block") < 2)) == "not settled"


def test_ratios_in_the_table_are_to_polling_at_1_ms() -> None:
    row = Polling().tables(frame())[0].sections[0].rows[0]
    assert row[0] == "stock"
    assert row[3].startswith("1.058 ×")


def test_a_high_quantile_of_few_deadlines_is_not_shown() -> None:
    of_few = pl.when(pl.col("interval_ns") > 10 * MS).then(pl.lit(99)).otherwise(pl.col("deadlines"))
    sections = Polling().tables(frame().with_columns(deadlines=of_few))[0].sections
    assert [section.heading for section in sections] == ["every 1.07 ms", "every 15 ms"]
    assert [section.rows[0][2] for section in sections] == ["1.10 ms", "–"]


def test_nothing_is_cut_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for table in Polling().tables(frame(busy=(0.3, 1.004), poll1ms=(520.0, 0.0099), poll10ms=(5_000.0, 0.009))):
        print_table(table)
    shown = capsys.readouterr().out
    assert "busy loop" in shown
    assert " 100% " in shown
    assert " 0.90% " in shown
    assert "…" not in shown


def test_the_title_of_the_picture_stands_clear_of_its_legend() -> None:
    assert_title_is_clear(Polling().draw(frame()))
