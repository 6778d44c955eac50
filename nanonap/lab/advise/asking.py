"""Advice on a process: from its number, or a command, to the answer."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

from nanonap.base.errors import SystemIncomplete, UsageError
from nanonap.base.interrupts import held
from nanonap.lab.advise.advice import Advice, advise
from nanonap.lab.advise.looking import Glances, glance
from nanonap.lab.advise.probing import Target, opened
from nanonap.lab.advise.wakeup import measure
from nanonap.lab.advise.watching import watch
from nanonap.lab.attribution.errors import TracingUnavailable
from nanonap.lab.ground.watchdog import guard
from patcher import AlreadyPatched, AlreadyPrecise, NoSuchProcess, status
from patcher.live.process import entry_of
from patcher.live.slack import read as slack_of
from patcher.probing import probes

LEAST_S, MOST_S = 1.0, 3600.0
_PATIENCE_S = 60.0
_LOOK_S = 0.01


def ask(pid: int, length_s: float, tick: Callable[[float], None]) -> Advice | Glances:
    """Watch a stock process for so many seconds; ``tick`` is told how many are over.

    Raises UsageError for a time that is too short or too long, the errors of reading its program and of finding the
    process, AlreadyPatched, AlreadyPrecise.
    """
    if not LEAST_S <= length_s <= MOST_S:
        raise UsageError(f"a time to watch of {length_s:g}s: must be from 1s to 3600s", parameters=("for",))
    with opened(pid) as target:
        _check(target)
        places = probes(target.program)
        try:
            wakeup = measure()
            seen = watch(target, places, length_s, tick)
        except TracingUnavailable as error:
            return glance(target, length_s, f"{error.reason}; {error.remedy}", tick)
        except SystemIncomplete as error:
            return glance(target, length_s, str(error), tick)
        return advise(seen, wakeup, slack_of(pid))


def _check(target: Target) -> None:
    """Raises AlreadyPrecise or AlreadyPatched where the process, or another of its file, is not stock."""
    for each in target.beside():
        try:
            told = status(each)
        except NoSuchProcess:
            if each == target.pid:
                raise
            continue
        if told.state == "precise by itself":
            raise AlreadyPrecise(f"process {each}: waits precisely by itself: there is nothing to advise")
        if told.state not in ("stock", "unfit", "unknown"):
            raise AlreadyPatched(
                f"process {each} ({told.program}): {told.state}; only stock programs can be watched, and a probe is "
                "set for all processes of a file: eject it, or restart the original"
            )


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[int]:
    """The process of a command, which is ended with the block if it still runs, even when we are killed.

    Raises UsageError where it cannot be run, NoSuchProcess where it ends at once.
    """
    with held() as let_through:
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                restore_signals=True,
            )
        except OSError as error:
            raise UsageError(f"{command[0]}: cannot be run ({error.strerror})") from error
        guard.watch_session(process.pid)
        try:
            with let_through():
                while process.poll() is None and not _loaded(process.pid):
                    time.sleep(_LOOK_S)
                if process.poll() is not None:
                    raise NoSuchProcess(f"{command[0]}: ended at once, with status {process.returncode}")
                yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            guard.forget_session(process.pid)


def _loaded(pid: int) -> bool:
    """Whether the kernel has loaded the command's program."""
    with contextlib.suppress(NoSuchProcess, OSError):
        return bool(entry_of(pid))
    return False
