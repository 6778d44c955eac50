"""A group's counters, sampled from outside: whole, on a grid, told what is missing, and ended in any case."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.lab.quota.base import Backend, Group, StatFiles
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.sampler import COUNTERS, SERIES_SCHEMA, Sampler, SamplerFailed
from nanonap.lab.quota.series import (
    check,
    grows_while_throttled,
    stalls_in,
)
from tests.conftest import BuildProgram
from tests.patience import wait_until

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
    time.sleep(0.3)  # the least of samples is one in 5 ms; a busy machine may take some
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
    stalls = stalls_in(series)
    assert stalls["throttled_ns"].sum() == series["throttled_ns"][-1] - series["throttled_ns"][0]
    assert len(stalls) <= series["nr_throttled"][-1] + 1
    assert (stalls["throttled_ns"] > 0).all()
    checked = check(series)
    assert checked.samples == series.height
    assert checked.holds, checked.first


def test_of_one_thread_stalls_do_not_overlap_and_nothing_grows_within_one(program: Path, group: Group) -> None:
    """One thread runs on one CPU at a time: throttled time is wall time then, and the kernel adds it at the end."""
    with Sampler(files_of(group), program) as sampler:
        burn(group, stops=20)
    series = sampler.stop()
    assert not grows_while_throttled(series)
    stalls = stalls_in(series)
    assert len(stalls) >= 2
    assert sampler.about is not None
    # An end is seen up to a gap late.
    late_ns = sampler.about.largest_gap_ns + series["read_ns"].max()  # type: ignore[operator]
    assert ((stalls["end_ns"] - stalls["throttled_ns"])[1:] >= stalls["end_ns"][:-1] - late_ns).all()


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
        "from nanonap.lab.quota.base import StatFiles; from nanonap.lab.quota.sampler import Sampler\n"
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
