"""clocks for real on this machine, its reduction of readings, and its verdicts on made data, each way."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.errors import RunFailed
from bench.experiments.base import Setting, Verdict
from bench.experiments.clocks import Clocks
from bench.experiments.clocks_counts import count_here
from bench.experiments.clocks_runs import READABLE, SCHEMA, SOURCES, Plan, rows
from bench.experiments.clocks_steps import Steps, reduced
from bench.interrupt import Stop
from bench.quota.none import NoBackend
from tests.conftest import BuildProgram

RUNS = 5


@pytest.fixture(scope="module")
def quick(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The quick form's data, through a file and back."""
    folder = tmp_path_factory.mktemp("clocks")
    program = build_program("sleepbench")
    data = Clocks().run(Setting(True, NoBackend(), program, {}, Stop(), lambda text: None, folder))
    data.write_parquet(folder / "data.parquet")
    kept = pl.read_parquet(folder / "data.parquet")
    assert Clocks().judge(kept) == Clocks().judge(data)
    assert (folder / "data.parquet").stat().st_size < 200_000
    return kept


def test_every_source_is_read_and_no_reading_is_lost(quick: pl.DataFrame) -> None:
    runs = quick.filter(pl.col("kind") == "run")
    assert runs["missing"].is_null().all()
    assert runs["clocksource"].n_unique() == 1
    assert set(runs["source"]) == set(SOURCES)
    assert set(runs.filter(pl.col("source") == "time.Now")["series"]) == {"monotonic", "wall"}
    for run in runs.to_dicts():
        assert sum(run["counts"]) + run["backward"] == 100_000 - 1
        assert run["steps_ns"] == sorted(run["steps_ns"])
        assert 0 < run["least_ns"] <= run["most_ns"]
        assert run["calls"] == 200_000
        assert run["typical_ns"] > 0


def test_monotonic_time_never_runs_backwards(quick: pl.DataFrame) -> None:
    runs = quick.filter(pl.col("kind") == "run", pl.col("series") == "monotonic")
    assert runs["backward"].sum() == 0
    assert runs["across_backward"].sum() == 0
    assert (runs["across_readings"].sum() > 0) is (len(os.sched_getaffinity(0)) > 1)


def test_through_the_vdso_nanotime_makes_no_system_call_and_the_raw_one_makes_each(quick: pl.DataFrame) -> None:
    counts = {row["source"]: row for row in quick.filter(pl.col("kind") == "count").to_dicts()}
    if None in counts:
        pytest.skip(f"needs a counter of system calls: {counts[None]['missing']}")
    assert counts["syscall"]["counted"] == counts["syscall"]["calls"]
    if counts["nanotime"]["clocksource"] not in READABLE:
        pytest.skip(f"needs a clock source that the vDSO reads, not {counts['nanotime']['clocksource']}")
    assert [counts[source]["counted"] for source in ("nanotime", "time.Now", "vdso")] == [0, 0, 0]


def test_the_machines_own_clock_is_judged_shown_and_drawn(quick: pl.DataFrame) -> None:
    assert len(Clocks().tables(quick)) == 2
    assert Clocks().draw(quick) is not None
    assert verdict("T3", quick).outcome != "cannot be tested here"
    if set(quick["clocksource"].drop_nulls()) <= set(READABLE):
        other = verdict("T3 fallback", quick)
        assert other.outcome == "cannot be tested here"
        assert "available: " in other.sentence
        assert "--backend guest" in other.sentence


def test_a_counter_that_sees_nothing_is_not_believed() -> None:
    rows = count_here({"nanotime": ["/bin/true"], "syscall": ["/bin/true"]}, Stop(), 1_000)
    assert [set(row) for row in rows] == [{"missing"}]
    assert "install strace" in rows[0]["missing"]


def test_a_program_that_fails_is_named(quick: pl.DataFrame, build_program: BuildProgram) -> None:
    del quick  # it has built the program
    setting = Setting(True, NoBackend(), build_program("sleepbench"), {}, Stop(), lambda text: None, Path())
    with pytest.raises(RunFailed, match=r"reading the clock by .*fewer than the 100 parts"):
        list(rows(setting, Plan(1, 10, 1, 1)))


def series(*steps_ns: int) -> dict[str, Any]:
    return reduced(np.cumsum([1_000_000, *steps_ns]).astype(np.int64))


