"""The model's row for a condition says what was predicted, what was measured, and whether the two agree."""

from pathlib import Path
from typing import Any

import pytest

from nanonap.lab.judge.analysis import Summary, analyse
from nanonap.lab.show.further_tables import model_tables
from nanonap.lab.show.report import as_markdown
from nanonap.lab.store.read import load
from tests.lab.made import FakeRun, write_result

PERIODS = 100


def _summary(folder: Path, quota: str, neighbours: str, stall_ms: float, **change: Any) -> Summary:
    """Ten runs in which every period had a stall of about ``stall_ms`` on each of the busy threads."""
    busy = 2 if neighbours.endswith(":2") else 1
    runs = []
    for block in range(10):
        stopped_ns = int(PERIODS * busy * (stall_ms + 0.01 * block) * 1e6)
        stopped = (PERIODS, PERIODS, stopped_ns)
        host = {"kernel": "6.18.0", "cpus_allowed": 2, "timer_slack_ns": 50_000}
        runs.append(
            FakeRun(
                "stock",
                {1_000_000: [2_000_000]},
                block,
                quota,
                neighbours,
                throttling=stopped,
                change={"method": "sleep", "host": host, **change},
            )
        )
    return analyse(load(write_result(folder, runs))).summary


@pytest.mark.parametrize(
    ("quota", "neighbours", "stall_ms", "outcome"),
    [
        ("50%", "burn:1", 50, "agrees"),
        ("50%", "burn:2", 75, "agrees"),
        ("20%/20ms", "sibling:1", 16, "agrees"),
        ("50%", "gc:1", 20, "differs"),
        ("50%", "burn:2", 50, "differs"),
    ],
)
def test_a_condition_with_busy_neighbours_has_its_stall_predicted_and_compared(
    tmp_path: Path, quota: str, neighbours: str, stall_ms: float, outcome: str
) -> None:
    summary = _summary(tmp_path / "result", quota, neighbours, stall_ms)
    (row,) = summary.model
    assert row.outcome == outcome
    assert row.measured_stall_ns == pytest.approx(stall_ms * 1e6, rel=0.01)
    (table,) = model_tables(summary)
    assert table.sections[0].rows[0][0] == f"{quota}, {neighbours}"
    assert ("differs: predicted" in " ".join(table.notes)) == (outcome == "differs")
    assert table.title in as_markdown(summary)


def test_burners_beyond_gomaxprocs_do_not_run_at_once(tmp_path: Path) -> None:
    one = {"condition": {"quota": "50%", "load": "burn:2", "gomaxprocs": 1, "gomaxprocs_set": True}}
    (row,) = _summary(tmp_path / "result", "50%", "burn:2", 25, **one).model
    assert row.busy == 1
    assert row.stall_ns == 50_000_000


@pytest.mark.parametrize(("quota", "neighbours"), [("none", "burn:1"), ("50%", "quiet"), ("50%", "sleepers:50")])
def test_without_a_quota_or_busy_neighbours_there_is_nothing_to_predict(
    tmp_path: Path, quota: str, neighbours: str
) -> None:
    summary = _summary(tmp_path / "result", quota, neighbours, 0)
    assert summary.model == []
    assert model_tables(summary) == []


def test_the_floor_which_holds_a_processor_more_is_left_out(tmp_path: Path) -> None:
    assert _summary(tmp_path / "result", "50%", "burn:1", 50, method="floor").model == []


def test_the_sleepers_own_stop_on_another_cpu_may_add_to_the_sum(tmp_path: Path) -> None:
    (one,) = _summary(tmp_path / "one", "50%", "burn:1", 70).model
    assert one.outcome == "agrees", "a CPU is free for the sleeper, whose stops are in the sum"
    (both,) = _summary(tmp_path / "both", "50%", "burn:2", 90).model
    assert both.outcome == "differs", "the busy threads have all CPUs"
