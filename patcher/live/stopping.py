"""All threads of a process held still, and let go as they were."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from patcher.live import ptrace
from patcher.live.errors import NoSuchProcess, Traced

_MOMENT_S = 0.001
_TICK_S = 0.01


class Doubt(Exception):
    """The threads cannot be moved as they stand now, or not all be stopped: let them go and try again."""


def thread_ids(pid: int) -> list[int]:
    """The threads that there are now, the leader first, as the kernel lists them. Raises NoSuchProcess."""
    try:
        return [int(each) for each in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208 - Path.iterdir makes an object of each
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid}: ended") from error


def _threads(pid: int) -> int:
    """How many threads there are, by one call (fs/proc/base.c, proc_task_getattr)."""
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2  # noqa: PTH116 - asked while the process stands still
    except OSError:
        return 0


class Held(dict[int, ptrace.Stop]):
    """How each thread stands, by its number; ``since_ns``: when the first was told to stop (CLOCK_MONOTONIC)."""

    since_ns = 0


@contextlib.contextmanager
def held(pid: int, limit_s: float, seized: Callable[[], None] = lambda: None) -> Iterator[Held]:
    """Every thread, stopped, with how it stands; behind the block all go on, each with the signal it was about to get.

    None of them runs meanwhile, and there is none beside: a list that is read while all known ones stand, and names no
    other, is whole, since only a thread that runs makes another. Raises Doubt where one does not stop in time (in an
    uninterruptible system call; a vfork waits for its child): a caller that ends then, as it must, lets go of that one
    too, which no detach can. ``seized`` is called when all threads that were listed first are traced and still run:
    from then on the process's number is no other's. SIGALRM and its timer are in use here.
    """
    stops: dict[int, ptrace.Stop | None] = {}
    ended: list[int] = []
    try:
        since_ns = _stop_all(pid, stops, limit_s, seized)
        standing = Held((tid, stop) for tid, stop in stops.items() if stop is not None)
        standing.since_ns = since_ns
        signal.setitimer(signal.ITIMER_REAL, 0)
        yield standing
    finally:
        for tid, stop in stops.items():
            try:
                if stop is not None:
                    ptrace.detach(tid, stop.held)
                    continue
            except OSError:  # it was killed: SIGKILL alone reaches a thread that stands
                pass
            ended.append(tid)
        for tid in sorted(ended, key=lambda each: each == pid):  # what died in our hands, the leader last
            ptrace.reap(tid)


def _stop_all(pid: int, stops: dict[int, ptrace.Stop | None], limit_s: float, seized: Callable[[], None]) -> int:
    """Stop every thread, and note in ``stops`` what was seized, stopped or not; when the first was told to stop, ns."""
    until = time.monotonic() + limit_s
    since_ns = 0
    listed = thread_ids(pid)
    while new := [each for each in listed if each not in stops]:
        # A thread that execs waits for our ptrace to take note of the others' ends, and PTRACE_SEIZE for that thread
        # (cred_guard_mutex): only the end of this process frees both.
        _alarm(signal.SIG_DFL, 2 * limit_s)
        for tid in new:
            stops[tid] = None
            _seize(pid, tid)
        if not since_ns:
            seized()
        _alarm(_nothing, _TICK_S)  # for the waits
        since_ns = since_ns or time.monotonic_ns()
        for tid in new:
            try:
                ptrace.interrupt(tid)
            except ProcessLookupError:
                continue
        for tid in new:
            stops[tid] = _stopped(tid, until)
        listed = [*stops] if None not in stops.values() and _threads(pid) == len(stops) else thread_ids(pid)
    for tid in listed:
        if stops.get(tid) is None and not _is_gone(status_of(tid)):
            raise Doubt(f"thread {tid} is not held: another has exec'd and has its number now")
    return since_ns


def _alarm(handler: Callable[[int, FrameType | None], None] | signal.Handlers, every_s: float) -> None:
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, every_s, every_s)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A signal that is heard ends a wait, even one that nothing is done about."""


def _seize(pid: int, tid: int) -> None:
    """Raises Traced, PermissionError or Doubt; a thread that is gone or is a zombie is passed over."""
    try:
        ptrace.seize(tid)
    except ProcessLookupError:
        return
    except PermissionError:
        state = status_of(tid)
        if _is_gone(state):
            return
        tracer = int(state.get("TracerPid", "0"))
        if tracer and tracer != os.getpid():
            raise Traced(traced_by(pid, tracer)) from None
        _seize_again(tid)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from error


def _seize_again(tid: int) -> None:
    """What is refused for no reason that shows had one that has passed: its tracer has ended, or it was a leader that
    another thread, which may be held already, has just replaced by exec. Raises Doubt then, PermissionError else.
    """
    time.sleep(_MOMENT_S)
    with contextlib.suppress(ProcessLookupError):
        if int(status_of(tid).get("TracerPid", "0")) != os.getpid():
            ptrace.seize(tid)
    raise Doubt(f"thread {tid} is not what it was a moment ago")


def _is_gone(state: dict[str, str]) -> bool:
    return state.get("State", "Z")[:1] in "ZX"


def _stopped(tid: int, until: float) -> ptrace.Stop | None:
    try:
        return ptrace.wait_for_stop(tid, until)
    except TimeoutError as error:
        state = status_of(tid)
        inside = wait_channel(tid)
        raise Doubt(
            f"thread {tid} ({state.get('Name', '?')}, state {state.get('State', '?')}{inside}) does not stop"
        ) from error


def traced_by(pid: int, tracer: int) -> str:
    """The refusal that names the tracer."""
    name = status_of(tracer).get("Name", "?")
    return f"process {pid}: traced by process {tracer} ({name}); end that (its detach), then try again"


def wait_channel(tid: int) -> str:
    """Where in the kernel a thread waits, for a message; empty where that is not told."""
    try:
        text = Path(f"/proc/{tid}/wchan").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f", in {text}" if text not in ("", "0") else ""


def status_of(tid: int) -> dict[str, str]:
    """The fields of proc_pid_status(5); none of a process that is gone."""
    try:
        text = Path(f"/proc/{tid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
