"""The timer slack of every thread of another process, and what it was before (proc(5), timerslack_ns).

New threads inherit it from the one that creates them. So all are set when a list of the threads names none that was not
set before the list was read, and the process need not stand still. Only /proc/TID has the file, not /proc/PID/task/TID;
and whoever is not the thread itself needs CAP_SYS_NICE (fs/proc/base.c, timerslack_ns_write).
"""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from patcher.answers import WrongShape, decode, encode
from patcher.live.stopping import thread_ids

_MOST_LISTS = 20  # of a process that makes threads all the time: those of the last lists have what their makers had


@dataclass
class Before:
    """What the slack of a process was, in ns: of each thread by its number, and of any other that came since."""

    default_ns: int
    threads_ns: dict[int, int] = field(default_factory=dict)
    set_ns: int | None = None


def read(tid: int) -> int | None:
    """A thread's slack; None where it may not be known, or the thread is gone."""
    try:
        return int(Path(f"/proc/{tid}/timerslack_ns").read_bytes())
    except (OSError, ValueError):
        return None


def write(tid: int, value_ns: int) -> bool:
    """Set a thread's slack; False where that may not be, or the thread is gone."""
    try:
        descriptor = os.open(f"/proc/{tid}/timerslack_ns", os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"%d" % value_ns)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def change(pid: int, value_ns: int, record: Path, known: Before | None) -> int:
    """Set it for every thread, once what it was is kept in a file, else for none; of how many it could not be set.

    Raises NoSuchProcess, as ``restore``.
    """
    tids = thread_ids(pid)
    before = {tid: found for tid in tids if (found := read(tid)) is not None}
    if not before:
        return len(tids)
    if known is None:
        known = Before(before.get(tids[0], next(iter(before.values()))), before, value_ns)
    else:
        known.set_ns = value_ns
    try:
        keep(record, known)
    except OSError:  # no room: what cannot be undone is not done
        return len(tids)
    return _set_all(pid, lambda _: value_ns)


def restore(pid: int, known: Before) -> int:
    """Give every thread what it had, new ones what the leader had; of how many that could not be done."""
    return _set_all(pid, lambda tid: known.threads_ns.get(tid, known.default_ns))


def _set_all(pid: int, wanted: Callable[[int], int]) -> int:
    done: dict[int, bool] = {}
    for _ in range(_MOST_LISTS):
        new = [tid for tid in thread_ids(pid) if tid not in done]
        if not new:
            break
        done |= {tid: write(tid, wanted(tid)) for tid in new}
    return sum(not done.get(tid, True) for tid in thread_ids(pid))


def keep(record: Path, known: Before) -> None:
    """Write the record, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f".{record.name}.", dir=record.parent)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(json.dumps(encode(known)).encode())
    Path(name).replace(record)


def recorded(record: Path | None) -> Before | None:
    """What is kept of a process; None where nothing is, or nothing that can be read."""
    try:
        return None if record is None else decode(Before, json.loads(record.read_bytes()))
    except (OSError, ValueError, WrongShape):
        return None


def record_of(pid: int, started: int) -> Path | None:
    """Where a process's record lies: by number and start time, in a folder of this user alone, until the next boot.

    None where this user can have no such folder: none of another's is trusted.
    """
    folder = _folder()
    return folder and folder / f"{pid}-{started}.json"


def _folder() -> Path | None:
    uid = os.geteuid()
    places = [Path("/run/nanonap")] if uid == 0 else []
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime) / "nanonap")
    places.append(Path(tempfile.gettempdir()) / f"nanonap-{uid}")
    for each in places:
        with contextlib.suppress(OSError):
            each.mkdir(mode=0o700, exist_ok=True)
            found = each.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022:
                return each
    return None