def test_readings_become_steps() -> None:
    found = series(0, 0, 3, 3, 7, -5, 5_000_001)
    assert dict(zip(found["steps_ns"], found["counts"], strict=True)) == {0: 2, 3: 2, 7: 1, 4_980_736: 1}
    assert (found["backward"], found["least_ns"], found["most_ns"]) == (1, 3, 5_000_001)
    steps = Steps(pl.DataFrame([found]))
    assert [steps.quantile(q) for q in (0.3, 0.5, 0.7, 1)] == [0, 3, 7, 4_980_736]
    assert steps.share(0, 0) == 2 / 6
    assert steps.near_median(3) == 4 / 6
    assert steps.deviation_ns() == 3


def test_long_steps_are_kept_to_a_thirty_second_part() -> None:
    sizes = np.unique(np.geomspace(1, 1e12, 500).astype(np.int64))
    for size in sizes.tolist():
        lower = series(size)["steps_ns"][0]
        assert lower <= size < lower * (1 + 1 / 32) + 1
        assert lower == size or size >= 2_048


@pytest.mark.parametrize(
    ("steps_ns", "grain_ns"),
    [
        ([20] * 50 + [30] * 40 + [31] * 9 + [57], 10),
        ([17, 18, 19, 20, 21, 22, 23, 24, 25, 26] * 10, 1),
        ([40] * 100, None),
        ([40] * 97 + [73] * 3, None),
        ([250, 251, 260, 261, 270, 271, 280] * 20, 10),
        ([], None),
    ],
    ids=["steps of 10", "of 1", "one alone may be the cost", "a rare other", "dear readings", "none"],
)
def test_the_counters_own_step_is_found_where_it_shows(steps_ns: list[int], grain_ns: int | None) -> None:
    assert series(*steps_ns)["grain_ns"] == grain_ns


def readings(
    source: str, steps_ns: tuple[int, ...], cost_ns: float, *, noise: float = 0.01, **more: Any
) -> list[dict[str, Any]]:
    """Runs whose steps go around through ``steps_ns``."""
    made = []
    for block in range(RUNS):
        wave = 1 + noise * (-1) ** block
        steps = [round(each * wave) for each in steps_ns] if noise > 0.1 else list(steps_ns)
        common = {"kind": "run", "clocksource": "tsc", "source": source, "series": "monotonic", "block": block}
        cost = {"calls": 1_000, "elapsed_ns": 9, "cpu_ns": 9, "typical_ns": cost_ns * wave}
        across = {"across_readings": 100, "across_backward": 0, "resolution_ns": 1}
        made.append(common | cost | across | series(*steps * 20) | more)
    return made


def counted(clocksource: str = "tsc", **numbers: int) -> list[dict[str, Any]]:
    common = {"kind": "count", "clocksource": clocksource, "counter": "strace", "calls": 1_000}
    return [{**common, "source": source, "counted": number} for source, number in numbers.items()]


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Clocks().judge(data) if each.claim == claim)


AS_CLAIMED = readings("nanotime", (1, 2, 3), 2), readings("syscall", (15, 20, 25), 150)
ELSE = readings("nanotime", (20, 30, 40), 25), readings("syscall", (220, 300, 900), 450)
NO_CALLS, ALL_CALLS = counted(nanotime=0, syscall=1_000), counted(nanotime=1_000, syscall=1_000)


@pytest.mark.parametrize(
    ("groups", "outcome"),
    [
        ((*AS_CLAIMED, NO_CALLS), "holds"),
        ((*AS_CLAIMED, ALL_CALLS), "holds in part"),
        ((AS_CLAIMED[0], ELSE[1], NO_CALLS), "holds in part"),
        ((*ELSE, ALL_CALLS), "refuted"),
        ((*ELSE, NO_CALLS), "holds in part"),
        (AS_CLAIMED, "cannot be tested here"),
        ((AS_CLAIMED[0], readings("syscall", (15, 20, 25), 300, noise=0.3), NO_CALLS), "cannot be tested here"),
        ((AS_CLAIMED[0][:2], AS_CLAIMED[1][:2], NO_CALLS), "cannot be tested here"),
        ((), "cannot be tested here"),
    ],
    ids=["as claimed", "calls", "dear call", "nothing", "vdso alone", "not counted", "noise", "two runs", "no data"],
)
def test_t3_follows_steps_jitter_cost_and_counts(groups: tuple[list[dict[str, Any]], ...], outcome: str) -> None:
    assert verdict("T3", frame(*groups)).outcome == outcome


