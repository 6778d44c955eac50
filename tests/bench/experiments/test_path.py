"""path for real, its readers on real lines, and its verdicts on made data, each way."""

import os
import re
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import patcher
from bench.errors import QuotaUnavailable
from bench.experiments.base import Setting, Verdict
from bench.experiments.path import SleepPath
from bench.experiments.path_calls import FOREVER, Call, Log, Sleep, call_rows, sleep_row, wall_to_wall
from bench.experiments.path_data import MANY, PERFED, RUNTIME, SCHEMA, STRACED, TRACEPOINTS
from bench.experiments.path_kernel import read_calls
from bench.experiments.path_shown import CALL, FIRED, GOROUTINE
from bench.experiments.path_strace import read_perf, read_strace
from bench.experiments.path_trace import parse_trace, sleeper, state_row
from bench.experiments.path_verdicts import IN_ORDER
from bench.interrupt import Stop
from bench.quota.docker import DockerBackend
from bench.quota.none import NoBackend
from tests.conftest import BuildProgram
from toolchain.releases import release_toolchain
from toolchain.wheels import DEFAULT_GO

US, MS = 1_000, 1_000_000
BLOCKS = 4
ARMS = {"usleep": None, "sleep": None, "netpoll": None, "netpoll+slack1": 1}


@pytest.fixture(scope="module")
def quick(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Path]:
    """One quick run for all, and its folder."""
    folder, program = tmp_path_factory.mktemp("path"), build_program("sleepbench")
    arms = {arm: folder / f"sleepbench.{arm}" for arm in ARMS}
    for arm, path in arms.items():
        patcher.patch(program, path, arm.partition("+")[0], slack_ns=ARMS[arm], accept_thread_cost=True)
    setting = Setting(True, NoBackend(), program, arms, Stop(), lambda text: None, folder)
    return SleepPath().run(setting), folder


def need_tracers(data: pl.DataFrame) -> None:
    """Skip where a tracer cannot be had at all; a record that is there but does not add up is a failure."""
    missing = data.filter(pl.col("kind") == "missing")
    if missing.filter(pl.col("arm").is_null()).height:
        pytest.skip("; ".join(missing["missing"].unique()))
    assert missing["missing"].to_list() == []


def verdict(claim: str, data: pl.DataFrame) -> Verdict:
    return next(each for each in SleepPath().judge(data) if each.claim == claim)


def test_every_arm_waits_where_it_was_patched_to(quick: tuple[pl.DataFrame, Path]) -> None:
    data, _ = quick
    need_tracers(data)
    sleeps = data.filter(pl.col("kind") == "sleep")
    waits = {"stock": "epoll_pwait", "usleep": "epoll_pwait", "sleep": "clock_nanosleep"}
    for arm in ("stock", *ARMS):
        for source in (TRACEPOINTS, STRACED, PERFED):
            of_arm = sleeps.filter(pl.col("arm") == arm, pl.col("source") == source, pl.col("requested_ns") > 10 * MS)
            assert set(of_arm["call"]) == {waits.get(arm, "epoll_pwait2")}, (arm, source)
    stock = sleeps.filter(pl.col("arm") == "stock", pl.col("source") == TRACEPOINTS, pl.col("requested_ns") == 500 * US)
    assert stock["argument"].mode().to_list() == ["1 ms"]
    asleep = sleeps.filter(pl.col("arm") == "sleep", pl.col("source") == STRACED, pl.col("requested_ns") == 5 * MS)
    assert asleep["argument"].mode().to_list() == ["5 ms"]


def test_what_runs_for_real_is_judged_drawn_and_shown(quick: tuple[pl.DataFrame, Path], tmp_path: Path) -> None:
    data, _ = quick
    need_tracers(data)
    data.write_parquet(tmp_path / "data.parquet")
    again = pl.read_parquet(tmp_path / "data.parquet")
    assert SleepPath().judge(again) == SleepPath().judge(data)
    assert verdict("T1", data).figures["stock"]["interval"][1] < 0.5
    assert (verdict("T2", data).outcome, verdict("T5", data).outcome) == ("holds in part", "refuted")
    assert verdict("T2", data).figures["timerproc"] == 0
    assert len(SleepPath().tables(data)) == 4
    assert SleepPath().draw(data) is not None


