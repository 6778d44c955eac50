"""The sampler on real groups and on texts of both cgroup versions; what a series says, on real and on made series."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.quota.base import Backend, Group, StatFiles, Throttling
from bench.quota.limits import Limits, parse_quota
from bench.quota.sampler import COUNTERS, SERIES_SCHEMA, Sampler, SamplerFailed
from bench.quota.series import (
    STAT_SCHEMA,
    check,
    grows_while_throttled,
    throttled_intervals,
    whole_periods,
    write_series,
)
from nanonap.errors import OutputNotWritable, UsageError
from nanonap.paths import PROJECT
from tests.conftest import BuildProgram

BURN = "while True: pass"
MS = 1_000_000
V1 = "nr_periods 7\nnr_throttled 5\nthrottled_time 123456789\nwait_sum 99\nnr_bursts 2\nburst_time 3000\n"
V2 = (
    "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnice_usec 0\ncore_sched.force_idle_usec 0\n"
    "nr_periods 7\nnr_throttled 5\nthrottled_usec 1234\nnr_bursts 2\nburst_usec 3\n"
)
V2_WITHOUT_QUOTA = "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\n"


@pytest.fixture
def program(build_program: BuildProgram) -> Path:
    return build_program("statsampler")


@pytest.fixture
def group(backend: Backend) -> Iterator[Group]:
    """A fifth of a CPU every 20 ms, and before others, so that it can be had on a busy machine too."""
    with backend.open(Limits(parse_quota("20%/20ms"), weight=10_000)) as opened:
        if opened.stat_files is None:
            pytest.skip(f"needs a backend whose counters this host shows, and {backend.name} does not")
        yield opened


def files_of(group: Group) -> StatFiles:
    assert group.stat_files is not None
    return group.stat_files


def burn(group: Group, stops: int) -> None:
    """Keep one CPU busy until the group was stopped so often."""
    with subprocess.Popen(group.command([sys.executable, "-c", BURN])) as burner:
        try:
            wait_until(lambda: (counted := group.counters()) is not None and counted.nr_throttled >= stops)
        finally:
            burner.kill()


def sampled(program: Path, stat: Path, usage: Path | None = None, hz: int = 500) -> tuple[pl.DataFrame, Sampler]:
    sampler = Sampler(StatFiles(stat, 1, usage), program, hz).start()
    time.sleep(0.05)
    return sampler.stop(), sampler


@pytest.mark.parametrize(
    ("text", "usage", "expected", "resolution_ns"),
    [
        (V1, "987654321\n", (7, 5, 123_456_789, 2, 3_000, 987_654_321), 1),
        (V1, None, (7, 5, 123_456_789, 2, 3_000, None), 1),
        ("nr_periods 7\nnr_throttled 5\nthrottled_time 1\n", None, (7, 5, 1, None, None, None), 1),
        (V2, None, (7, 5, 1_234_000, 2, 3_000, 2_500_000), 1_000),
        (V2_WITHOUT_QUOTA, None, (None, None, None, None, None, 2_500_000), 1_000),
    ],
    ids=["v1 with usage", "v1", "v1 before burst", "v2", "v2 without quota"],
)
def test_both_versions_counters_are_read_in_ns_and_what_is_not_there_is_null(
    tmp_path: Path, program: Path, text: str, usage: str | None, expected: tuple[int | None, ...], resolution_ns: int
) -> None:
    stat, usage_file = tmp_path / "cpu.stat", tmp_path / "cpuacct.usage"
    stat.write_text(text)
    if usage is not None:
        usage_file.write_text(usage)
    series, sampler = sampled(program, stat, usage_file if usage is not None else None)
    assert series.schema == SERIES_SCHEMA
    assert series.height > 0
    assert set(series.select(COUNTERS).rows()) == {expected}
    assert sampler.about is not None
    assert sampler.about.resolution_ns == resolution_ns


@pytest.mark.parametrize("hz", [200, 500, 1000])
def test_samples_are_on_a_grid_in_order_and_what_is_missing_is_told(tmp_path: Path, program: Path, hz: int) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    series, sampler = sampled(program, stat, hz=hz)
    about = sampler.about
    assert about is not None
    deadlines, read = series["deadline_ns"].to_numpy(), series["monotonic_ns"].to_numpy()
    assert about.interval_ns == 1_000_000_000 // hz
    assert deadlines[0] == about.first_deadline_ns
    steps = np.diff(deadlines)
    assert (steps > 0).all()
    assert (steps % about.interval_ns == 0).all()
    assert about.missed == (steps // about.interval_ns - 1).sum()
    assert (read >= deadlines).all(), "a sample before its deadline"
    assert (series["read_ns"] > 0).all()
    assert (np.diff(read) > 0).all()
    assert about.largest_gap_ns == np.diff(read).max(initial=0)
    assert about.samples == series.height
    assert (about.ended, about.cpu_ns is not None) == ("stdin", True)
    assert about.priority in ("fifo 1", "nice -20", "nice 0")


def test_a_sampler_that_may_go_before_others_does_and_no_other_thread_of_it(tmp_path: Path, program: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    with Sampler(StatFiles(stat, 1), program) as sampler:
        assert sampler._child is not None
        tasks = [int(each.name) for each in Path(f"/proc/{sampler._child.pid}/task").iterdir()]
        policies = [os.sched_getscheduler(task) & ~os.SCHED_RESET_ON_FORK for task in tasks]
    assert sampler.about is not None
    assert policies.count(os.SCHED_FIFO) == (1 if sampler.about.priority == "fifo 1" else 0)


def test_the_share_of_a_cpu_is_what_the_kernel_says_of_the_sampler(tmp_path: Path, program: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    sampler = Sampler(StatFiles(stat, 1), program).start()
    time.sleep(0.2)
    before = os.times()
    sampler.stop()
    after = os.times()
    # What this process has waited for is in its own times: the sampler, whole, with its start.
    whole_ns = (after.children_user + after.children_system - before.children_user - before.children_system) * 1e9
    about = sampler.about
    assert about is not None
    assert about.cpu_ns is not None
    assert about.wall_ns is not None
    assert 0 < about.cpu_ns <= whole_ns + 2e9 / os.sysconf("SC_CLK_TCK")
    assert about.cpu_share == about.cpu_ns / about.wall_ns


def test_a_throttled_group_is_seen_live_and_its_stalls_sum_to_the_counter(program: Path, group: Group) -> None:
    sampler = Sampler(files_of(group), program).start()
    burn(group, stops=20)
    series = sampler.stop()
    last = group.counters()
    assert last is not None
    assert series["nr_periods"][0] < series["nr_periods"][-1] <= last.nr_periods
    assert 0 < series["nr_throttled"][-1] <= last.nr_throttled
    intervals = throttled_intervals(series)
    assert intervals["throttled_ns"].sum() == series["throttled_ns"][-1] - series["throttled_ns"][0]
    assert len(intervals) <= series["nr_throttled"][-1] + 1
    assert (intervals["end_ns"] > intervals["start_ns"]).all()
    checked = check(series)
    assert checked.samples == series.height
    assert checked.holds, checked.first


def test_of_one_thread_stalls_do_not_overlap_and_nothing_grows_within_one(program: Path, group: Group) -> None:
    """One thread runs on one CPU at a time: throttled time is wall time then, and the kernel adds it at the end."""
    with Sampler(files_of(group), program) as sampler:
        burn(group, stops=20)
    series = sampler.stop()
    assert not grows_while_throttled(series)
    intervals = throttled_intervals(series)
    assert len(intervals) >= 2
    assert (intervals["cpus_min"] == 1).all()
    assert not intervals["summed"].any()
    # An end is seen up to a gap late.
    assert (intervals["start_ns"][1:] >= intervals["end_ns"][:-1] - intervals["gap_ns"][:-1]).all()


def test_a_removed_group_ends_the_series_and_keeps_it(program: Path, backend: Backend) -> None:
    with backend.open(Limits(parse_quota("50%"))) as opened:
        if opened.stat_files is None:
            pytest.skip(f"needs a backend whose counters this host shows, and {backend.name} does not")
        sampler = Sampler(opened.stat_files, program).start()
        time.sleep(0.3)
    wait_until(lambda: sampler._child is None or sampler._child.poll() is not None)
    series = sampler.stop()
    assert series.height > 0
    assert sampler.about is not None
    assert sampler.about.ended == "removed"


@pytest.mark.parametrize(
    ("number", "ended"), [(signal.SIGTERM, "signal"), (signal.SIGINT, "signal"), (signal.SIGKILL, "killed")]
)
def test_what_a_sampler_wrote_before_a_signal_can_be_read(
    tmp_path: Path, program: Path, number: signal.Signals, ended: str
) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    sampler = Sampler(StatFiles(stat, 1), program, 2000).start()
    assert sampler._child is not None
    assert sampler._samples is not None
    samples = sampler._samples.fileno()
    # The sampler hands its samples over a few thousand at a time.
    wait_until(lambda: os.fstat(samples).st_size > 0)
    sampler._child.send_signal(number)
    wait_until(lambda: sampler._child is None or sampler._child.poll() is not None)
    series = sampler.stop()
    assert series.height > 0
    assert series["nr_periods"].unique().to_list() == [7]
    assert sampler.about is not None
    assert sampler.about.ended == ended
    assert (sampler.about.cpu_share is None) == (ended == "killed")


def test_the_sampler_ends_when_its_parent_is_killed(tmp_path: Path, program: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from bench.quota.base import StatFiles; from bench.quota.sampler import Sampler\n"
        "sampler = Sampler(StatFiles(Path(sys.argv[1]), 1), Path(sys.argv[2])).start()\n"
        "print(sampler._child.pid, flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", script, str(stat), str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(PROJECT)}) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    wait_until(lambda: not running(pid))


def running(pid: int) -> bool:
    """Whether the process is there and no zombie, which only its new parent can take away."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_an_error_in_the_block_ends_the_sampler_and_is_the_one_that_is_seen(tmp_path: Path, program: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    sampler = Sampler(StatFiles(stat, 1), program)
    pid = 0
    with pytest.raises(ZeroDivisionError), sampler:
        assert sampler._child is not None
        pid = sampler._child.pid
        raise ZeroDivisionError
    assert pid
    assert not Path(f"/proc/{pid}").exists()


