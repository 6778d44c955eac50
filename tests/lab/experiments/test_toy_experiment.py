"""A new experiment is a folder with a class of the face, and a line in the table: the door and the claims then know it.

The toy asks a shell, and needs no quota.
"""

from pathlib import Path

import polars as pl
import pytest

from nanonap.lab.claims.answers import answers
from nanonap.lab.claims.data import Source, adopt, read
from nanonap.lab.claims.rows import Row
from nanonap.lab.experiments.main import DATA, EXPERIMENTS, judged, make_experiment, run_experiment, show
from nanonap.toolchain.build import build
from tests.lab.experiments.toy.experiment import Toy

TOY = Source("toy")
CLAIM = Row("Y1", "statuses are handed on", "A command ends as it is told.", "wait(2)", (TOY,), ("Y1",), "")


@pytest.fixture(autouse=True)
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPERIMENTS, "toy", "tests.lab.experiments.toy.experiment:Toy")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    build()
    return run_experiment("toy", quick=True, out=tmp_path / "results" / "toy" / "kept", inside_limit=True)


def test_it_is_made_by_its_name() -> None:
    assert isinstance(make_experiment("toy"), Toy)


def test_it_is_run_and_kept_and_shown_with_its_verdict(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = judged(kept)
    assert (made.about.experiment, made.about.quick, made.about.backend.name) == ("toy", True, "none")
    assert [(each.claim, each.outcome, each.figures) for each in made.verdicts] == [("Y1", "holds", {"wrong": 0})]
    document = made.to_json()
    assert (document["question"], document["rows"], document["picture"]) == (Toy.question, 2, None)
    show(kept)
    shown = capsys.readouterr().out
    assert Toy.question in shown
    assert "Y1: holds" in shown


def test_its_verdicts_come_from_its_data_alone(kept: Path) -> None:
    pl.read_parquet(kept / DATA).with_columns(status=pl.lit(1)).write_parquet(kept / DATA)
    (verdict,) = judged(kept).verdicts
    assert verdict.outcome == "refuted"
    assert verdict.sentence.startswith("0 of 2 commands")


def test_a_claim_that_names_it_is_answered_by_its_newest_run(kept: Path, tmp_path: Path) -> None:
    assert [each.outcome for each in answers({}, [CLAIM])] == ["not settled"]
    assert adopt(tmp_path / "claims", TOY, kept.parents[1], quick=True, inside_limit=True)
    record = read(tmp_path / "claims", TOY)
    assert record is not None
    (answer,) = answers({TOY: record}, [CLAIM])
    assert (answer.outcome, answer.lacking) == ("holds", ())
    assert [(found.source, verdict.claim) for found, verdict in answer.told] == [(TOY, "Y1")]
