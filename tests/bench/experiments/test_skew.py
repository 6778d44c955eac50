"""skew for real: both ways of recording, the stages' order and sum, cleaning up; and its verdict on made data."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import patcher
from bench.arms import Arm
from bench.attribution.errors import RecordingFailed, TracingUnavailable
from bench.attribution.recording import Recording
from bench.conditions import QUIET, Condition
from bench.experiments.base import Setting, Verdict
from bench.experiments.skew import Skew
from bench.experiments.skew_events import Wake, Wakes, parse_wakes
from bench.experiments.skew_recorder import BPFTRACE, SCRIPT, TRACEFS
from bench.experiments.skew_rows import SCHEMA, STAT, TIMERFD, joined
from bench.experiments.skew_runs import ARMS, RECORDER
from bench.experiments.skew_verdicts import CLAIMED
from bench.interrupt import Stop
from bench.quota.limits import Quota
from bench.quota.none import NoBackend
from bench.schedule import Run
from nanonap.paths import PROJECT
from tests.bench.attribution.tracing import left, needs_tracing
from tests.conftest import BuildProgram

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}
IN_ORDER = ("expiry_ns", "wakeup_ns", "running_ns", "exit_ns", "goroutine_ns")


@functools.cache
def refusal() -> TracingUnavailable | None:
    with Recording("nothing", None, "bpftrace", RECORDER) as recording:
        return recording.refusal


def needs_bpftrace() -> None:
    needs_tracing()
    if (reason := refusal()) is not None:
        pytest.skip(f"needs bpftrace: {reason.reason}; {reason.remedy}")


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
    return data.filter(pl.col("part") == "sleep", pl.col("method") == best)


def test_the_stages_of_every_arm_are_in_order_and_make_up_what_is_late(data: pl.DataFrame) -> None:
    sleeps = sleeps_of(data)
    assert set(sleeps["arm"]) == set(ARMS)
    whole = sleeps.drop_nulls(["rounding_ns", *IN_ORDER])
    assert set(whole["arm"]) == set(ARMS)
    assert whole.height > 0.5 * sleeps.height
    assert (whole.select(pl.sum_horizontal("rounding_ns", *IN_ORDER)).to_series() == whole["late_ns"]).all()
    cut = 0 if BPFTRACE in set(whole["method"]) else 1_000
    for stage in IN_ORDER:
        assert int(whole[stage].min()) >= -cut, stage  # type: ignore[arg-type]


def test_a_timers_wake_up_is_found_for_nearly_each_raw_sleep_that_bpftrace_records(data: pl.DataFrame) -> None:
    needs_bpftrace()
    floor = data.filter(pl.col("method") == BPFTRACE, pl.col("arm").str.starts_with("floor"))
    assert floor.height >= 600
    # The script does not see what interrupts it.
    assert floor["expiry_ns"].null_count() <= 0.05 * floor.height
    assert int(data.filter(pl.col("method") == BPFTRACE)["lost"].sum()) == 0


def test_what_the_kernel_was_asked_for_is_seen(data: pl.DataFrame) -> None:
    asked = sleeps_of(data).filter(pl.col("requested_ns") == 100_000).drop_nulls("slack_ns")
    by_arm = {str(arm): part for (arm,), part in asked.group_by("arm")}
    assert int(by_arm["stock"]["rounding_ns"].min()) >= 900_000  # type: ignore[arg-type] # a millisecond at least
    assert int(by_arm["floor"]["rounding_ns"].min()) >= 0  # type: ignore[arg-type]
    own = int(Path("/proc/self/timerslack_ns").read_text(encoding="ascii"))
    assert set(by_arm["floor"]["slack_ns"]) == {own}
    assert set(by_arm["floor+slack1"]["slack_ns"]) == {1}


def test_go_arms_no_timerfd_and_a_program_that_does_is_counted(data: pl.DataFrame) -> None:
    recordings = data.filter(pl.col("part") == "recording")
    probe = recordings.filter(pl.col("arm") == TIMERFD)
    assert probe["timerfd"].to_list() == probe["sleeps"].to_list() == [50]
    assert recordings.filter(pl.col("arm").is_null())["timerfd"].sum() == 0
    waits = data.filter(pl.col("part") == TIMERFD).drop_nulls("pair_ns")
    assert int(waits["pair_ns"].min()) >= 1_000_000 - 1_000  # type: ignore[arg-type] # the sleep's length


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
    assert [row[0] for row in shares.sections[0].rows] == ["claimed", *ARMS, TIMERFD]
    assert [row[0] for row in stages.sections[0].rows] == list(ARMS)
    assert any(STAT in note for note in counts.notes)
    assert Skew().draw(again) is not None


def stamps(wake: Wake) -> list[int]:
    assert wake.woken is not None
    assert wake.ran is not None
    return [wake.expired, wake.woken, wake.ran, wake.exited]


def test_both_ways_record_the_same_wake_ups(build_program: BuildProgram, tmp_path: Path) -> None:
    needs_bpftrace()
    link = tmp_path / f"both-{os.getpid()}"
    link.symlink_to(build_program("sleepbench"))
    with (
        Recording(link, None, "bpftrace", RECORDER) as first,
        Recording(link, None, "trace", RECORDER) as second,
    ):
        # On the first CPU, since on others some kernels' tracefs does not have what idle tasks do.
        command = ["taskset", "--cpu-list", "0", str(link), "-method", "floor", "-plan", "200us*100", "-warmup", "5"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        ours, theirs = (parse_wakes(each.stop(), each.method).wakes for each in (first, second))
    raw = {wake.soft: wake for wake in theirs}
    assert len(theirs) >= 105
    assert len(ours) >= 0.95 * len(theirs)  # a script does not see what interrupts it
    for wake in ours:
        other = raw[wake.soft]
        assert (wake.tid, wake.hard) == (other.tid, other.hard)
        for exact, cut in zip(stamps(wake), stamps(other), strict=True):
            assert abs(exact - cut) < 1_000_000  # the same clock: the two write their stamps one after the other


@pytest.fixture
def running(tmp_path: Path, build_program: BuildProgram) -> Iterator[subprocess.Popen[bytes]]:
    """The experiment in a process of its own, with its recorder at work."""
    needs_tracing()
    script = f"""
