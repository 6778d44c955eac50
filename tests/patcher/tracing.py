"""Programs run in strace, and what each of their threads called."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.patience import PATIENCE_S
from tests.toolchain.conftest import Run, read_run

WAITS = "epoll_pwait2,epoll_pwait,epoll_wait,nanosleep,clock_nanosleep,prctl"


@dataclass(frozen=True)
class Call:
    """A line of strace's: the call's name, its arguments, and what it returned."""

    name: str
    arguments: str
    result: str


def finished(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; one that hangs is killed with all that it started."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err.decode()
    return subprocess.CompletedProcess(command, 0, out, err)


def traced(folder: Path, *command: str | Path) -> tuple[Run, list[list[Call]]]:
    """Run sleepbench in strace: what it wrote, and each thread's waits in order, but for one cut off by the end."""
    folder.mkdir(exist_ok=True)
    trace = ["strace", "-ff", "-qq", "-o", str(folder / "thread"), "-e", f"trace={WAITS}", "-e", "signal=none"]
    done = finished(*trace, *command)
    threads = []
    for log in sorted(folder.glob("thread.*")):
        found = [re.fullmatch(r"(\w+)\((.*)\) += (.*)", line) for line in log.read_text().splitlines()]
        calls = [Call(each[1], each[2], each[3]) for each in found if each and each[3] != "?"]
        # Of a call that fails strace shows where the time limit lay; one that was interrupted is made again.
        threads.append([each for each in calls if not _interrupted_unread(each)])
    return read_run(done.stdout), threads


def _interrupted_unread(call: Call) -> bool:
    return call.result.startswith("-1 EINTR") and re.search(r", 128, 0x\w+, NULL, ", call.arguments) is not None


def named(threads: list[list[Call]], name: str) -> list[Call]:
    return [call for thread in threads for call in thread if call.name == name]


def timeout_ns(call: Call) -> int:
    """epoll_pwait2(epfd, events, 128, {tv_sec=0, tv_nsec=999}, NULL, …)."""
    found = re.search(r", 128, \{tv_sec=(\d+), tv_nsec=(\d+)\}, NULL, ", call.arguments)
    assert found, call
    return int(found[1]) * 1_000_000_000 + int(found[2])


def timeout_ms(call: Call) -> int:
    """epoll_pwait(epfd, events, 128, 1, NULL, …)."""
    found = re.search(r", 128, (-?\d+), NULL, ", call.arguments)
    assert found, call
    return int(found[1])


def request(call: Call) -> tuple[int, int]:
    """(seconds, nanoseconds) of nanosleep({tv_sec=0, …}, NULL), clock_nanosleep(CLOCK_MONOTONIC, 0, {…}, NULL)."""
    found = re.match(r"(?:CLOCK_MONOTONIC, 0, )?\{tv_sec=(\d+), tv_nsec=(\d+)\}, ", call.arguments)
    assert found, call
    return int(found[1]), int(found[2])
