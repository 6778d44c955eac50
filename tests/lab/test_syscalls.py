"""Counting system calls by the kernel (perf) and by strace, of programs whose calls are known."""

import os
import subprocess
import sys

import pytest

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.arms import Arm, discover
from nanonap.lab.plan.conditions import COST
from nanonap.lab.plan.schedule import Run
from nanonap.lab.run.syscalls import (
    ALL,
    COUNTED,
    COUNTERS,
    REMEDY,
    Counter,
    count,
    find_counter,
    read_perf,
    read_strace,
)
from tests.lab.made import GO, Roots

STRACE = COUNTERS[-1]

PERF_OUTPUT = """\
# started on Mon Nov 23 16:18:17 2026

4021,,syscalls:sys_enter_epoll_pwait,1648319,100.00,,
0,,syscalls:sys_enter_epoll_pwait2,1648319,100.00,,
5000,,raw_syscalls:sys_enter,1648319,100.00,,
<not counted>,,syscalls:sys_enter_futex,0,0.00,,
"""

STRACE_OUTPUT = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 97.41    0.123456          12     10001        17 epoll_pwait
  2.59    0.003278           3       900           nanosleep
------ ----------- ----------- --------- --------- ----------------
100.00    0.126734          11     10901        17 total
"""


def test_perfs_counts_are_read_and_what_it_did_not_count_is_left_out() -> None:
    assert read_perf(PERF_OUTPUT) == {"epoll_pwait": 4021, "epoll_pwait2": 0, ALL: 5000}


def test_straces_table_is_read_with_and_without_errors_and_silence_is_zero() -> None:
    counts = read_strace(STRACE_OUTPUT)
    assert (counts["epoll_pwait"], counts["nanosleep"], counts["epoll_pwait2"]) == (10001, 900, 0)
    assert counts[ALL] == 10901


def test_a_machine_with_no_counter_has_none() -> None:
    broken = Counter("perf", lambda out: ["/nonexistent/perf"], read_perf)
    silent = Counter("perf", lambda out: ["/bin/sh", "-c", f": > {out}", "sh"], read_perf)
    assert find_counter([broken, silent]) is None
    assert find_counter([]) is None


@pytest.fixture
def workload(roots: Roots) -> Run:
    stock: Arm = discover(roots.build, roots.patched, GO, names=("stock",))[0]
    return Run(0, stock, COST, ((1_000_000, 100),), 0, seed=1)


def _check(counter: Counter, workload: Run) -> None:
    counted = count(counter, workload, gomaxprocs=2, stop=Stop())
    assert counted.sleeps == 5_000
    calls = counted.calls
    assert set(calls) == {*COUNTED, ALL}
    assert calls[ALL] >= sum(calls[name] for name in COUNTED)
    assert counted.per_sleep == calls[ALL] / counted.sleeps
    # Stock waits in epoll_pwait, in whole milliseconds: many sleepers share a wait, and none waits in epoll_pwait2.
    assert 10 < calls["epoll_pwait"] < counted.sleeps
    assert calls["epoll_pwait2"] == 0
    assert counted.epoll_per_second == pytest.approx(calls["epoll_pwait"] / (counted.wall_ns / 1e9))


def test_the_kernel_counts_the_waits_of_the_cost_workload(workload: Run) -> None:
    counter = find_counter(COUNTERS[:-1])
    if counter is None:
        pytest.skip(f"needs perf with system call tracepoints: {REMEDY}")
    _check(counter, workload)


def test_strace_counts_them_where_perf_cannot(workload: Run) -> None:
    if find_counter([STRACE]) is None:
        pytest.skip("needs strace and leave to trace one's own children: install strace (kernel.yama.ptrace_scope < 3)")
    _check(STRACE, workload)


def test_counting_leaves_no_mount_behind_even_where_mounts_are_shared() -> None:
    script = (
        "from pathlib import Path; from nanonap.lab.run.syscalls import find_counter\n"
        "mounts = Path('/proc/self/mountinfo'); before = mounts.read_text(); find_counter()\n"
        "print(mounts.read_text() == before)"
    )
    shared = 'umount /sys/kernel/tracing 2>/dev/null; mount --make-rshared / && exec "$@"'
    around = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", shared, "sh"]
    if subprocess.run([*around, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to make a mount namespace with shared mounts")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [*around, sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "True"
