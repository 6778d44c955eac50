"""Arms that are changed while they run: the program as built waits, is injected, and only then measured."""

from msgspec import Struct

import patcher
from nanonap.base.errors import NanonapError
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.plan.arms import Arm
from patcher.wait import PRECISE, Wait


class Change(Struct, frozen=True, kw_only=True):
    """What was done to a process before it was measured: "inject" or "eject", and for how long it stood still.

    ``options``: those of the wait that were given, in ns; ``slack_ns``: the timer slack that was set, None for none.
    """

    action: str
    pause_ns: int
    threads: int
    moved: int
    tries: int
    options: dict[str, int]
    slack_ns: int | None


def changes(arm: Arm, line: str) -> list[Change]:
    """Do what the arm says to the process whose number is on the line. Raises RunFailed."""
    try:
        return [change(int(line), action, arm.slack_ns) for action in arm.live]
    except (ValueError, NanonapError) as error:
        raise RunFailed(f"arm {arm.name}: it cannot be changed while it runs: {error}") from error


def change(pid: int, action: str, slack_ns: int | None = None, wait: Wait = PRECISE) -> Change:
    """Inject a process, with these options, or eject it. Raises what these do, and RunFailed where the timer slack
    could not be set.
    """
    done = (
        patcher.inject(pid, slack_ns=slack_ns, quantum_ns=wait.quantum_ns, dense_ns=wait.dense_ns, spin_ns=wait.spin_ns)
        if action == "inject"
        else patcher.eject(pid)
    )
    if done.slack_failed:
        what = f"the timer slack of {done.slack_failed} of its {done.threads} threads could not be set"
        raise RunFailed(f"process {pid}: {what}; run as root, or with CAP_SYS_NICE")
    return Change(
        action=action,
        pause_ns=done.pause_ns,
        threads=done.threads,
        moved=done.moved,
        tries=done.tries,
        options={name: value for name, value in done.options.items() if value is not None},
        slack_ns=done.slack_ns,
    )