def test_the_shown_sleep_is_one_story_on_one_clock(quick: tuple[pl.DataFrame, Path]) -> None:
    need_tracers(quick[0])
    spans = quick[0].filter(pl.col("kind") == "span")
    for arm in ("stock", "netpoll+slack1"):
        of_arm = spans.filter(pl.col("arm") == arm)
        actual_ns = of_arm["actual_ns"][0]
        begin_ns, end_ns = of_arm.filter(pl.col("lane") == CALL).select("begin_ns", "end_ns").row(0)
        (fired_ns,) = of_arm.filter(pl.col("name") == FIRED)["begin_ns"]
        woken = of_arm.filter(pl.col("lane") == GOROUTINE, pl.col("name") == "Runnable", pl.col("begin_ns") > 0)
        # The kernel's text is cut to whole µs, and the trace's clock ticks in its own steps.
        assert -2 * US <= begin_ns < fired_ns < end_ns < actual_ns + 2 * US
        assert 100 * US - 2 * US <= fired_ns <= woken["begin_ns"][0] + 2 * US


def test_go_tool_trace_opens_what_is_kept(quick: tuple[pl.DataFrame, Path]) -> None:
    _, folder = quick
    assert {each.name for each in folder.glob("trace-*.out")} == {f"trace-{arm}.out" for arm in ("stock", *ARMS)}
    toolchain = release_toolchain(DEFAULT_GO)
    command = [str(toolchain.go), "tool", "trace", "-http=127.0.0.1:0", str(folder / "trace-stock.out")]
    environment = {name: value for name, value in toolchain.environment().items() if name not in ("DISPLAY", "BROWSER")}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stderr is not None
            address = next(filter(None, (re.search(r"http://([\d.]+):(\d+)", line) for line in server.stderr)))
            connection = HTTPConnection(address[1], int(address[2]), timeout=30)
            connection.request("GET", "/")
            page = connection.getresponse()
            assert page.status == 200
            assert b"trace" in page.read()
            connection.close()
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_a_trace_that_cannot_be_written_is_said(build_program: BuildProgram, tmp_path: Path) -> None:
    command = [str(build_program("sleepbench")), "-plan", "1ms*1", "-trace", str(tmp_path / "none" / "trace")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"no such file" in done.stderr) == (1, True)


