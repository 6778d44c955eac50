"""Programs met while they sleep: where their threads wait, as the kernel tells it, and what they say at their end."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.endtoend.survivors import STOCK, Survivor, clean_environment

SLEEPERS = 50
EPOLL_PWAIT, EPOLL_PWAIT2, CLOCK_NANOSLEEP = 281, 441, 230
#: The system call that time.Sleep comes to.
WAITS_IN = {
    STOCK: EPOLL_PWAIT,
    "netpoll": EPOLL_PWAIT2,
    "netpoll+slack1": EPOLL_PWAIT2,
    "sleep": CLOCK_NANOSLEEP,
    "usleep": EPOLL_PWAIT,
}
_PATIENCE = 60  # seconds until a state that never comes is a failure


@dataclass(frozen=True)
class Thread:
    """A thread's system call, -1 while it runs, and the PC behind the instruction that made it."""

    system_call: int
    pc: int


def threads(pid: int) -> list[Thread]:
    """Each thread of a process: "running", or a call's number, its six arguments, SP and PC (proc_pid_syscall(5))."""
    found = []
    for each in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # the thread has ended
            words = (each / "syscall").read_text().split()
            found.append(Thread(int(words[0]), int(words[8], 16)) if len(words) == 9 else Thread(-1, 0))
    return found


@contextlib.contextmanager
def started(survivor: Survivor, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A survivor that runs; killed at the end if it still does."""
    with subprocess.Popen(
        [survivor.path, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(environment),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(process: subprocess.Popen[str], holds: Callable[[list[Thread]], bool]) -> None:
    """Wait for a process's threads to be as wanted."""
    end = time.monotonic() + _PATIENCE
    while not holds(seen := threads(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, seen
        time.sleep(0.01)


def quit_asleep(survivor: Survivor, variant: str, **environment: str) -> tuple[int, str]:
    """Send SIGQUIT once all sleep where the variant makes them; the exit status and the traceback."""
    # With strategy sleep each is on a thread of its own, main's goroutine too; else one thread waits for all.
    at_least = SLEEPERS + 1 if variant == "sleep" else 1

    def all_asleep(seen: list[Thread]) -> bool:
        there = [each for each in seen if each.system_call == WAITS_IN[variant]]
        return len(there) >= at_least and all(each.system_call >= 0 for each in seen)

    options = ("-mode", "wait", "-requested", "1h", "-for", "1h", "-sleepers", str(SLEEPERS))
    with started(survivor, *options, **environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wait_until(process, all_asleep)
        process.send_signal(signal.SIGQUIT)
        _, traceback = process.communicate()
    return process.returncode, traceback
