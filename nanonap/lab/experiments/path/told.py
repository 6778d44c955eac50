"""The sleeps under strace and under perf trace: runs of their own, since both slow a program down."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.experiments.path.calls import Log, Row, Sleep, call_rows, sleep_row, system_monitor, wall_to_wall
from nanonap.lab.experiments.path.data import PERFED, STRACED
from nanonap.lab.experiments.path.programs import Durations, Program, Ran, run
from nanonap.lab.experiments.path.strace import PERF, STRACE, read_perf, read_strace
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.run.syscalls import PRIVATE_TRACEFS

_WORKS_S = 20.0
#: Runs for a record that has the end of every sleep.
_RUNS = 3


@dataclass(frozen=True)
class Teller:
    """A tracer: commands that may work (given its file next, then the program), its reader, and what it needs."""

    source: str
    commands: tuple[tuple[str, ...], ...]
    read: Callable[[str], Log]
    remedy: str

    def command(self, folder: Path) -> tuple[str, ...] | None:
        """The first command that traces a harmless program here."""
        return next((command for command in self.commands if _works(command, folder)), None)


TELLERS = (
    Teller(STRACED, (STRACE,), read_strace, "install strace, where ptrace is permitted"),
    Teller(
        PERFED, ((*PRIVATE_TRACEFS, *PERF), PERF), read_perf, "run as root with perf installed (Debian: linux-perf)"
    ),
)


def _works(command: Sequence[str], folder: Path) -> bool:
    out = folder / "tried"
    out.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [*command, str(out), "true"], capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_WORKS_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and out.exists()


def told_rows(
    teller: Teller, programs: Sequence[tuple[Program, int]], durations: Durations, folder: Path, stop: Stop
) -> Iterator[Row]:
    """One row per sleep of each program's runs (so many), or why there is none. Raises Interrupted."""
    command = teller.command(folder)
    if command is None:
        missing = f"`{teller.source}` does not run here; {teller.remedy}"
        yield {"kind": "missing", "source": teller.source, "missing": missing}
        return
    out = folder / "told"
    for program, runs in programs:
        for block in range(runs):
            about: Row = {"source": teller.source, "arm": program.arm, "block": block}
            try:
                ran, log, sleeps = _whole(teller, (*command, str(out)), program, durations, block, stop)
            except (RunFailed, RecordingFailed, OSError) as error:
                # Without it the program has run: the other records stand.
                yield {"kind": "missing", **about, "missing": f"`{teller.source}` fails with the program ({error})"}
                break  # and so it would again
            if sleeps is None:
                said = f"its record does not show the end of every sleep: {len(log.marks)} for {len(ran.sleeps)} sleeps"
                yield {"kind": "missing", **about, "missing": said}
                continue
            monitor = system_monitor(log.calls, int(ran.header.pid))
            for sleep in sleeps:
                key = {**about, "index": sleep.index, "requested_ns": sleep.requested_ns}
                actual_ns = sleep.end_ns - sleep.start_ns
                yield {"kind": "sleep", **key, "actual_ns": actual_ns, **sleep_row(sleep, log.calls, monitor)}
                yield from ({"kind": "call", **key, **each} for each in call_rows(sleep, log.calls, monitor))


def _whole(
    teller: Teller, before: tuple[str, ...], program: Program, durations: Durations, block: int, stop: Stop
) -> tuple[Ran, Log, list[Sleep] | None]:
    """A run, its record and the sleeps on the record's clock: None where none of some runs has the end of every sleep.

    A tracer may lose events on a busy machine (perf-trace(1) says LOST), so such a run is made again.
    """
    out = Path(before[-1])
    for _ in range(_RUNS):
        out.unlink(missing_ok=True)
        ran = run(program, durations, block, stop, before=before)
        log = teller.read(out.read_text(encoding="utf-8", errors="replace"))
        sleeps = wall_to_wall(log, ran.sleeps, int(ran.header.pid))
        if sleeps is not None:
            break
    return ran, log, sleeps
