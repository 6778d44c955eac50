"""Control groups as folders: who is in one, and how one ends."""

import contextlib
import errno
import os
import signal
import time
from pathlib import Path


def remove_group(folder: Path, patience_s: float = 5.0) -> None:
    """End every process in the group and below, and remove it; a missing one is fine. OSError if it stays busy."""
    deadline = time.monotonic() + patience_s
    while folder.exists():
        inside = [Path(each) for each, _, _ in os.walk(folder, topdown=False)]
        # cgroup.procs shows processes of other PID namespaces as 0, which kill(2) takes for our own process group.
        for pid in {pid for each in inside for pid in processes_in(each) if pid > 0}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            for each in inside:
                with contextlib.suppress(FileNotFoundError):
                    each.rmdir()
        except OSError as error:
            # A killed process leaves its group a moment after it is signalled; until then rmdir(2) says EBUSY.
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def processes_in(folder: Path) -> list[int]:
    """The PIDs of a group's processes, 0 for those of other PID namespaces; none where it has gone."""
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()]
    except OSError:
        return []
