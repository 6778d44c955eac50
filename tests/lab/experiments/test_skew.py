"""skew for real: the stages' order and sum, what is counted, and what is said where something is not to be had."""

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import patcher
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.skew.experiment import Skew
from nanonap.lab.experiments.skew.recorder import BPFTRACE, TRACEFS
from nanonap.lab.experiments.skew.rows import SLEEP, STAT, TIMERFD, UNRECORDED
from nanonap.lab.experiments.skew.runs import ARMS, QUICK, Plan, rows
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.docker import DockerBackend
from nanonap.lab.quota.none import NoBackend
from tests.conftest import BuildProgram
from tests.lab.attribution.tracing import needs_tracing
from tests.lab.experiments.recorders import needs_bpftrace

IN_ORDER = ("expiry_ns", "wakeup_ns", "running_ns", "exit_ns", "goroutine_ns")
ONCE = Plan(((1_000_000, 10),), 1, 5)
SLEEPS = QUICK.blocks * sum(count for _, count in QUICK.sleeps)


@pytest.fixture(scope="module")
def data(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """One quick run of every arm."""
    needs_tracing()
    folder, program = tmp_path_factory.mktemp("skew"), build_program("sleepbench")
    how: dict[str, tuple[str, int | None]] = {
        "netpoll": ("netpoll", None), "netpoll+slack1": ("netpoll", 1), "floor+slack1": ("slack", 1)
    }  # fmt: skip
    files = {"floor": program}
    for arm, (strategy, slack_ns) in how.items():
        files[arm] = folder / arm
        patcher.patch(program, files[arm], strategy, slack_ns=slack_ns)
    return Skew().run(Setting(True, NoBackend(), program, files, Stop(), lambda text: None, folder))


def sleeps_of(data: pl.DataFrame) -> pl.DataFrame:
    best = BPFTRACE if BPFTRACE in set(data["method"]) else TRACEFS
    return data.filter(pl.col("part") == SLEEP, pl.col("method") == best)


def least(values: pl.Series) -> int:
    return min(map(int, values.drop_nulls()))


@pytest.mark.long
def test_the_stages_of_every_arm_are_in_order_and_make_up_what_is_late(data: pl.DataFrame) -> None:
    sleeps = sleeps_of(data)
    assert dict(sleeps.group_by("arm").len().iter_rows()) == dict.fromkeys(ARMS, SLEEPS)
    # tracefs may have seen none of an arm whole: then the verdict says so.
    whole = sleeps.drop_nulls(["rounding_ns", *IN_ORDER])
    assert (whole.select(pl.sum_horizontal("rounding_ns", *IN_ORDER)).to_series() == whole["late_ns"]).all()
    cut = 0 if BPFTRACE in set(whole["method"]) else 1_000
    assert all(least(whole[stage]) >= -cut for stage in IN_ORDER if whole.height)


def test_bpftrace_sees_every_arm_whole_and_drops_nothing(data: pl.DataFrame) -> None:
    needs_bpftrace()
    seen = data.filter(pl.col("method") == BPFTRACE)
    assert set(seen.drop_nulls(["rounding_ns", *IN_ORDER])["arm"]) == set(ARMS)
    # Of each run the last wait has no line, and some have none that interrupt the script.
    floor = seen.filter(pl.col("arm").str.starts_with("floor"))
    assert floor["expiry_ns"].null_count() <= 0.5 * floor.height
    assert int(seen["lost"].sum()) == 0


def test_every_arm_runs_without_a_recorder_too(data: pl.DataFrame) -> None:
    apart = data.filter(pl.col("part") == UNRECORDED)
    assert dict(apart.group_by("arm").len().iter_rows()) == dict.fromkeys(ARMS, SLEEPS)
    assert apart["late_ns"].null_count() == 0
    assert apart["method"].null_count() == apart["expiry_ns"].null_count() == apart.height


def test_what_the_kernel_was_asked_for_is_seen(data: pl.DataFrame) -> None:
    asked = sleeps_of(data).filter(pl.col("requested_ns") == 100_000).drop_nulls("slack_ns")
    by_arm = {str(arm): part for (arm,), part in asked.group_by("arm")}
    assert least(by_arm["stock"]["rounding_ns"]) >= 900_000  # a millisecond at least
    assert least(by_arm["floor"]["rounding_ns"]) >= 0
    own = int(Path("/proc/self/timerslack_ns").read_text(encoding="ascii"))
    assert set(by_arm["floor"]["slack_ns"]) == {own}
    assert set(by_arm["floor+slack1"]["slack_ns"]) == {1}


def test_go_arms_no_timerfd_and_a_program_that_does_is_counted(data: pl.DataFrame) -> None:
    recordings = data.filter(pl.col("part") == "recording")
    probe = recordings.filter(pl.col("arm") == TIMERFD)
    assert probe["timerfd"].to_list() == probe["sleeps"].to_list() == [50]
    assert recordings.filter(pl.col("arm").is_null())["timerfd"].sum() == 0
    waits = data.filter(pl.col("part") == TIMERFD).drop_nulls("pair_ns")
    assert least(waits["pair_ns"]) >= 1_000_000 - 1_000  # the sleep's length


def test_the_claims_own_event_is_recorded_or_its_lack_is_said(data: pl.DataFrame) -> None:
    lack = data.filter(pl.col("part") == "lack", pl.col("what") == STAT)
    stats = data.filter(pl.col("part") == "recording", pl.col("method") == TRACEFS)["stats"]
    if Path("/proc/sys/kernel/sched_schedstats").exists():
        assert lack.height == 0
        assert int(stats.sum()) > 0
    else:
        assert stats.null_count() == stats.len()
        (missing,) = lack["missing"]
        assert "CONFIG_SCHEDSTATS" in missing
        assert "--backend guest" in missing


def test_the_verdict_is_of_the_data_alone(data: pl.DataFrame, tmp_path: Path) -> None:
    data.write_parquet(tmp_path / "data.parquet")
    again = pl.read_parquet(tmp_path / "data.parquet")
    (found,) = Skew().judge(data)
    assert Skew().judge(again) == [found]
    assert "timerfd_settime 0 times" in found.sentence
    shares, stages, counts = Skew().tables(again)
    assert {row[0] for row in shares.sections[0].rows} == {"claimed", *ARMS, TIMERFD}
    assert [row[0] for row in stages.sections[0].rows] == list(ARMS)
    assert stages.columns[1] == "late, unrecorded"
    assert any(STAT in note for note in counts.notes)
    assert Skew().draw(again) is not None


def test_containers_are_refused(build_program: BuildProgram, tmp_path: Path) -> None:
    setting = Setting(True, DockerBackend(), build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="use --backend none or guest"):
        Skew().run(setting)


def test_what_is_beside_the_sleeps_may_fail_without_them(
    build_program: BuildProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_tracing()
    failing = SimpleNamespace(executable="/bin/false")  # the program of the timerfd
    monkeypatch.setattr("nanonap.lab.experiments.skew.runs.sys", failing)
    monkeypatch.setattr("nanonap.lab.experiments.skew.runs.QUICK", ONCE)
    setting = Setting(True, NoBackend(), build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    found = list(rows(setting))
    (missing,) = [row["missing"] for row in found if row.get("what") == TIMERFD]
    assert "exit status 1" in missing
    assert sum(row["part"] == SLEEP for row in found) >= 10