def test_a_container_is_refused(build_program: BuildProgram, tmp_path: Path) -> None:
    elsewhere = object.__new__(DockerBackend)  # it needs no engine to be refused
    setting = Setting(True, elsewhere, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        SleepPath().run(setting)


# The lines of strace 6.1, perf 6.1, Linux 6.18 and Go 1.27.3, as they came.

STRACE = """\
11 100.000001 epoll_pwait(6, [], 128, 1, NULL, 0) = 0 <0.001155>
12 100.000010 epoll_pwait2(5,  <unfinished ...>
11 100.000020 nanosleep({tv_sec=0, tv_nsec=20000}, NULL) = 0 <0.000105>
12 100.000100 <... epoll_pwait2 resumed>[], 128, {tv_sec=0, tv_nsec=77398}, NULL, 0) = 0 <0.000090>
12 100.000200 gettid()                  = 12 <0.000005>
11 100.000300 epoll_pwait(6, [], 128, -1, NULL, 0) = 0 <0.000001>
13 100.000400 clock_nanosleep(CLOCK_MONOTONIC, 0, {tv_sec=1, tv_nsec=5},  <unfinished ...>
13 101.000500 <... clock_nanosleep resumed>0xc0) = 0 <1.000100>
12 100.000500 futex(0x155cf2d9b160, FUTEX_WAIT_PRIVATE, 0, NULL) = ?
"""
PERF = """\
  5.903 (         ): sleepbench/15 epoll_pwait(epfd: 6, events: 0x39d0d37516fc, maxevents: 128, timeout: 4) ...
  5.950 ( 0.152 ms): sleepbench/11 nanosleep(rqtp: 0x39d0d3679f00)                                       = 0
  5.903 ( 4.109 ms): sleepbench/15  ... [continued]: epoll_pwait())                                      = 0
 15.384 ( 0.028 ms): sleepbench.sle/11 epoll_pwait(epfd: 7, events: 0x337116ffb8cc, maxevents: 128)      = 0
 15.500 ( 0.003 ms): sleepbench/15 gettid()                                              = 15 (sleepbench)
 16.000 ( 0.200 ms): sleepbench/15 epoll_pwait2(epfd: 6, events: 0x2c, maxevents: 128, timeout: 0x2c392be4b6c0) = 0
"""
KERNEL = """\
      sleepbench-20 [000] .....   961.359083: sys_epoll_pwait(epfd: 5, events: 0x1, maxevents: 0x80, timeout: 4, s: 0)
      sleepbench-20 [000] d..1.   961.359084: hrtimer_start: hrtimer=00000000faaaf144 function=hrtimer_wakeup \
expires=961363132824 softexpires=961363082824 mode=ABS was_armed=0
          <idle>-0  [000] d.h1.   961.363133: hrtimer_expire_entry: hrtimer=00000000faaaf144 function=x now=961363133001
      sleepbench-20 [000] .....   961.363171: sys_epoll_pwait -> 0x0
      sleepbench-21 [001] .....   961.363200: sys_epoll_pwait2(epfd: 5, events: 0x1, maxevents: 0x80, timeout: 0x9)
      sleepbench-21 [001] d..1.   961.363201: hrtimer_start: hrtimer=00000000aaaaf144 function=hrtimer_wakeup \
expires=961363300001 softexpires=961363300000 mode=ABS was_armed=0
      sleepbench-21 [001] .....   961.363310: sys_epoll_pwait2 -> 0x0
"""
TRACE = """\
M=-1 P=-1 G=-1 Sync Time=90 N=1 Trace=100 Mono=1100 Wall=2026-11-25T17:01:57.280850424Z
M=7 P=1 G=-1 StateTransition Time=150 ProcID=1 Idle->Running Reason=""
M=7 P=1 G=23 StateTransition Time=200 GoID=23 Runnable->Running Reason=""
M=7 P=1 G=23 StateTransition Time=300 GoID=23 Running->Waiting Reason="sleep"
TransitionStack=
\ttime.Sleep @ 0x47d224
M=8 P=0 G=-1 StateTransition Time=900 GoID=23 Waiting->Runnable Reason=""
M=8 P=0 G=-1 StateTransition Time=950 GoID=23 Runnable->Running Reason=""
M=8 P=0 G=5 StateTransition Time=960 GoID=5 Running->Waiting Reason="chan receive"
M=8 P=0 G=23 StateTransition Time=990 GoID=23 Running->Waiting Reason="sleep"
"""


def test_strace_is_read_with_its_limits_and_across_interruptions() -> None:
    log = read_strace(STRACE)
    found = {(call.tid, call.name): (call.timeout_ns, call.exit_ns - call.enter_ns) for call in log.calls}
    assert found[12, "epoll_pwait2"] == (77_398, 90_000)
    assert found[11, "epoll_pwait"] == (FOREVER, 1_000)
    assert found[13, "clock_nanosleep"] == (1_000_000_005, 1_000_100_000)
    assert log.calls[0] == Call(11, "epoll_pwait", 100_000_001_000, 100_001_156_000, MS)
    assert log.marks == [(12, 100_000_200_000, 100_000_205_000)]


def test_perf_is_read_with_its_limits_and_across_interruptions() -> None:
    log = read_perf(PERF)
    assert [(call.tid, call.name, call.timeout_ns, call.exit_ns) for call in log.calls] == [
        (11, "nanosleep", None, 6_102_000),
        (15, "epoll_pwait", 4 * MS, 10_012_000),
        (11, "epoll_pwait", 0, 15_412_000),
        (15, "epoll_pwait2", None, 16_200_000),
    ]
    assert log.marks == [(15, 15_500_000, 15_503_000)]


def test_the_kernels_record_gives_each_call_its_timer() -> None:
    millis, nanos = read_calls(KERNEL)
    expected = (4 * MS, 961_363_082_824, 961_363_133_000)
    assert (millis.timeout_ns, millis.armed_ns, millis.fired_ns) == expected
    assert (nanos.timeout_ns, nanos.fired_ns) == (100_000, None)


def test_a_trace_is_laid_on_the_monotonic_clock() -> None:
    trace = parse_trace(TRACE, "timerproc")
    sleep = Sleep(0, 500, 1_250, 1_960, 8)
    row = state_row(sleeper(trace, [sleep]), sleep)
    assert (row["states"], row["by_goroutine"]) == (IN_ORDER, False)
    assert (row["running_ns"], row["waiting_ns"], row["runnable_ns"]) == (50 + 10, 600, 50)
    assert (trace.threads, trace.processors, trace.named) == (frozenset({7, 8}), frozenset({0, 1}), 0)
    early = Sleep(0, 500, 1_310, 1_940, 8)  # the program's clock is a little ahead of the trace's at both ends
    assert state_row(sleeper(trace, [early]), early)["states"] == IN_ORDER
    with pytest.raises(ValueError, match="Sync"):
        parse_trace("M=7 P=1 G=23 Label", "timerproc")


def test_sleeps_lie_between_the_threads_own_marks() -> None:
    marks = [(1, 5, 6), (2, 10, 11), (2, 12, 13), (3, 14, 15), (3, 16, 17), (3, 30, 31), (1, 50, 51), (3, 80, 82)]
    sleeps = [Sleep(index, 9, 0, 0, tid) for index, tid in enumerate((3, 1, 3))]
    assert wall_to_wall(Log([], marks), sleeps, 1) == [Sleep(1, 9, 31, 50, 1), Sleep(2, 9, 51, 80, 3)]
    assert wall_to_wall(Log([], marks[:-1]), sleeps, 1) is None


def test_the_monitors_naps_are_no_sleeps() -> None:
    sleep = Sleep(0, 100, 1_000, 2_000, 8)
    naps = [Call(7, "nanosleep", 1_000, 1_980, 20)]
    epoll = Call(9, "epoll_pwait", 1_010, 1_950, MS)
    row = sleep_row(sleep, [*naps, epoll, Call(8, "epoll_pwait", 1_960, 1_965, 0)], 7)
    assert (row["call"], row["argument"], row["inside_ns"]) == ("epoll_pwait", "1 ms", 945)
    assert (row["nanosleep_ns"], row["monitor_ns"]) == (0, 980)
    assert sleep_row(sleep, [*naps, epoll], None)["call"] == "nanosleep"


def test_a_sleep_in_a_call_of_its_own_thread_is_told_from_an_idle_threads_wait() -> None:
    sleep = Sleep(0, 900, 1_000, 2_000, 8)
    calls = [Call(9, "epoll_pwait", 500, 9_000, FOREVER), Call(8, "clock_nanosleep", 1_020, 1_990, 900)]
    assert sleep_row(sleep, calls, 7)["call"] == "clock_nanosleep"


def test_a_limit_is_set_beside_the_time_left() -> None:
    sleep = Sleep(0, 100_000, 0, 1_100_000, 8)
    calls = [Call(8, "epoll_pwait", 9_000, 1_090_000, MS, 1_009_000), Call(8, "epoll_pwait", 200_000, 300_000, MS)]
    (row,) = call_rows(sleep, calls, 7)
    assert (row["timeout_ns"], row["left_ns"], row["past_ns"]) == (MS, 91_000, 909_000)


def sleep_rows(
    *, arm: str = "stock", source: str = TRACEPOINTS, nano: float = 0.0, order: float = 1.0, waiting: float = 0.99
) -> list[dict[str, Any]]:
    """Ten sleeps a block: ``nano`` of their time in nanosleep, ``order`` of them in the order that is claimed."""
    made = []
    for block in range(BLOCKS):
        for index in range(10):
            row: dict[str, Any] = {"kind": "sleep", "source": source, "arm": arm, "block": block, "index": index}
            row |= {"requested_ns": 100 * US, "actual_ns": MS, "call": "nanosleep" if nano > 0.5 else "epoll_pwait"}
            row |= {"inside_ns": int(0.99 * MS), "nanosleep_ns": int(nano * MS), "monitor_ns": 0, "argument": "1 ms"}
            if source in (TRACEPOINTS, RUNTIME):
                row |= {"states": IN_ORDER if index < 10 * order else "Running → Syscall → Running"}
                row |= {"waiting_ns": int(waiting * MS), "by_goroutine": False}
            made.append(row)
    return made


def call_row(block: int, left_ns: int, timeout_ns: int, arm: str = "stock") -> dict[str, Any]:
    about = {"kind": "call", "source": TRACEPOINTS, "arm": arm, "block": block, "requested_ns": 100 * US}
    limits = {"timeout_ns": timeout_ns, "left_ns": left_ns, "past_ns": timeout_ns - left_ns}
    return {**about, "index": 0, "call": "epoll_pwait", **limits}


def calls(*each: tuple[int, int]) -> list[dict[str, Any]]:
    """(left, limit) of the calls of every block."""
    return [call_row(block, *pair) for block in range(BLOCKS) for pair in each]


def run_rows(*, threads: int = 7, timerproc: int = 0, known: int = 9) -> list[dict[str, Any]]:
    about = {"kind": "run", "arm": "stock"}
    many = [{**about, "block": block, "sleepers": MANY, "threads": threads} for block in range(BLOCKS)]
    return [*many, {**about, "source": "file", "timerproc": timerproc, "known": known}]


def frame(*groups: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([row for group in groups for row in group], schema=SCHEMA)


ROUNDED = ((91 * US, MS), (2_450 * US, 2 * MS))
EXACT = ((2_000 * US, 2 * MS), (1_010 * US, MS))
FIXED = ((91 * US, 10 * MS), (2_450 * US, 10 * MS))


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [
        (EXACT, "holds"),
        (ROUNDED, "holds in part"),
        (FIXED, "refuted"),
        ((*EXACT, *ROUNDED, *EXACT), "cannot be tested here"),
    ],
    ids=["to the deadline", "whole ms", "always 10 ms", "some of each"],
)
def test_t1_follows_the_limits(pairs: tuple[tuple[int, int], ...], outcome: str) -> None:
    found = verdict("T1", frame(calls(*pairs)))
    assert found.outcome == outcome
    assert ("do not settle" in found.sentence) == (outcome == "cannot be tested here")


def test_t1_of_two_runs_is_not_settled() -> None:
    data = frame(calls(*ROUNDED)).filter(pl.col("block") < 2)
    assert verdict("T1", data).outcome == "cannot be tested here"


@pytest.mark.parametrize(
    ("sleeps", "runs", "outcome"),
    [
        (sleep_rows(), run_rows(timerproc=1), "holds"),
        (sleep_rows(), run_rows(), "holds in part"),
        (sleep_rows(order=0.2), run_rows(threads=56), "refuted"),
        (sleep_rows(), run_rows(known=0), "cannot be tested here"),
        (sleep_rows(source=RUNTIME), run_rows(), "holds in part"),
    ],
    ids=["as claimed", "no timerproc", "a thread each", "no names", "no tracepoints"],
)
def test_t2_follows_states_threads_and_names(
    sleeps: list[dict[str, Any]], runs: list[dict[str, Any]], outcome: str
) -> None:
    assert verdict("T2", frame(sleeps, runs)).outcome == outcome


@pytest.mark.parametrize(
    ("perf", "traced", "outcome"),
    [
        (sleep_rows(source=PERFED, nano=0.97), sleep_rows(), "holds"),
        (sleep_rows(source=PERFED, nano=0.97), sleep_rows(waiting=0.3), "holds in part"),
        (sleep_rows(source=PERFED), sleep_rows(), "refuted"),
        ([], sleep_rows(), "refuted"),
        (sleep_rows(source=PERFED, nano=0.7), sleep_rows(), "cannot be tested here"),
        (sleep_rows(source=PERFED), [], "cannot be tested here"),
    ],
    ids=["found", "found, not waiting", "not there", "without perf", "some of it", "no trace"],
)
def test_t5_follows_the_share_in_nanosleep(
    perf: list[dict[str, Any]], traced: list[dict[str, Any]], outcome: str
) -> None:
    assert verdict("T5", frame(perf, traced)).outcome == outcome


def test_what_is_missing_is_said_where_the_claim_is() -> None:
    why = "tracing: tracefs cannot be mounted; run as root"
    data = frame([{"kind": "missing", "source": TRACEPOINTS, "missing": why}], sleep_rows(source=RUNTIME))
    assert why in verdict("T1", data).sentence
    assert any(why in note for note in SleepPath().tables(data)[0].notes)
    assert SleepPath().draw(data) is None
