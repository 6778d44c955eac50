"""What programs did in a guest of the lab's: read from what a job gave."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from nanonap.lab.guest.jobs import Job, Outcome
from nanonap.trials.matrix.steps import Failed
from nanonap.trials.unwinding.asleep import EPOLL_PWAIT2, SLEEPERS, WAITS_IN, Ended
from nanonap.trials.unwinding.places import code_map_in
from nanonap.trials.unwinding.survivors import Unsound, sound
from patcher.isa.isa import Isa

# Runs $1 with the other options until all its threads are in a system call, one of them in the number $N; then quits.
_QUIT = """
"$@" > said 2> traceback &
until grep -q ready said; do usleep 10000; done
for i in $(seq 3000); do
    usleep 10000
    awk -v n=$N '$1 == "running" { r = 1 } $1 == n { w = 1 } END { exit r || !w }' /proc/$!/task/*/syscall && break
done
cp /proc/$!/maps maps
kill -QUIT $!
wait $!
"""


def quit_job(isa: Isa, survive: str, variant: str, traceback: str = "all") -> Job:
    """SIGQUIT while all sleep where the variant makes them."""
    name = "epoll_pwait2" if WAITS_IN[variant] == EPOLL_PWAIT2 else "epoll_pwait"
    options = ("-mode", "wait", "-requested", "1h", "-for", "1h", "-sleepers", str(SLEEPERS))
    own = {"N": str(isa.system_calls[name]), "GOTRACEBACK": traceback}
    return Job(("sh", "-c", _QUIT, "sh", survive, *options), own)


def ended(outcome: Outcome, survive: Path) -> Ended:
    """How the program of a ``quit_job`` ended. Raises Unsound where it did not come so far."""
    try:
        maps = outcome.files["maps"].decode()
        traceback = outcome.files["traceback"].decode(errors="replace")
        return Ended(outcome.status, traceback, code_map_in(maps, survive))
    except LookupError as error:
        raise Unsound(f"it did not sleep: status {outcome.status}, {outcome.stderr!r}") from error


def medians(outcome: Outcome) -> dict[int, float]:
    """Of sleepbench's sleeps, by what was asked for, ns."""
    line, _, body = stdout_of(outcome).partition(b"\n")
    header = json.loads(line)
    requested, actual = np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[:2]
    return {int(each): float(np.median(actual[requested == each])) for each in np.unique(requested)}


def none_early(stdout: bytes) -> int:
    """How many sleeps sleepbench made. Raises Failed where one was early, or the run cut short."""
    line, _, body = stdout.partition(b"\n")
    header = json.loads(line)
    requested, actual = np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[:2]
    if header["truncated"] or (actual < requested).any():
        raise Failed("a sleep was early, or the run cut short")
    return int(header["n"])


def stdout_of(outcome: Outcome) -> bytes:
    """Raises Failed for an end that is no good one."""
    if outcome.status != 0:
        raise Failed(f"exit status {outcome.status}: {outcome.stderr.decode(errors='replace')}")
    return outcome.stdout


def figures_of(outcome: Outcome, *options: str) -> dict[str, Any]:
    """The stress program's. Raises Unsound unless all that holds for every mode does."""
    out, err = outcome.stdout.decode(errors="replace"), outcome.stderr.decode(errors="replace")
    return sound(options, subprocess.CompletedProcess(list(options), outcome.status, out, err))
