"""Programs met while they sleep: where their threads wait, as the kernel tells it, and what they say at their end."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanonap.trials.unwinding.places import CodeMap, code_map
from nanonap.trials.unwinding.survivors import LIVE, STOCK, Survivor, Unsound, process_of

SLEEPERS = 50
EPOLL_PWAIT, EPOLL_PWAIT2, CLOCK_NANOSLEEP = 281, 441, 230
#: The system call that time.Sleep comes to, by variant.
WAITS_IN = {
    STOCK: EPOLL_PWAIT,
    "netpoll": EPOLL_PWAIT2,
    LIVE: EPOLL_PWAIT2,
    "netpoll+slack1": EPOLL_PWAIT2,
    "netpoll+slack1+spin": EPOLL_PWAIT2,
    "netpoll+slack1+quantum": EPOLL_PWAIT2,
    "sleep": CLOCK_NANOSLEEP,
    "usleep": EPOLL_PWAIT,
    "stock+slack1": EPOLL_PWAIT,
}
_PATIENCE = 60  # seconds until a state that never comes is a failure


@dataclass(frozen=True)
class Thread:
    """A thread's system call, -1 while it runs, and the PC behind the instruction that made it, as linked."""

    system_call: int
    pc: int


@dataclass(frozen=True)
class Sleeping:
    """A survivor that runs."""

    process: subprocess.Popen[str]
    code: CodeMap

    def threads(self) -> list[Thread]:
        """Each thread: "running", or a call's number, its six arguments, SP and PC (proc_pid_syscall(5))."""
        found = []
        for each in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # the thread has ended
                words = (each / "syscall").read_text().split()
                inside = len(words) == 9
                found.append(Thread(int(words[0]), self.code.linked(int(words[8], 16))) if inside else Thread(-1, 0))
        return found

    def wait_until(self, holds: Callable[[list[Thread]], bool]) -> None:
        """Wait for the threads to be as wanted. Raises Unsound if the program ends or they never are."""
        end = time.monotonic() + _PATIENCE
        while not holds(seen := self.threads()):
            if self.process.poll() is not None:
                raise Unsound(f"ended with status {self.process.returncode}: {self.process.communicate()}")
            if time.monotonic() > end:
                raise Unsound(f"after {_PATIENCE} s its threads were not where they should wait: {seen}")
            time.sleep(0.01)

    def quit(self) -> "Ended":
        """Send SIGQUIT and wait for the end."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            _, traceback = self.process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Unsound(f"did not end within {_PATIENCE} s of SIGQUIT") from error
        return Ended(self.process.returncode, traceback, self.code)


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status, what it printed of its goroutines, and where its code lay."""

    status: int
    traceback: str
    code: CodeMap


@contextlib.contextmanager
def started(survivor: Survivor, *options: str, **environment: str) -> Iterator[Sleeping]:
    """A survivor that runs ``-mode wait`` and says that all sleep, then injected if it is to be; killed at the end."""
    with process_of([survivor.path, "-mode", "wait", *options], environment) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            if said != "ready\n":
                raise Unsound(f"said {said!r}, not that it is ready: {process.communicate()}")
            survivor.inject(process.pid)
            yield Sleeping(process, code_map(process.pid, survivor.path))
        finally:
            process.kill()


def quit_asleep(survivor: Survivor, variant: str, **environment: str) -> Ended:
    """Send SIGQUIT once all sleep where the variant makes them. Raises Unsound if they never do."""
    # With strategy sleep each is on a thread of its own, main's goroutine too; else one thread waits for all.
    at_least = SLEEPERS + 1 if variant == "sleep" else 1

    def all_asleep(seen: list[Thread]) -> bool:
        there = [each for each in seen if each.system_call == WAITS_IN[variant]]
        return len(there) >= at_least and all(each.system_call >= 0 for each in seen)

    with started(survivor, "-requested", "1h", "-for", "1h", "-sleepers", str(SLEEPERS), **environment) as sleeping:
        sleeping.wait_until(all_asleep)
        return sleeping.quit()


def quit_in_usleep(survivor: Survivor, **environment: str) -> Ended:
    """Send SIGQUIT while a thread waits in the stub of strategy usleep: the monitor's, soon or later."""

    def waits_in_stub(seen: list[Thread]) -> bool:
        return any(each.system_call == CLOCK_NANOSLEEP and survivor.in_stub(each.pc) for each in seen)

    with started(survivor, "-for", "1h", "-sleepers", "5", **environment) as sleeping:
        sleeping.wait_until(waits_in_stub)
        return sleeping.quit()
