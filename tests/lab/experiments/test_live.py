"""live for real, and its verdicts on made data, each way."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.live import experiment
from nanonap.lab.experiments.live.experiment import REQUESTED, SCHEMA, Live
from nanonap.lab.experiments.live.verdicts import EJECTED, LIVE, STANDING, STOCK
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.plan.arms import PRECISE

MS = 1_000_000


def frame(
    runs: int = 20,
    times: dict[str, float] | None = None,
    pauses_ms: tuple[float, float] = (0.4, 30),
    late: float = 1,
) -> pl.DataFrame:
    """Runs whose sleeps last the same within 2 %, those of an arm so many ``times`` as long; pauses by their medians
    with 20 and 1,000 threads, of which one in twenty is ``late`` times as long.
    """
    dice, rows = np.random.default_rng(1), list[dict[str, Any]]()
    for block in range(runs):
        for arm in (STOCK, EJECTED, PRECISE, LIVE):
            for each in REQUESTED:
                middle = (1.1 * MS if arm in (STOCK, EJECTED) else each + 28_000) * (times or {}).get(arm, 1)
                actual = np.sort(dice.normal(middle, middle / 50, 40).astype(np.int64)).tolist()
                rows.append({"what": arm, "block": block, "requested_ns": each, "actual_ns": actual})
        for threads, ms in zip((20, 1_000), pauses_ms, strict=True):
            pauses = (dice.normal(ms, ms / 50, 20) * MS).astype(np.int64)
            pauses[0] = int(pauses[0] * late)
            more = {"about_threads": threads, "threads": threads, "pauses_ns": pauses.tolist(), "tries": 20}
            rows.append({"what": STANDING, "block": block, **more})
    return pl.DataFrame(rows, schema=SCHEMA, infer_schema_length=None)


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in Live().judge(data) if each.claim == claim)


@pytest.mark.long
def test_real_processes_are_injected_and_ejected(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_QUICK", experiment._Plan(1, 5, {20: 1}))
    data = Live().run(setting)
    changes = {what: data.filter(pl.col("what") == what)["pauses_ns"][0] for what in data["what"].unique()}
    assert {what: None if each is None else len(each) for what, each in changes.items()} == {
        STOCK: None, PRECISE: None, LIVE: 1, EJECTED: 2, STANDING: 2,
    }  # fmt: skip
    assert data.filter(pl.col("what") == STANDING)["threads"][0] > 14  # those asked for, and the runtime's own
    sleeps = data.filter(pl.col("requested_ns").is_not_null())
    assert sleeps["actual_ns"].list.len().unique().to_list() == [5]
    assert {each.outcome for each in Live().judge(data)} == {"not settled"}  # of one run
    assert len(Live().tables(data)) == 2
    assert Live().draw(data) is not None


def test_a_backend_whose_programs_run_elsewhere_is_refused(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(setting.backend), "elsewhere", True)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        Live().run(setting)


@pytest.mark.parametrize(
    ("times", "injected", "ejected"),
    [
        ({}, "holds", "holds"),
        ({LIVE: 1.03, EJECTED: 0.97}, "holds", "holds"),
        ({LIVE: 1.1}, "refuted", "holds"),
        ({LIVE: 0.9}, "refuted", "holds"),
        ({EJECTED: 0.9}, "holds", "refuted"),
        ({LIVE: 1.05, STOCK: 1.05}, "not settled", "not settled"),
    ],
)
def test_equal_is_within_five_per_cent_by_the_whole_interval(
    times: dict[str, float], injected: str, ejected: str
) -> None:
    data = frame(times=times)
    assert [verdict(claim, data).outcome for claim in ("L1", "L2")] == [injected, ejected]


def test_too_few_runs_settle_nothing() -> None:
    data = frame(9)
    assert [each.outcome for each in Live().judge(data)] == ["not settled"] * 3
    assert "too few runs: take more" in verdict("L1", data).sentence


def test_runs_are_the_unit_and_not_their_sleeps() -> None:
    """Two thousand sleeps, half of whose runs last a tenth longer: what the median is, ten runs do not say."""
    data = frame(10).with_columns(
        pl.when((pl.col("what") == LIVE) & (pl.col("block") % 2 == 0))
        .then(pl.col("actual_ns").list.eval((pl.element() * 1.1).cast(pl.Int64)))
        .otherwise(pl.col("actual_ns"))
        .alias("actual_ns")
    )
    assert verdict("L1", data).outcome == "not settled"


@pytest.mark.parametrize(
    ("pauses_ms", "late", "outcome", "told"),
    [
        ((0.4, 30), 1, "holds", ["yes", "yes", "yes"]),
        ((0.4, 30), 100, "holds in part", ["yes", "no", "no"]),
        ((3, 30), 1, "holds in part", ["no", "yes", "yes"]),
        ((20, 80), 1, "refuted", ["no", "no", "no"]),
        ((1, 30), 1, "not settled", ["not settled", "yes", "yes"]),
    ],
)
def test_pauses_are_held_against_their_goals(
    pauses_ms: tuple[float, float], late: float, outcome: str, told: list[str]
) -> None:
    found = verdict("L3", frame(pauses_ms=pauses_ms, late=late))
    parts = [part.rpartition(": ")[2] for part in found.sentence.split("; ")[:3]]
    assert (found.outcome, parts) == (outcome, told)


def test_without_its_base_nothing_is_judged() -> None:
    data = frame().filter(~pl.col("what").is_in([PRECISE, STANDING]))
    assert [each.outcome for each in Live().judge(data)] == ["cannot be tested here", "holds", "cannot be tested here"]
    assert len(Live().tables(data)) == 2


def test_tables_have_a_row_a_duration_and_a_size() -> None:
    sleeps, pauses = Live().tables(frame(times={LIVE: 2}))
    assert [row[0] for row in sleeps.sections[0].rows] == ["50 µs", "100 µs", "500 µs", "1 ms"]
    assert sleeps.sections[0].rows[0][1:3] == ["78.0 µs", "156 µs"]
    assert sleeps.sections[0].rows[0][3].startswith("2.00 × [")
    assert [row[:3] for row in pauses.sections[0].rows] == [["20", "400", "0"], ["1,000", "400", "0"]]
