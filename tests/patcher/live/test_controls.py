"""The four wrong ways, done on purpose: each kills its target or loses a signal, and the right way beside it does not.

Should one of these tests fail, a precaution that costs something may have become needless, or a test has gone blind.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from nanonap.trials.cycles.programs import program
from nanonap.trials.cycles.subject import Subject, subject
from patcher.isa.amd64 import threads
from patcher.live import agent, moving, ptrace
from patcher.live.errors import NoSuchProcess
from patcher.live.moving import Memory, moves_of
from patcher.live.process import entry_of
from patcher.live.stopping import Doubt, held, thread_ids
from tests.patience import wait_until

_SINGLESTEP, _WALL = 9, 0x4000_0000  # linux/ptrace.h, linux/wait.h
_TGKILL = 234  # arch/x86/entry/syscalls/syscall_64.tbl
_LIMIT_S = 1.0
_RAISED = 70


@pytest.fixture(autouse=True)
def _stops_are_heard() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_a_tracer(work: Callable[[], object]) -> int:
    """Done in a process that ends by it, as if it had been killed there. Gives its exit status."""
    tracer = os.fork()
    if not tracer:
        status = _RAISED
        try:
            status = int(bool(work()))
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(tracer, 0)[1])
    assert status != _RAISED
    return status


_TRIES, _SOON_S = 10, 10.0


def dies(target: Subject) -> None:
    wait_until(lambda: not target.alive)


@pytest.mark.long
def test_a_tracer_that_dies_in_a_single_step_kills() -> None:
    """The trap flag stays set, and its trap is a signal that nobody takes any more; soon, if not the first time."""

    def step(pid: int) -> bool:
        with contextlib.suppress(NoSuchProcess, Doubt), held(pid, _LIMIT_S) as stops:
            for tid in stops:
                if ptrace.registers(tid)[threads.IN_SYSTEM_CALL] == (1 << 64) - 1:
                    ptrace._call(_SINGLESTEP, tid)
                    os.waitid(os.P_PID, tid, os.WSTOPPED | _WALL)
                    os._exit(2)  # in the midst of it: the step before was taken, the next is due
        return False

    with subject(program("1.27.3", "default"), Path("/nonexistent"), "-strains", "gc,sleep") as target:
        wait_until(lambda: not target.alive or in_a_tracer(lambda: step(target.pid)) < 0)


_COUNTS = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"got"))
os.write(1, b"ready")
while True: signal.pause()
"""


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "looked-at"])
def test_a_plain_wait_loses_the_signal_that_a_thread_was_stopped_at(plain: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", _COUNTS], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert os.read(process.stdout.fileno(), 100) == b"ready"

        def trace() -> None:
            ptrace.seize(process.pid)
            os.kill(process.pid, signal.SIGUSR1)
            if plain:
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | _WALL)
            else:
                stop = ptrace.wait_for_stop(process.pid, time.monotonic() + 3600)
                assert stop is not None and stop.held == signal.SIGUSR1
            os._exit(0)

        in_a_tracer(trace)
        wait_until(lambda: "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text())
        os.kill(process.pid, signal.SIGSTOP)  # what was to come has come
        os.kill(process.pid, signal.SIGCONT)
        if not plain:
            assert os.read(process.stdout.fileno(), 100) == b"got"
        else:
            wait_until(lambda: "State:\tS" in Path(f"/proc/{process.pid}/status").read_text())
            os.set_blocking(process.stdout.fileno(), False)
            with pytest.raises(BlockingIOError):
                os.read(process.stdout.fileno(), 100)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def storm(pid: int) -> Iterator[None]:
    """SIGURG to every thread, as fast as can be: the poller is nearly always in a handler."""
    sender = os.fork()
    if not sender:
        libc = ctypes.CDLL(None)
        while True:
            for tid in thread_ids(pid):
                libc.syscall(_TGKILL, pid, tid, int(signal.SIGURG))
            time.sleep(0.0001)
    try:
        yield
    finally:
        os.kill(sender, signal.SIGKILL)
        os.waitpid(sender, 0)


@pytest.mark.long
def test_a_signal_frame_that_is_not_looked_for_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread in a handler comes back into code that is another by then: right behind the stub's system call."""

    def change_blindly(request: agent.Request) -> None:
        """Hold until a thread is met in a handler that returns into the wait; then do as if it had not been seen."""
        tables = [each.table for each in request.script.sites]
        while True:
            with contextlib.suppress(Doubt), held(request.pid, _LIMIT_S) as stops:
                bias = entry_of(request.pid) - request.script.entry
                descriptor = os.open(f"/proc/{request.pid}/mem", os.O_RDWR)
                memory = Memory(descriptor, bias)
                try:
                    moves_of(list(stops), tables, memory, scan_all=False)
                except Doubt as doubt:
                    if "signal handler" in str(doubt):
                        monkeypatch.setattr(moving, "_check_frames", lambda *_: None)
                        for tid, values in moves_of(list(stops), tables, memory, scan_all=False).items():
                            ptrace.set_registers(tid, values)
                        agent._write(request, memory)
                        os._exit(2)
                finally:
                    os.close(descriptor)

    with subject(program("1.27.3", "default"), tmp_path / "record", "-strains", "sleep") as target, storm(target.pid):
        for _ in range(_TRIES):  # what the thread has in its registers may do no harm by chance
            assert "done" in agent.serve(target.request("inject"))
            assert in_a_tracer(partial(change_blindly, target.request("eject"))) == 2
            until = time.monotonic() + _SOON_S
            while target.alive and time.monotonic() < until:
                time.sleep(0.02)
            if not target.alive:
                break
        dies(target)


@pytest.mark.long
def test_half_a_write_across_a_page_kills(tmp_path: Path) -> None:
    """What a writer that is killed between two pages leaves."""

    def write_half(request: agent.Request) -> None:
        with contextlib.suppress(Doubt), held(request.pid, _LIMIT_S) as stops:
            script = request.script
            bias = entry_of(request.pid) - script.entry
            memory = Memory(os.open(f"/proc/{request.pid}/mem", os.O_RDWR), bias)
            site = script.sites[0]
            moves = moves_of(list(stops), [site.table], memory, scan_all=True)
            for tid, values in moves.items():
                ptrace.set_registers(tid, values)
            window = site.windows[0]
            first = 4096 - window.address % 4096
            assert first < len(window.after)
            os.pwrite(memory.descriptor, window.after[:first], window.address + bias)
            os._exit(2)

    with subject(program("1.27.3", "crossing"), tmp_path / "record", "-strains", "sleep,http") as target:
        request = target.request("inject")
        while in_a_tracer(lambda: write_half(request)) != 2:
            assert target.alive
        dies(target)
