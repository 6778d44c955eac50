"""A run of sleepbench with a recording beside it."""

from collections.abc import Sequence

from bench.attribution.attribute import Attribution, attribute
from bench.attribution.recording import Recording
from bench.errors import QuotaUnavailable, RunFailed
from bench.interrupt import Finished, Stop
from bench.quota.base import Group
from bench.quota.cgroup import ENTER_FAILED

_TIMEOUT_S = 120.0


def run_attributed(
    argv: Sequence[str], group: Group, stop: Stop, mode: str = "auto", name: str | None = None
) -> Attribution:
    """Run sleepbench (``argv`` with its options, without ``-trace-wakes``) in the group, and attribute its sleeps.

    ``name`` is the name of the program's file where ``argv`` does not begin with it. Raises RunFailed,
    QuotaUnavailable, Interrupted, RecordingFailed, and TracingUnavailable for the mode ``trace``.
    """
    files = group.stat_files
    with Recording(name or argv[0], files.cpu_stat if files is not None else None, mode) as recording:
        try:
            finished = stop.run(group.command([*argv, "-trace-wakes"]), _TIMEOUT_S)
        except OSError as error:
            raise RunFailed(f"{argv[0]}: cannot be started ({error.strerror}); build it again") from error
        text = recording.stop()
        _check(finished, argv)
        return attribute(finished.stdout, text, recording.method)


def _check(finished: Finished, argv: Sequence[str]) -> None:
    tail = " ".join(finished.stderr.split())[-300:] or "empty"
    if finished.timed_out:
        raise RunFailed(f"{argv[0]}: still running after {_TIMEOUT_S:.0f} s, ended; its stderr: {tail}")
    if finished.status == ENTER_FAILED:
        raise QuotaUnavailable("cgroup", f"the run could not enter its group ({tail})", "run as root")
    if finished.status != 0:
        raise RunFailed(f"{argv[0]}: ended with status {finished.status}; its stderr: {tail}")
