"""A run of sleepbench with a recording beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nanonap.lab.attribution.attribute import Attribution, attribute
from nanonap.lab.attribution.carry import options, unpack
from nanonap.lab.attribution.recording import Recording
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.interrupt import Finished, Stop
from nanonap.lab.quota.above import above_group
from nanonap.lab.quota.base import Group, Place
from nanonap.lab.quota.cgroup import ENTER_FAILED

_TIMEOUT_S = 120.0


class Recorded(NamedTuple):
    """sleepbench's output, the recording's text and its method: what ``attribute`` takes."""

    output: bytes
    trace_text: str
    method: str


def run_attributed(
    argv: Sequence[str], group: Group, stop: Stop, mode: str = "auto", name: str | None = None
) -> Attribution:
    """Run sleepbench as ``run_recorded`` does, and attribute its sleeps. Raises as that."""
    return attribute(*run_recorded(argv, group, stop, mode, name))


def run_recorded(
    argv: Sequence[str], group: Group, stop: Stop, mode: str = "auto", name: str | None = None
) -> Recorded:
    """Run sleepbench (``argv`` with its options, without ``-trace-wakes``) in the group, with a recording beside it.

    ``name`` is the name of the program's file where ``argv`` does not begin with it. In a guest both are done there.
    Raises RunFailed, QuotaUnavailable, Interrupted, RecordingFailed, and TracingUnavailable for the mode ``trace``.
    """
    command, program = [*argv, "-trace-wakes"], name or Path(argv[0]).name
    if group.place is not None:
        return _elsewhere(command, group.place, stop, mode, program)
    with Recording(program, above_group(group).stops_of(group), mode) as recording:
        finished = _run(group.command(command), stop)
        text = recording.stop()
        _check(finished.status, finished, program)
        return Recorded(finished.stdout, text, recording.method)


def _elsewhere(command: Sequence[str], place: Place, stop: Stop, mode: str, program: str) -> Recorded:
    carrier = ["python3", *options(program, place.cpu_stat, mode), *place.inside(command)]
    finished = _run([*place.beside, *carrier], stop)
    _check(finished.status, finished, program)
    carried = unpack(finished.stdout)
    if mode == "trace" and carried.refusal is not None:
        raise carried.refusal
    _check(carried.status, finished, program)
    return Recorded(carried.output, carried.text, carried.method)


def _run(command: Sequence[str], stop: Stop) -> Finished:
    try:
        return stop.run(command, _TIMEOUT_S)
    except OSError as error:
        raise RunFailed(f"{command[0]}: cannot be started ({error.strerror}); build it again") from error


def _check(status: int, finished: Finished, program: str) -> None:
    tail = " ".join(finished.stderr.split())[-300:] or "empty"
    if finished.timed_out:
        raise RunFailed(f"{program}: still running after {_TIMEOUT_S:.0f} s, ended; its stderr: {tail}")
    if status == ENTER_FAILED:
        raise QuotaUnavailable("cgroup", f"the run could not enter its group ({tail})", "run as root")
    if status != 0:
        raise RunFailed(f"{program}: ended with status {status}; its stderr: {tail}")
