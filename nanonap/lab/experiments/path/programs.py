"""The measured program with every strategy, run so that its sleeps can be laid over what watched them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanonap.lab.attribution.attribute import Header, read_sleeps
from nanonap.lab.experiments.kit.copies import plain_arm
from nanonap.lab.experiments.path.calls import Sleep
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.conditions import PRIMARY
from nanonap.lab.plan.schedule import Run
from nanonap.lab.run.runner import execute

GOMAXPROCS = 2
FILE = "sleepbench"
Durations = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Program:
    """An arm's file, by one name for all: the kernel knows a thread by the first 15 letters of its program's."""

    arm: str
    path: Path


@dataclass(frozen=True)
class Ran:
    """A run's header and sleeps, as sleepbench tells them."""

    program: Program
    header: Header
    sleeps: list[Sleep]


def linked(folder: Path, arm: str, path: Path) -> Program:
    """The arm's file by the common name, in a folder of its own."""
    link = folder / arm / FILE
    link.parent.mkdir()
    link.symlink_to(path.resolve())
    return Program(arm, link)


def run(
    program: Program, durations: Durations, block: int, stop: Stop, *options: str, before: Sequence[str] = ()
) -> Ran:
    """Run it with (requested_ns, how often) and more options; ``before`` are words before its own.

    Raises RunFailed, RecordingFailed, Interrupted.
    """
    arm = plain_arm(program.arm, program.path)
    planned = Run(block, arm, PRIMARY, tuple(durations), 0, seed=block + 1)
    command = [*before, str(program.path), *planned.options(GOMAXPROCS), "-trace-wakes", *options]
    header, frame = read_sleeps(execute(command, planned, stop).stdout)
    columns = ("index", "requested_ns", "start_ns", "actual_ns", "tid")
    sleeps = [
        Sleep(index, requested_ns, start_ns, start_ns + actual_ns, tid)
        for index, requested_ns, start_ns, actual_ns, tid in frame.select(columns).iter_rows()
    ]
    return Ran(program, header, sleeps)