@pytest.mark.parametrize(
    ("name", "nanotime", "syscall"),
    [
        ("nanotime step", (4, 5, 6), (15, 20, 25)),
        ("nanotime jitter", (1, 2, 30), (15, 20, 25)),
        ("syscall step", (1, 2, 3), (40, 45, 50)),
        ("syscall jitter", (1, 2, 3), (15, 20, 90)),
    ],
)
def test_t3_tells_which_part_fails(name: str, nanotime: tuple[int, ...], syscall: tuple[int, ...]) -> None:
    found = verdict("T3", frame(readings("nanotime", nanotime, 2), readings("syscall", syscall, 150), NO_CALLS))
    parts = {key: value["holds"] for key, value in found.figures.items() if isinstance(value, dict)}
    assert [key for key, holds in parts.items() if not holds] == [name]


def test_the_figures_of_an_emulated_machine_answer_nothing() -> None:
    marked = [{**row, "mark": "emulated"} for group in AS_CLAIMED for row in group]
    found = verdict("T3", frame(marked, NO_CALLS))
    assert found.outcome == "cannot be tested here"
    assert "emulated" in found.sentence


def test_time_that_runs_backwards_is_told() -> None:
    found = verdict("T3", frame(readings("nanotime", (20, -5), 25, across_backward=3), ELSE[1]))
    assert "steps backwards: 100 of 500 on a thread, 15 of 1,000 by turns on two CPUs" in found.sentence


@pytest.mark.parametrize(
    ("nanotime", "syscall", "told"),
    [
        ((20, 30, 31), (250, 260, 271), "moves by 10 ns"),
        ((20, 40), (250, 260, 271), "moves by 10 ns"),
        ((40, 40), (250, 260, 271), "moves by 10 ns"),
        ((40, 73), (250, 260, 271), None),
        ((40, 40), (250, 250, 250), None),
    ],
    ids=["all show it", "one shows a multiple", "one does not tell", "chance", "none tells"],
)
def test_the_counters_own_step_is_what_all_sources_have_in_common(
    nanotime: tuple[int, ...], syscall: tuple[int, ...], told: str | None
) -> None:
    sentence = verdict("T3", frame(readings("nanotime", nanotime, 25), readings("syscall", syscall, 250))).sentence
    assert (told or "Two readings") in sentence
    assert ("the counter behind" in sentence) is (told is not None)


HPET: dict[str, Any] = {"clocksource": "hpet"}
SAME = readings("nanotime", (900, 1_000), 1_050, **HPET), readings("syscall", (900, 1_000), 1_000, **HPET)
CHEAP = readings("nanotime", (20, 30), 100, **HPET), SAME[1]
TSC = readings("nanotime", (20, 30), 25), readings("syscall", (220, 300), 250)
HPET_CALLS, HPET_NONE = counted("hpet", nanotime=1_010, syscall=1_020), counted("hpet", nanotime=0, syscall=1_000)


@pytest.mark.parametrize(
    ("groups", "outcome"),
    [
        ((*TSC, *SAME), "holds"),
        ((*TSC, *SAME, NO_CALLS, HPET_CALLS), "holds"),
        (SAME, "holds"),
        ((*TSC, *SAME, NO_CALLS, HPET_NONE), "holds in part"),
        ((*TSC, *CHEAP), "holds in part"),
        ((*CHEAP, HPET_NONE), "refuted"),
        ((*TSC, readings("nanotime", (900, 1_000), 1_300, noise=0.5, **HPET), SAME[1]), "cannot be tested here"),
        (TSC, "cannot be tested here"),
        ((), "cannot be tested here"),
    ],
    ids=["same", "counted", "no tsc", "no calls", "cheap", "cheap alone", "noise", "tsc alone", "no data"],
)
def test_the_fallback_follows_costs_and_counts(groups: tuple[list[dict[str, Any]], ...], outcome: str) -> None:
    assert verdict("T3 fallback", frame(*groups)).outcome == outcome


def test_what_a_machine_lacks_is_in_the_tables() -> None:
    lacks = [{"kind": "run", "source": "vdso", "missing": "the kernel maps no vDSO"}]
    lacks += [{"kind": "count", "missing": "no system call was counted"}]
    notes = [note for table in Clocks().tables(frame(*AS_CLAIMED, lacks)) for note in table.notes]
    assert {"the kernel maps no vDSO", "no system call was counted"} <= set(notes)
    assert Clocks().draw(frame(lacks)) is None
