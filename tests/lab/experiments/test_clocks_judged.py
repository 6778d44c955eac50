"""clocks on made data: readings become steps, and its verdicts go each way."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

from nanonap.lab.experiments.clocks.experiment import Clocks
from nanonap.lab.experiments.clocks.runs import SCHEMA
from nanonap.lab.experiments.clocks.steps import Steps, grain_of, reduced
from nanonap.lab.experiments.kit.base import Verdict

RUNS = 5


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
        common = {"kind": "run", "clocksource": "tsc", "source": source, "series": "monotonic", "block": block}
        cost = {"calls": 1_000, "elapsed_ns": 9, "cpu_ns": 9, "typical_ns": cost_ns * wave}
        across = {"across_readings": 100, "across_backward": 0, "resolution_ns": 1}
        made.append(common | cost | across | series(*steps_ns * 20) | more)
    return made


def counted(clocksource: str = "tsc", **numbers: int) -> list[dict[str, Any]]:
    common = {"kind": "count", "clocksource": clocksource, "counter": "strace", "calls": 1_000}
    return [{**common, "source": source, "counted": number} for source, number in numbers.items()]


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Clocks().judge(data) if each.claim == claim)


AS_CLAIMED = readings("nanotime", (1, 2, 3), 2), readings("syscall", (285, 300, 315), 290)
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
        (AS_CLAIMED, "not settled"),
        ((AS_CLAIMED[0], readings("syscall", (285, 300, 315), 300, noise=0.3), NO_CALLS), "not settled"),
        ((AS_CLAIMED[0][:2], AS_CLAIMED[1][:2], NO_CALLS), "not settled"),
        ((), "cannot be tested here"),
    ],
    ids=["as claimed", "calls", "dear call", "nothing", "vdso alone", "not counted", "noise", "two runs", "no data"],
)
def test_t3_follows_steps_jitter_cost_and_counts(groups: tuple[list[dict[str, Any]], ...], outcome: str) -> None:
    assert verdict("T3", frame(*groups)).outcome == outcome


@pytest.mark.parametrize(
    ("name", "nanotime", "syscall"),
    [
        ("nanotime step", (20, 24, 28), (285, 300, 315)),
        ("nanotime jitter", (1, 2, 30), (285, 300, 315)),
        ("syscall step", (1, 2, 3), (280, 290, 300)),
        ("syscall jitter", (1, 2, 3), (300, 315, 450)),
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
    assert (told or "Two readings in a row by nanotime") in sentence
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
        ((*TSC, readings("nanotime", (900, 1_000), 1_300, noise=0.5, **HPET), SAME[1]), "not settled"),
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


def test_the_clocks_step_is_judged_and_not_how_far_readings_are_apart() -> None:
    own, calls = readings("nanotime", (20, 21, 22, 24, 25, 27), 23), readings("syscall", (285, 300, 315), 290)
    found = verdict("T3", frame(own, calls, NO_CALLS))
    assert found.figures["nanotime step"]["holds"]
    assert "the clock moves in steps of 1 ns (claimed: 1 ns), and the least between two is 20 ns" in found.sentence
    assert "since a reading costs 23 ns: no two are 1 ns apart" in found.sentence
    alike = verdict("T3", frame(readings("nanotime", (40, 40), 40), readings("syscall", (250, 250), 250), NO_CALLS))
    assert alike.figures["nanotime step"]["holds"] is None
    chance = verdict("T3", frame(readings("nanotime", (40, 73), 50), readings("syscall", (250, 260, 271), 250)))
    assert chance.figures["nanotime step"]["holds"] is None


@pytest.mark.parametrize(
    ("grains_ns", "counter_ns"),
    [((10, 10, 7), 10), ((10, 20, 20), 20), ((10, 10, 25, 25), 5), ((1, 1, 10), 1), ((None, None), None)],
    ids=["one by chance", "a multiple", "as often", "the unit", "none tells"],
)
def test_the_counters_step_is_what_most_runs_tell(grains_ns: tuple[int | None, ...], counter_ns: int | None) -> None:
    rows = [{"source": "nanotime", "series": "monotonic", "grain_ns": each} for each in grains_ns]
    assert grain_of(pl.DataFrame(rows, schema=SCHEMA)) == counter_ns


@pytest.mark.parametrize(
    ("cost_ns", "told", "title"), [(25, "1 times", "about a reading's cost"), (100, "0.25 times", "0.25 to 1 times")]
)
def test_how_far_readings_are_apart_is_computed(cost_ns: int, told: str, title: str) -> None:
    data = frame(readings("nanotime", (25, 25), cost_ns), readings("syscall", (250, 250), 250))
    assert f"Two readings in a row by nanotime are {told} what one costs apart" in verdict("T3", data).sentence
    figure = Clocks().draw(data)
    assert figure is not None
    assert any(title in text.get_text() for text in figure.findobj(Text))