import sys
from pathlib import Path
from bench.experiments.base import Setting
from bench.experiments.skew import Skew
from bench.interrupt import Stop
from bench.quota.limits import Quota
from bench.quota.none import NoBackend
from bench.schedule import Run
from nanonap.errors import Interrupted
stop = Stop()
with stop.listening():
    program = Path({str(build_program("sleepbench"))!r})
    try:
        Skew().run(Setting(False, NoBackend(), program, {{"floor": program}}, stop, print, Path({str(tmp_path)!r})))
    except Interrupted:
        sys.exit(130)
"""
    command = [sys.executable, "-u", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        try:
            wait_for(lambda: any(name.startswith("skew-") for name, _ in below(process.pid).values()))
            yield process
        finally:
            process.kill()


def below(pid: int) -> dict[int, tuple[str, int]]:
    """{number: (name, parent)} of all that a process has started."""
    known = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                head, _, tail = (each / "stat").read_text(encoding="utf-8").rpartition(") ")
            except OSError:
                continue
            known[int(each.name)] = (head.partition("(")[2], int(tail.split()[1]))
    found, last = {pid}, 0
    while len(found) != last:
        last = len(found)
        found |= {number for number, (_, parent) in known.items() if parent in found}
    return {number: known[number] for number in found - {pid} if number in known}


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_an_experiment_that_is_ended(running: subprocess.Popen[bytes], number: int) -> None:
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    started = below(running.pid)
    assert len(started) >= 2
    running.send_signal(number)
    assert running.wait() == (130 if number == signal.SIGINT else -number)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
    assert Path("/proc/self/mounts").read_text(encoding="utf-8") == mounts
    assert not any(f"nanonap-{pid}-" in left() for pid in started)


def test_bpftrace_ends_with_its_recorder_however_that_ends() -> None:
    needs_bpftrace()
    with Recording("nothing", None, "bpftrace", RECORDER) as recording:
        number = recording._process.pid
        started = below(number)
        assert "bpftrace" in {name for name, _ in started.values()}
        os.kill(number, signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_without_bpftrace_tracefs_records_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_tracing()
    monkeypatch.setenv("PATH", "/nowhere")
    with Recording("nothing", None, "auto", RECORDER) as recording:
        assert recording.method == TRACEFS
        assert recording.refusal is not None
        assert "apt-get install bpftrace" in recording.refusal.remedy


def test_without_the_rights_it_is_said_what_is_needed() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to give its rights up")
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", RECORDER, "--program", "any"]
    hidden = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-e", "-c",
              'mount -t tmpfs none /sys/kernel/tracing; exec "$@"', "sh"]  # fmt: skip
    done = subprocess.run(
        [*hidden, *command], input="stop\n", capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    about = json.loads(done.stdout)
    assert about["method"] == "none"
    assert "run as root" in about["remedy"]


def test_the_script_says_how_it_is_run_alone() -> None:
    assert "bpftrace wakeups.bt NAME" in SCRIPT.read_text(encoding="utf-8")


KERNEL = """@lost 1 7
     python3-40 [000] .....  5.000100: sys_timerfd_settime(ufd: 3, flags: 0, utmr: 7f, otmr: 0)
     python3-40 [000] d....  5.000101: hrtimer_start: hrtimer=00aa function=timerfd_tmrproc expires=5001101000 softexpires=5001101000 mode=REL
     python3-40 [000] d.h..  5.000500: hrtimer_start: hrtimer=00bb function=tick_nohz_handler expires=5004000000 softexpires=5004000000 mode=ABS
      <idle>-0  [000] d.h..  5.000900: hrtimer_expire_entry: hrtimer=00bb function=tick_nohz_handler now=5000900000
      <idle>-0  [000] d.h..  5.001120: hrtimer_expire_entry: hrtimer=00aa function=timerfd_tmrproc now=5001118000
      <idle>-0  [000] d.h..  5.001125: sched_stat_sleep: comm=python3 pid=40 delay=1011000 [ns]
      <idle>-0  [000] d.h..  5.001126: sched_wakeup: comm=python3 pid=40 prio=120 target_cpu=000
      <idle>-0  [000] d....  5.001130: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=python3 next_pid=40 next_prio=120
     python3-40 [000] .....  5.001133: sys_read -> 0x8
     python3-40 [000] .....  5.002000: sys_epoll_pwait(epfd: 4, events: 7f, maxevents: 80, timeout: 1, sigmask: 0, sigsetsize: 0)
     python3-40 [000] d....  5.002001: hrtimer_start: hrtimer=00cc function=hrtimer_wakeup expires=5003050000 softexpires=5003000000 mode=ABS
     python3-40 [000] .....  5.002400: sys_epoll_pwait -> 0x1
