"""The arms ``cyclictest``: the kernel people's own program (rt-tests), beside ours in the same run.

cyclictest sleeps on an absolute schedule with clock_nanosleep and notes how late it wakes (cyclictest(8)). It runs once
per duration, since it knows one interval; what it gives is a histogram in whole microseconds, rounded downwards, from
which the sleeps are made again in no particular order (in nanoseconds it would count no sleep that is late by 1 ms).
By itself it keeps the CPUs out of deep idle states (/dev/cpu_dma_latency) where it may, which no Go program does:
``--default-system`` leaves the machine as it is for all arms. An interval that was missed is skipped by cyclictest, not
counted as late: at intervals near the lateness it says too little.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Finished
from nanonap.lab.plan.schedule import Run
from nanonap.lab.run.header import Header

_MOST_LATE_US = 1_000_000  # cyclictest's HIST_MAX; what is later is not in the histogram, and refused here
_FIFO_PRIORITY = 80


def argv(run: Run, interval_ns: int, loops: int, out: Path) -> list[str]:
    """The command for one duration; its interval is whole microseconds."""
    policy = (
        ["--policy", "fifo", "-p", str(_FIFO_PRIORITY)] if run.arm.name.endswith("+fifo") else ["--policy", "other"]
    )
    words = [str(run.arm.path), "--quiet", "--default-system", "--threads=1", *policy]
    words += ["-i", str(max(1, interval_ns // 1_000)), "-l", str(loops)]
    return [*words, f"--histogram={_MOST_LATE_US}", f"--json={out}"]


def read(text: str) -> NDArray[np.int64]:
    """Lateness of each sleep, ns, ascending, from what ``--json`` wrote. Raises ValueError where it is not that."""
    document = json.loads(text)
    try:
        thread = document["thread"]["0"]
        pairs = sorted((int(late), int(count)) for late, count in thread["histogram"].items())
        cycles = int(thread["cycles"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no histogram of a thread ({error})") from error
    if not pairs or sum(count for _, count in pairs) != cycles or document.get("resolution_in_ns") != 0:
        raise ValueError(f"its histogram has not all of its {cycles} cycles, in µs")
    return 1_000 * np.repeat(np.array([late for late, _ in pairs]), [count for _, count in pairs]).astype(np.int64)


def measure(run: Run, execute: Callable[[list[str]], Finished]) -> tuple[Header, NDArray[np.int64]]:
    """(header, samples of shape (4, n)) of a run, as ``nanonap.lab.run.runner.Output`` has them. Raises RunFailed.

    What cyclictest does not tell (CPU time, switches) is None.
    """
    columns = []
    began_ns = time.monotonic_ns()
    for requested_ns, loops in run.plan:
        with tempfile.TemporaryDirectory(prefix="nanonap-") as folder:
            out = Path(folder, "out.json")
            execute(argv(run, requested_ns, loops, out))
            try:
                late = read(out.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise RunFailed(f"arm {run.arm.name}: cyclictest's JSON cannot be read: {error}") from error
        zeros = np.zeros_like(late)
        columns.append(np.stack([zeros + requested_ns, requested_ns + late, zeros, zeros]))
    samples = np.concatenate(columns, axis=1)
    return Header(n=samples.shape[1], wall_ns=time.monotonic_ns() - began_ns, truncated=False), samples
