"""The readers of path: lines of strace, perf, the kernel and Go's trace; calls laid over sleeps."""

import pytest

from nanonap.lab.experiments.path.calls import FOREVER, Call, Log, Sleep, call_rows, sleep_row, wall_to_wall
from nanonap.lab.experiments.path.kernel import read_calls
from nanonap.lab.experiments.path.strace import read_perf, read_strace
from nanonap.lab.experiments.path.trace import parse_trace, sleeper, state_row
from nanonap.lab.experiments.path.verdicts import IN_ORDER

US, MS = 1_000, 1_000_000
# Lines made in the form that strace 6.1, perf 6.1, Linux 6.18 and Go 1.27.3 print; moments and numbers are made up.

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
      sleepbench-20 [000] d.h1.   961.359083: hrtimer_start: hrtimer=00000000cccc0000 function=tick_nohz_handler \
expires=961360000000 softexpires=961360000000 mode=ABS was_armed=0
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
M=8 P=0 G=-1 StateTransition Time=1900 GoID=23 Waiting->Runnable Reason=""
M=8 P=0 G=-1 StateTransition Time=1910 GoID=23 Runnable->Running Reason=""
M=8 P=0 G=23 StateTransition Time=1920 GoID=23 Running->Waiting Reason="GC assist wait"
M=7 P=1 G=5 StateTransition Time=1970 GoID=23 Waiting->Runnable Reason=""
M=8 P=0 G=-1 StateTransition Time=1980 GoID=23 Runnable->Running Reason=""
M=8 P=0 G=23 StateTransition Time=2000 GoID=23 Running->Waiting Reason="sleep"
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


def test_only_waits_for_a_sleep_are_a_sleeps() -> None:
    trace = parse_trace(TRACE, "timerproc")
    sleep = Sleep(0, 500, 1_985, 2_995, 8)
    row = state_row(sleeper(trace, [sleep]), sleep)
    assert "Waiting (GC assist wait)" in row["states"]
    assert (row["waiting_ns"], row["syscall_ns"], row["by_goroutine"]) == (2_900 - 1_990, 0, False)


def test_sleeps_lie_between_the_threads_own_marks() -> None:
    marks = [(1, 5, 6), (2, 10, 11), (2, 12, 13), (3, 14, 15), (3, 16, 17), (3, 30, 31), (1, 50, 51), (3, 80, 82)]
    sleeps = [Sleep(index, 9, 0, 0, tid) for index, tid in enumerate((3, 1, 3))]
    assert wall_to_wall(Log([], marks), sleeps, 1) == [Sleep(1, 9, 31, 50, 1), Sleep(2, 9, 51, 80, 3)]
    assert wall_to_wall(Log([], marks[:-1]), sleeps, 1) is None


def test_the_monitors_naps_are_no_sleeps() -> None:
    sleep = Sleep(0, 100, 1_000, 2_000, 8)
    naps = [Call(7, "nanosleep", 1_000, 1_980, 20)]
    naps.append(Call(7, "epoll_pwait", 1_985, 1_990, 0))  # it looks for ready files now and then
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
    calls.append(Call(9, "epoll_pwait", 15_000, 1_050_000, FOREVER))  # an idle thread's, for something else
    (row,) = call_rows(sleep, calls, 7)
    assert (row["timeout_ns"], row["left_ns"], row["past_ns"]) == (MS, 91_000, 909_000)


def test_a_wait_without_a_limit_is_told() -> None:
    (row,) = call_rows(Sleep(0, 100_000, 0, 1_100_000, 8), [Call(8, "epoll_pwait", 9_000, 1_090_000, FOREVER)], 7)
    assert (row["timeout_ns"], row["past_ns"]) == (FOREVER, None)


def test_idle_threads_epoll_is_none_of_a_sleep_elsewhere() -> None:
    calls = [Call(9, "epoll_pwait", 1_010, 9_000, MS), Call(8, "clock_nanosleep", 1_020, 1_990, 900)]
    assert list(call_rows(Sleep(0, 900, 1_000, 2_000, 8), calls, 7)) == []
