"""foretold for real, and its verdicts on made data, each way."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from nanonap.lab.experiments.foretold.experiment import ARMS, SCHEMA, Foretold
from nanonap.lab.experiments.kit.base import Outcome, Setting

BLOCKS = 8


def made(*, saved: float, cpu: float) -> pl.DataFrame:
    """What advise tells is ``saved`` and ``cpu`` times what is then seen."""
    rows = []
    for block in range(BLOCKS):
        wave = 1 + 0.02 * (-1) ** block
        for arm, late_ns, took in (("stock", 1_000_000.0, 0.02), ("netpoll", 60_000.0, 0.1)):
            for told in (True, False):
                late = late_ns if arm == "stock" else 1_000_000 - 940_000 * (saved * wave if told else 1)
                values = (late, 2 * late, took * (cpu * wave if told else 1))
                rows.append(("one", arm, told, block, *values))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.mark.parametrize(
    ("saved", "cpu", "outcomes"),
    [
        (1.05, 0.9, ["holds", "holds"]),
        (0.7, 1.2, ["refuted", "holds"]),
        (1.1, 1.5, ["holds", "refuted"]),
        (1.2, 1.3, ["not settled", "not settled"]),
    ],
)
def test_the_verdicts(saved: float, cpu: float, outcomes: list[Outcome]) -> None:
    assert [each.outcome for each in Foretold().judge(made(saved=saved, cpu=cpu))] == outcomes


def test_a_work_in_which_little_is_saved_says_nothing_of_lateness() -> None:
    data = made(saved=1, cpu=1).with_columns(late_p50_ns=pl.lit(50_000.0))
    assert [each.outcome for each in Foretold().judge(data)] == ["cannot be tested here", "holds"]


@pytest.mark.long
def test_its_quick_form_runs_and_is_shown(setting: Setting, tmp_path: Path) -> None:
    own = Path(shutil.copy2(setting.program, tmp_path / "own"))  # no process of it is injected meanwhile
    data = Foretold().run(replace(setting, program=own))
    assert set(data["arm"]) == {"stock", *ARMS}
    assert data.filter(pl.col("told")).height == data.filter(~pl.col("told")).height > 0
    assert data["cpu"].min() > 0  # type: ignore[operator]
    assert len(Foretold().tables(data)) == 1
