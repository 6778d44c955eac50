"""The runs apart that tell where the time went: kept, read back, summed up; and what is said where nothing is known."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nanonap.lab.attribution.attribute import PARTS, SLEEPS, STATES, Attribution
from nanonap.lab.ground.errors import BadResult
from nanonap.lab.main import run_bench
from nanonap.lab.plan.conditions import COST, PRIMARY, Condition, parse_load
from nanonap.lab.plan.schedule import SIZES, Run
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.limits import parse_quota
from nanonap.lab.run.explain import SLEEPS_FILE, Explained, parts_summary, read_explained, runs_to_explain
from tests.lab.made import GO, Roots
from tests.lab.test_schedule import ARMS

LOADED = Condition(parse_quota("50%"), parse_load("burn:1"))


def _run(arm: str, condition: Condition = LOADED) -> Run:
    return Run(0, next(each for each in ARMS if each.name == arm), condition, ((1_000_000, 5),), 0, seed=1)


def _attribution(parts: list[int]) -> Attribution:
    row = [0, 0, 1_000_000, 5, 1_000_000 + sum(parts), sum(parts), *parts]
    sleeps = pl.DataFrame([row], schema=dict.fromkeys(SLEEPS, pl.Int64), orient="row")
    return Attribution("tracepoints", sleeps, pl.DataFrame([(1, "running", 0, 9)], schema=STATES, orient="row"), 0, 0)


def test_what_was_recorded_is_read_back_with_its_arm_and_condition(tmp_path: Path) -> None:
    explained = Explained()
    explained.add(_run("stock"), _attribution([1, 2, 3, 4, 5]))
    explained.add(_run("netpoll+slack1", PRIMARY), _attribution([10, 0, 0, 0, 0]))
    explained.write(tmp_path)
    read = read_explained(tmp_path)
    assert read is not None
    rows = parts_summary(read[0])
    assert [(row.arm, row.quota, row.load, row.n) for row in rows] == [
        ("netpoll+slack1", "none", "quiet", 1),
        ("stock", "50%", "burn:1", 1),
    ]
    assert [getattr(rows[1], part) for part in PARTS] == [1, 2, 3, 4, 5]
    assert read[1].height == 2


def test_parts_that_are_not_the_whole_are_refused(tmp_path: Path) -> None:
    explained = Explained()
    explained.add(_run("stock"), _attribution([1, 2, 3, 4, 5]))
    explained.write(tmp_path)
    frame = pl.read_parquet(tmp_path / SLEEPS_FILE).with_columns(pl.col(PARTS[0]) + 1)
    frame.write_parquet(tmp_path / SLEEPS_FILE)
    with pytest.raises(BadResult, match="the parts are not the overshoot"):
        read_explained(tmp_path)


def test_nothing_recorded_is_nothing_said(tmp_path: Path) -> None:
    Explained().write(tmp_path)
    assert read_explained(tmp_path) is None


def test_stock_and_what_a_user_would_take_are_recorded_in_every_condition_but_the_cost_workload() -> None:
    block = [_run(arm, condition) for arm in ("stock", "usleep", "netpoll+slack1") for condition in (LOADED, COST)]
    chosen = runs_to_explain(block, SIZES["default"])
    assert {(run.arm.name, run.condition) for run in chosen} == {("stock", LOADED), ("netpoll+slack1", LOADED)}
    assert {run.max_time_ns for run in chosen} == {SIZES["default"].recorded_ns}


def test_a_bench_under_quota_says_where_the_time_went_and_shows_it(
    roots: Roots, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_bench(
        "quick",
        arms="stock",
        requested="1ms",
        quota="20%",
        load="burn:1",
        backend=backend.name,
        go=GO,
        as_json=True,
        build_root=roots.build,
        patched_root=roots.patched,
        results=roots.results,
    )
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    (row,) = document["attribution"]
    assert row["arm"] == "stock"
    assert sum(row[part] for part in PARTS) == pytest.approx(row["overshoot_ns"])
    assert document["bench"]["attribution"]["methods"]
    assert "Where the time went" in (folder / "report.html").read_text()
    assert (folder / "attribution.png").exists()
    assert (folder / "timeline.png").exists()