def test_what_cannot_be_sampled_is_said(tmp_path: Path, program: Path) -> None:
    (tmp_path / "other").write_text("something else\n")
    for name, said in (("missing", "no such file"), ("other", "nr_periods"), (".", "is a directory")):
        with pytest.raises(SamplerFailed, match=said):
            Sampler(StatFiles(tmp_path / name, 1), program).start()
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    with pytest.raises(SamplerFailed, match="no such file"):
        Sampler(StatFiles(stat, 1, tmp_path / "missing"), program).start()
    with pytest.raises(SamplerFailed, match="cannot be started"):
        Sampler(StatFiles(stat, 1), tmp_path / "no-program").start()
    with pytest.raises(SamplerFailed, match="not started"):
        Sampler(StatFiles(stat, 1), program).stop()
    with pytest.raises(UsageError, match="2000"):
        Sampler(StatFiles(stat, 1), program, 5000)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("-samples", "s"), "-stat"),
        (("-stat", "s"), "-samples"),
        (("-stat", "s", "-samples", "s", "-hz", "0"), "-hz 0"),
        (("-stat", "s", "-samples", "s", "-hz", "5000"), "-hz 5000"),
        (("-unknown",), "-unknown"),
        (("cpu.stat",), "not an option"),
    ],
    ids=" ".join,
)
def test_bad_options_of_the_program_are_one_line_and_status_2(
    program: Path, options: tuple[str, ...], named: str
) -> None:
    answer = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert named in answer.stderr