"""  # noqa: E501 - as the kernel writes


def test_the_kernels_text_is_read_stage_by_stage() -> None:
    found = parse_wakes(KERNEL, TRACEFS)
    (wake,) = found.wakes
    assert (found.timerfd, found.stats, found.otherwise, found.lost) == (1, 1, 1, 7)
    assert (wake.soft, wake.expired, wake.woken, wake.ran) == (5001101000, 5001120000, 5001126000, 5001130000)
    assert (wake.asked, wake.stat, wake.slept_ns, wake.exited) == (5000100000, 5001125000, 1011000, 5001133000)


def test_a_sleeps_last_wait_is_the_one_that_was_due_at_its_end() -> None:
    run = Run(0, Arm("stock", Path("any"), "sleep", None, None, "none", ""), Condition(Quota(), QUIET), (), 0, 1)
    header = {"n": 2, "columns": ["requested_ns", "actual_ns", "start_ns", "sleeper", "tid"], "window_start_ns": 1_000}
    columns = [[5_000_000, 100_000], [5_100_000, 150_000], [0, 5_200_000], [0, 0], [7, 7]]
    output = json.dumps(header).encode() + b"\n" + np.array(columns, dtype="<i8").tobytes()
    first = Wake(7, 2_000, 4_002_000, 4_052_000, 4_060_000, 4_062_000, 4_065_000, 4_066_000)
    second = Wake(7, 4_080_000, 5_002_000, 5_052_000, 5_060_000, 5_062_000, 5_065_000, 5_066_000)
    rows = joined(run, output, Wakes([first, second]), BPFTRACE)
    assert [row.get("rounding_ns") for row in rows] == [1_000, None]
    assert rows[0]["late_ns"] == sum(rows[0][stage] for stage in ("rounding_ns", *IN_ORDER)) == 100_000
    assert "rounding_ns" not in joined(run, output, Wakes([first]), BPFTRACE)[0]


def test_what_bpftrace_lost_is_counted_and_broken_records_are_refused() -> None:
    text = "ready\nwake 9 11 1 2 3 4 5 0 7\nLost 12 events\n@timerfd_settime[9]: 3\n@ended_otherwise[9]: 4\n"
    found = parse_wakes(text, BPFTRACE)
    assert (found.lost, found.timerfd, found.otherwise, len(found.wakes)) == (12, 3, 4, 1)
    assert found.wakes[0].ran is None
    with pytest.raises(RecordingFailed, match="run it again"):
        parse_wakes(KERNEL.replace("softexpires=5001101000", "softexpires=soon"), TRACEFS)


def made(expiry: tuple[float, ...], deadline: tuple[float, ...] | None = None, **more: Any) -> pl.DataFrame:
    """Six runs of stock: shares of a hundred wake-ups in each class from expiry, and from the deadline if others."""
    rows: list[dict[str, Any]] = []
    late = (5_000, 30_000, 200_000)
    for block in range(6):
        wave = 1 if block % 2 else -1
        ends = [classes(each, wave) for each in (expiry, deadline or expiry)]
        for number, (short, long) in enumerate(zip(*ends, strict=True)):
            running = late[short]
            head = {"part": "sleep", "method": BPFTRACE, "arm": "stock", "block": block, "requested_ns": 100_000}
            rest = late[long] - running if deadline else 0
            rows.append({**head, "late_ns": number, "rounding_ns": 0, "expiry_ns": rest, "wakeup_ns": running - 4_000,
                         "running_ns": 4_000, "exit_ns": 0, "goroutine_ns": 0, "slack_ns": 1})  # fmt: skip
        rows.append({"part": "recording", "method": BPFTRACE, "block": block, "sleeps": 100, "timerfd": 0, **more})
    return pl.DataFrame(rows, schema=SCHEMA)


def classes(shares: tuple[float, ...], wave: int) -> list[int]:
    """A hundred classes in these shares, one more or fewer of the first."""
    counts = [round(100 * share) for share in shares]
    moved = 1 if counts[0] + wave >= 0 and counts[1] - wave >= 0 else 0
    counts[0], counts[1] = counts[0] + wave * moved, counts[1] - wave * moved
    return [place for place, count in enumerate(counts) for _ in range(count)]


def judged(data: pl.DataFrame) -> Verdict:
    (found,) = Skew().judge(data)
    return found


SLOW = (0.05, 0.15, 0.80)


def test_shares_as_claimed_hold_in_both_readings_in_one_or_in_none() -> None:
    assert judged(made(CLAIMED)).outcome == "holds"
    assert judged(made(CLAIMED, SLOW)).outcome == "holds in part"
    refuted = judged(made(SLOW))
    assert refuted.outcome == "refuted"
    assert "80 % [" in refuted.sentence


def test_shares_at_the_edge_or_of_too_few_runs_settle_nothing() -> None:
    edge = made((0.78, 0.17, 0.05))
    assert judged(edge).outcome == "cannot be tested here"
    few = made(CLAIMED).filter(pl.col("block") < 2)
    assert judged(few).outcome == "cannot be tested here"
    assert "do not settle it" in judged(few).sentence


def test_an_emulated_machine_decides_nothing_about_microseconds() -> None:
    found = judged(made(CLAIMED, mark="emulated, not for microseconds"))
    assert found.outcome == "cannot be tested here"
    assert found.sentence.startswith("emulated, not for microseconds: ")


def test_without_a_wake_up_nothing_is_judged() -> None:
    nothing = pl.DataFrame([{"part": "lack", "what": STAT, "missing": "no tracing"}], schema=SCHEMA)
    assert judged(nothing).outcome == "cannot be tested here"
    assert Skew().draw(nothing) is None
    assert len(Skew().tables(nothing)) == 3
