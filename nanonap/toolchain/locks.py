"""Mutual exclusion between processes that make the same folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from nanonap.base.files import as_ours


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive flock(2) on ``path``, made if absent; waits for whoever holds it.

    The kernel lets go when the process ends, however it ends, so no stale lock can remain.
    Raises OutputNotWritable or DiskFull when the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise as_ours(error, path) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
