"""The experiment ``stretch``: its verdicts come out each way on made data, and its quick form runs."""

import numpy as np
import polars as pl
import pytest

from nanonap.lab.experiments.kit.base import Setting, Verdict
from nanonap.lab.experiments.stretch.experiment import BUSY, QUIET, QUOTA, SCHEMA, Stretch

MS = 1_000_000
PERIOD_MS, STALL_MS = 100, 75  # half a CPU, two busy threads on two CPUs


def _data(*, quiet_by: float = 1.0, stall_ms: float = STALL_MS, throttled: int = 20, blocks: int = 12) -> pl.DataFrame:
    """Sleeps as the model has them, with stalls of ``stall_ms``, and quiet ones ``quiet_by`` times as long."""
    asked = [(100 + 10 * step + 5) * MS for step in range(10)]
    rows = []
    for block in range(blocks):
        dice = np.random.default_rng(block)
        for wanted in asked:
            into_the_period = dice.uniform(0, PERIOD_MS)
            late = max(0.0, into_the_period - (PERIOD_MS - stall_ms))
            usual = wanted + MS + block
            for load, quota, actual in (
                (QUIET, "none", usual),
                (QUIET, str(QUOTA), int(usual * quiet_by)),
                (BUSY, "none", usual),
                (BUSY, str(QUOTA), usual + int(late * MS)),
            ):
                rows.append((str(load), quota, block, 2, wanted, actual, 20, throttled))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _verdicts(data: pl.DataFrame) -> dict[str, Verdict]:
    return {each.claim: each for each in Stretch().judge(data)}


def test_what_the_model_says_holds() -> None:
    found = _verdicts(_data())
    assert found["M1"].outcome == "holds"
    assert found["M2"].outcome == "holds", found["M2"].sentence


@pytest.mark.parametrize("stall_ms", [20, 98])
def test_shorter_and_longer_stalls_than_the_models_refute_it(stall_ms: float) -> None:
    assert _verdicts(_data(stall_ms=stall_ms))["M2"].outcome == "refuted"


def test_a_stretched_quiet_sleeper_refutes_it() -> None:
    found = _verdicts(_data(quiet_by=1.5))["M1"]
    assert found.outcome == "refuted"
    assert "1.50 ×" in found.sentence


def test_a_group_that_was_hardly_stopped_says_nothing_of_the_model() -> None:
    found = _verdicts(_data(throttled=5))["M2"]
    assert found.outcome == "not settled"
    assert "25%" in found.sentence


def test_too_few_runs_settle_nothing() -> None:
    assert {each.outcome for each in _verdicts(_data(blocks=1)).values()} == {"not settled"}


def test_the_table_has_what_was_predicted_beside_what_was_measured() -> None:
    (table,) = Stretch().tables(_data())
    assert table.sections[0].rows[0][0].startswith("quiet")
    assert all(row[3] in ("agrees", "–") for row in table.sections[0].rows)


@pytest.mark.long
def test_its_quick_form_runs_and_is_judged_and_drawn(setting: Setting) -> None:
    data = Stretch().run(setting)
    assert data.schema == SCHEMA
    assert (data["actual_ns"] >= data["requested_ns"]).all()
    assert set(data["load"].unique()) == {str(QUIET), str(BUSY)}
    assert {each.claim for each in Stretch().judge(data)} == {"M1", "M2"}
    assert Stretch().draw(data).axes
