"""clocks for real on this machine."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.experiments.clocks.counts import count_here
from nanonap.lab.experiments.clocks.experiment import Clocks
from nanonap.lab.experiments.clocks.runs import READABLE, SOURCES, Plan, rows
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.none import NoBackend
from tests.conftest import BuildProgram
from tests.patience import wait_until


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
    own, other = Clocks().judge(quick)
    assert own.outcome != "cannot be tested here"
    if set(quick["clocksource"].drop_nulls()) <= set(READABLE):
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


class Elsewhere(NoBackend):
    """This machine, as a container is one: its programs are another place's, and its kernel is this one's."""

    name: ClassVar[str] = "elsewhere"
    elsewhere: ClassVar[bool] = True


def test_calls_made_in_a_container_are_not_counted_here(quick: pl.DataFrame, build_program: BuildProgram) -> None:
    del quick  # it has built the program
    setting = Setting(True, Elsewhere(), build_program("sleepbench"), {}, Stop(), lambda text: None, Path())
    counts = [row for row in rows(setting, Plan(1, 100, 100, 100)) if row["kind"] == "count"]
    assert [set(row) for row in counts] == [{"kind", "missing"}]
    assert "not counted in elsewhere" in counts[0]["missing"]


def test_a_killed_count_leaves_no_folder(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace, beside which a count runs for long")
    script = (
        "from nanonap.lab.experiments.clocks.counts import count_here\n"
        "from nanonap.lab.ground.interrupt import Stop\n"
        "count_here({'syscall': ['/bin/sleep', '30']}, Stop(), 1)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as process:
        wait_until(lambda: any(tmp_path.glob("*/counts")))
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(tmp_path.iterdir()))
