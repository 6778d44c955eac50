"""Advice on a process: from its number, or a command, to the answer."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nanonap.base.errors import UsageError
from nanonap.lab.advise.advice import Advice, advise
from nanonap.lab.advise.looking import Glances, glance
from nanonap.lab.advise.probing import beside
from nanonap.lab.advise.wakeup import measure
from nanonap.lab.advise.watching import watch
from nanonap.lab.attribution.errors import TracingUnavailable
from patcher import AlreadyPatched, AlreadyPrecise, InputNotFound, NoSuchProcess, status
from patcher.live.process import entry_of
from patcher.live.slack import read as slack_of
from patcher.probing import Probes, probes

_PATIENCE_S = 60.0
_LOOK_S = 0.01


def ask(pid: int, length_s: float, tick: Callable[[float], None]) -> Advice | Glances:
    """Watch a stock process for so many seconds; ``tick`` is told how many are over.

    Raises the errors of reading its program and of finding the process, AlreadyPatched, AlreadyPrecise.
    """
    places = _probes(pid)
    wakeup = measure()
    try:
        seen = watch(pid, places, length_s, tick)
    except TracingUnavailable as error:
        return glance(pid, length_s, f"{error.reason}; {error.remedy}", tick)
    return advise(seen, wakeup, slack_of(pid) or 0)


def _probes(pid: int) -> Probes:
    """Where a process can be watched. What is injected must not meet a probe: it stands in other code."""
    for each in beside(pid) or [pid]:
        told = status(each)
        if told.state == "precise by itself":
            raise AlreadyPrecise(f"process {each}: waits precisely by itself: there is nothing to advise")
        if told.state not in ("stock", "unfit", "unknown"):
            raise AlreadyPatched(
                f"process {each} ({told.program}): {told.state}; only stock programs can be watched, and a probe is "
                "set for all processes of a file: eject it, or restart the original"
            )
    try:
        with Path(f"/proc/{pid}/exe").open("rb") as program:
            return probes(program)
    except PermissionError as error:
        raise InputNotFound(f"process {pid}: its program cannot be read ({error.strerror}); run as root") from error
    except OSError as error:
        raise NoSuchProcess(f"process {pid}: ended") from error


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[int]:
    """The process of a command, which is ended with the block if it still runs.

    Raises UsageError where it cannot be run, NoSuchProcess where it ends at once.
    """
    own = os.stat("/proc/self/exe")  # noqa: PTH116 - a process's file
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise UsageError(f"{command[0]}: cannot be run ({error.strerror})") from error
    try:
        while process.poll() is None and _begins(process.pid, own):
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


def _begins(pid: int, program: os.stat_result) -> bool:
    """Whether a process has not begun the command that it is to run: it still runs a program of before, or loads."""
    with contextlib.suppress(OSError, NoSuchProcess):
        entry_of(pid)
        return os.path.samestat(program, os.stat(f"/proc/{pid}/exe"))  # noqa: PTH116 - a process's file
    return True
