"""wakeup for real, and its verdicts on made data, each way."""

from typing import Any

import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.wakeup.experiment import SCHEMA, Wakeup, _Plan
from nanonap.lab.experiments.wakeup.verdicts import (
    FLOOR,
    NEEDED,
    ONE_P,
    QUEUED,
    REBUILT,
    RUNTIMES,
    SLEEPS,
    WORK,
    part,
)
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.plan.arms import PRECISE

BLOCKS = 12
DONE = 1_000
CPU = {FLOOR: 10.0, ONE_P: 12.0, QUEUED: 15.0, NEEDED: 16.0, REBUILT: 20.0, PRECISE: 20.0}


def rows(what: str, arm: str, *, cpu: float, late: float, disturbed: int = 0) -> list[dict[str, Any]]:
    """Twelve blocks in which a piece takes ``cpu`` µs and is late by ``late``; of some of them ten times that."""
    made = []
    for block in range(BLOCKS):
        wave = (1 + 0.01 * (-1) ** (block + len(arm))) * (10 if block < disturbed else 1)
        values = {"what": what, "arm": arm, "block": block, "done": DONE, "wall_ns": 10**8, "nvcsw": 3 * DONE}
        values |= {"cpu_ns": int(cpu * wave * DONE * 1_000), "late_p50_ns": int(late * wave * 1_000)}
        made.append(values | {"late_p99_ns": int(late * wave * 3_000)})
    return made


def frame(
    *, cpu: dict[str, float] | None = None, late: dict[str, float] | None = None, work: float = 1.0
) -> pl.DataFrame:
    """``cpu``, ``late``: of arms, in µs; ``work``: of the parallel work's latency without the second thread."""
    made = []
    for what in SLEEPS:
        for arm, takes in (CPU | (cpu or {})).items():
            made += rows(what, arm, cpu=takes, late=(late or {}).get(arm, 20.0), disturbed=1)
    for what in WORK:
        for arm in RUNTIMES:
            slower = work if arm == QUEUED and what == "beside" else 1.0
            made += rows(what, arm, cpu=50.0, late=100.0 * slower, disturbed=1)
    return pl.DataFrame(made, schema=SCHEMA)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Wakeup().judge(data) if each.claim == claim)


@pytest.mark.campaign
def test_the_real_programs_sleep_and_work_with_every_runtime(setting: Setting) -> None:
    data = Wakeup().run(setting)
    found = {(what, arm) for what, arm in data.select("what", "arm").unique().iter_rows()}
    assert found == {
        *((work, arm) for work in WORK for arm in RUNTIMES),
        *((sleep, arm) for sleep in ("100 µs", "50 of 1 ms") for arm in (*RUNTIMES, PRECISE, ONE_P)),
        ("100 µs", FLOOR),
    }
    assert [each.title for each in Wakeup().tables(data)] == ["One timer's wake-up", "Parallel work"]
    assert {each.claim for each in Wakeup().judge(data)} == {"K1", "K2", "K3", "K4"}


def test_a_backend_whose_programs_run_elsewhere_is_refused(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(setting.backend), "elsewhere", True)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        Wakeup().run(setting)


@pytest.mark.campaign
def test_work_that_fails_is_told(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanonap.lab.experiments.wakeup.experiment.WORK", ("nothing",))
    monkeypatch.setattr("nanonap.lab.experiments.wakeup.experiment._QUICK", _Plan((), 1, 10_000_000))
    with pytest.raises(RunFailed, match="parallel -kind nothing: exit status 2"):
        Wakeup().run(setting)


def test_parts_are_differences_in_the_same_block_that_disturbed_blocks_do_not_move() -> None:
    data = frame()
    pairs = {"kernel": (FLOOR, None), "scheduler": (ONE_P, FLOOR), "arming": (QUEUED, ONE_P)}
    pairs["firing"] = (REBUILT, QUEUED)
    found = {name: part(data, "cpu", "100 µs", *arms) for name, arms in pairs.items()}
    middles = {name: round(each[0] / 1_000) for name, each in found.items() if each is not None}
    assert middles == {"kernel": 10, "scheduler": 2, "arming": 3, "firing": 5}
    for each in found.values():
        assert each is not None
        assert each[1] is not None
        assert each[1][1] < 1.2 * each[0]


def test_less_cpu_and_no_later_holds_and_each_can_fail() -> None:
    assert verdict("K1", frame()).outcome == "holds"
    assert verdict("K1", frame(cpu={QUEUED: 25.0})).outcome == "holds in part"
    later = verdict("K1", frame(late={QUEUED: 30.0}))
    assert later.outcome == "holds in part"
    assert later.figures["parts"]["no later, 1 ms"] is False
    assert verdict("K1", frame(cpu={QUEUED: 25.0}, late={QUEUED: 30.0})).outcome == "refuted"


def test_the_second_thread_is_most_of_what_the_kernel_does_not_take_or_not() -> None:
    assert verdict("K2", frame()).outcome == "holds"  # 8 of 10 µs
    assert verdict("K2", frame(cpu={ONE_P: 18.0})).outcome == "refuted"
    few = frame().filter(pl.col("block") < 3)
    assert verdict("K2", few).outcome == "not settled"


def test_a_sleeper_that_is_late_beside_a_computing_goroutine_is_told() -> None:
    assert verdict("K3", frame()).outcome == "holds"
    worse = verdict("K3", frame(work=3.0))
    assert worse.outcome == "holds in part"
    assert worse.figures["parts"]["beside, latency"] is False
    assert verdict("K4", frame(work=3.0)).outcome == "holds"


def test_tables_have_every_part_and_arm() -> None:
    split, parallel = Wakeup().tables(frame())
    assert [each.heading for each in split.sections] == [
        "100 µs: its parts", "100 µs: as measured", "1 ms: its parts", "1 ms: as measured", "50 of 1 ms: as measured",
    ]  # fmt: skip
    assert split.sections[0].rows[-1][:2] == ["the whole", "20.2 µs [19.8 µs, 20.2 µs]"]
    assert [each.heading for each in parallel.sections] == list(WORK.values())
    assert [row[0] for row in parallel.sections[0].rows] == list(RUNTIMES)


def test_without_runs_nothing_is_said() -> None:
    data = frame().clear()
    assert {each.outcome for each in Wakeup().judge(data)} == {"cannot be tested here"}
    assert [each.sections for each in Wakeup().tables(data)] == [[], []]