def test_samples_that_cannot_be_written_are_an_error(tmp_path: Path, program: Path) -> None:
    stat = tmp_path / "cpu.stat"
    stat.write_text(V1)
    command = [str(program), "-stat", str(stat), "-samples", "/dev/full"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "no space" in answer.stderr


def wait_until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def made(throttled_ms: list[float], gap_ms: float = 2, **counters: list[int]) -> pl.DataFrame:
    """A series whose samples are ``gap_ms`` apart and take no time."""
    count = len(throttled_ms)
    columns: dict[str, list[int] | list[None]] = {
        "monotonic_ns": [round(each * gap_ms * MS) for each in range(count)],
        "read_ns": [0] * count,
        "deadline_ns": [round(each * gap_ms * MS) for each in range(count)],
        **dict.fromkeys(COUNTERS, [0] * count),
        "throttled_ns": [round(each * MS) for each in throttled_ms],
        "usage_ns": [None] * count,
    }
    return pl.DataFrame({**columns, **counters}, schema=SERIES_SCHEMA)


def held(*steps: tuple[float, int]) -> list[float]:
    """(value, for how many samples) …"""
    return [value for value, count in steps for _ in range(count)]


def test_an_interval_ends_where_the_counter_grew_and_is_as_long_as_the_growth() -> None:
    intervals = throttled_intervals(made(held((0, 51), (80, 50), (155, 20))))
    assert intervals.rows(named=True) == [
        {
            "start_ns": 22 * MS,
            "earliest_start_ns": 22 * MS,
            "end_ns": 102 * MS,
            "gap_ns": 2 * MS,
            "throttled_ns": 80 * MS,
            "cpus_min": 1,
            "cpus_max": 1,
            "summed": False,
        },
        {
            "start_ns": 127 * MS,
            "earliest_start_ns": 127 * MS,
            "end_ns": 202 * MS,
            "gap_ns": 2 * MS,
            "throttled_ns": 75 * MS,
            "cpus_min": 1,
            "cpus_max": 1,
            "summed": False,
        },
    ]


def test_a_growth_longer_than_the_time_since_the_last_is_of_several_cpus() -> None:
    intervals = throttled_intervals(made(held((0, 51), (150, 50), (300, 20))), cpus=2)
    assert intervals["cpus_min"].to_list() == [1, 2]
    assert intervals["cpus_max"].to_list() == [2, 2]
    assert intervals["summed"].all()
    assert intervals["start_ns"].to_list() == [(102 - 75) * MS, (202 - 75) * MS]
    assert intervals["earliest_start_ns"].to_list() == [(102 - 150) * MS, (202 - 75) * MS]


def test_where_the_growth_belies_the_callers_number_of_cpus_the_growth_is_believed() -> None:
    last = throttled_intervals(made(held((0, 51), (50, 50), (200, 20))), cpus=1).row(-1, named=True)
    assert (last["cpus_min"], last["cpus_max"], last["summed"]) == (2, 2, True)


def test_cpus_that_are_let_go_on_both_sides_of_a_sample_are_one_interval() -> None:
    intervals = throttled_intervals(made(held((0, 50), (75, 1), (150, 50))), cpus=2)
    assert intervals["throttled_ns"].to_list() == [150 * MS]
    assert (intervals["end_ns"][0], intervals["gap_ns"][0]) == (102 * MS, 4 * MS)


def test_whole_periods_are_counted_from_the_first_stalls_end_to_the_lasts() -> None:
    periods = [int(each) for each in held((1, 51), (2, 50), (3, 50), (4, 9))]
    series = made(held((0, 51), (80, 50), (155, 50), (155, 9)), nr_periods=periods, nr_throttled=periods)
    assert whole_periods(series) == Throttling(1, 1, 75 * MS, 0, 0, None)
    assert whole_periods(made(held((0, 51), (80, 50)))) is None
    assert whole_periods(made([])) is None


def test_short_stalls_one_after_the_other_stay_apart() -> None:
    series = made([each * 1.2 for each in range(20)])
    assert not grows_while_throttled(series)
    assert throttled_intervals(series)["throttled_ns"].to_list() == [1_200_000] * 19


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_counter_that_grows_during_the_stall_gives_one_interval_a_stall(cpus: int) -> None:
    one = [*held((0, 10)), *(cpus * 2.0 * each for each in range(1, 41))]
    two = [*held((one[-1], 10)), *(one[-1] + cpus * 2.0 * each for each in range(1, 31)), *held((one[-1] * 1.75, 5))]
    series = made([*one, *two])
    assert grows_while_throttled(series)
    intervals = throttled_intervals(series, cpus)
    assert intervals["throttled_ns"].to_list() == [80 * MS * cpus, 60 * MS * cpus]
    assert intervals["start_ns"].to_list() == [18 * MS, 118 * MS]
    assert intervals["end_ns"].to_list() == [98 * MS, 178 * MS]
    assert intervals["cpus_min"].to_list() == [cpus, cpus]


@pytest.mark.parametrize("throttled", [[], [5.0], [5.0, 5.0]])
def test_without_growth_there_is_no_interval(throttled: list[float]) -> None:
    assert throttled_intervals(made(throttled)).height == 0


def test_counters_that_the_kernel_has_not_give_no_interval_and_no_finding() -> None:
    series = made([1.0] * 5).with_columns(*(pl.lit(None, pl.Int64).alias(name) for name in COUNTERS))
    assert throttled_intervals(series).height == 0
    assert check(series).holds


def test_more_throttled_than_periods_is_found_where_it_begins() -> None:
    checked = check(made([0.0] * 4, nr_periods=[1, 2, 3, 4], nr_throttled=[1, 2, 5, 5]))
    assert (checked.samples, checked.more_throttled, checked.torn, checked.backwards) == (4, 2, 0, 0)
    assert not checked.holds
    assert checked.first == f"sample 2 at {4 * MS} ns: nr_throttled is 5 and nr_periods 3"


def test_an_excess_that_the_next_sample_explains_is_a_torn_reading() -> None:
    checked = check(made([0.0] * 4, nr_periods=[1, 2, 3, 4], nr_throttled=[1, 3, 3, 4]))
    assert (checked.more_throttled, checked.torn) == (1, 1)
    assert checked.holds
    assert checked.first is not None
    assert "torn" in checked.first


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_that_goes_back_is_found(name: str) -> None:
    values = {"nr_periods": [9, 9, 9, 9], name: [5, 6, 4, 4]}
    checked = check(made([0.0] * 4).with_columns(**{each: pl.Series(column) for each, column in values.items()}))
    assert (checked.backwards, checked.holds) == (1, False)
    assert checked.first is not None
    assert f"{name} (now 4)" in checked.first


def test_a_series_is_written_with_its_run_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "stat.parquet"
    one, two = made([0.0, 1.0]), made([2.0])
    write_series(path, {"00000": one, "00001": two})
    read = pl.read_parquet(path)
    assert read.schema == STAT_SCHEMA
    assert read.filter(run_id="00000").drop("run_id").equals(one)
    assert read.filter(run_id="00001").drop("run_id").equals(two)
    write_series(path, {})
    assert pl.read_parquet(path).schema == STAT_SCHEMA
    with pytest.raises(OutputNotWritable):
        write_series(tmp_path / "missing" / "stat.parquet", {"00000": one})
    assert sorted(tmp_path.iterdir()) == [path]
