"""What the readers alone make of mutants, a block in a process: no proof, and nothing is written.

The process is a fork of one that has all modules loaded and has read the bases. It has the limits of the patcher's own
child. Where it ends, the file that it was at is judged again, alone; the others go on in another process.
"""

import importlib
import math
import mmap
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.toolchain.patched import Variant, variant_of
from nanonap.trials.fuzz.compared import know
from nanonap.trials.fuzz.judge import MOST_CPU_S, Verdict, most_memory, peak_of, timed
from nanonap.trials.fuzz.remembered import remember_all
from patcher.child import Limits, too_large
from patcher.edit.room import Room
from patcher.errors import NotEnoughMemory, ReaderCrashed, ReaderTooLarge
from patcher.golang.functions import Functions
from patcher.golang.image import read_image, read_twice
from patcher.inspection import inspected
from patcher.isolation import isolated
from patcher.planning import fit_plans
from patcher.strategies.strategy import Options

INSPECT = "inspect"
"""Not an arm, but what `inspect` reads."""

_READ = "read"
_CPU_SECONDS = 20  # of one file: more than is a finding, so that its time is told
_MEMORY = (4 * 256 + 300) << 20  # bytes; larger files are refused by their holes (patcher.file.content)
_ADDRESS_SPACE = 32 << 30  # bytes: what the patcher's child has for a file of 4 GiB
_NATIVE = ("lief", "capstone", "keystone", "unicorn")
_ACCEPTED = (ReaderCrashed, NotEnoughMemory)  # of the patcher's child: an error of ours, as it is for a user
_at = mmap.mmap(-1, 4)  # the number of the file that a child is at, which it shares with who forked it


def get_ready(bases: Iterable[Path], arms: Sequence[str]) -> None:
    """Load all modules and read every base by every arm, so that forks of this process need not."""
    for each in _NATIVE:
        importlib.import_module(each)
    remember_all()
    for path in bases:
        know(path.read_bytes())
        for arm in arms:
            _reading(path, arm)()
        read_twice(path)


def read_all(folder: Path, arms: Sequence[str]) -> list[Verdict]:
    """Verdicts on the files 0, 1, 2 … of a folder, each read by its arm."""
    verdicts: list[Verdict] = []
    ended: dict[int, NanonapError] = {}
    stop = len(arms)
    while (first := len(verdicts)) < len(arms):
        try:
            verdicts += _isolated(folder, arms[:stop], first)
            stop = len(arms)
        except NanonapError as error:
            at = int.from_bytes(_at[:], "little")
            if at == first:
                verdicts.append(_end(error))
                stop = len(arms)
            else:  # those before it again, then it alone
                ended.setdefault(at, error)
                stop = at
    for number, behind in ended.items():
        if not verdicts[number].ended:
            verdicts[number] = replace(verdicts[number], finding=f"not alone, but behind others: {behind}")
    return verdicts


def _isolated(folder: Path, arms: Sequence[str], first: int) -> tuple[Verdict, ...]:
    _at[:] = first.to_bytes(4, "little")
    limits = Limits(_CPU_SECONDS, _MEMORY, _ADDRESS_SPACE)
    return isolated(folder, f"{__name__}:read_from", tuple[Verdict, ...], limits, arms=arms, first=first)


def _end(error: NanonapError) -> Verdict:
    accepted = isinstance(error, _ACCEPTED)
    return Verdict(type(error).__name__, None if accepted else str(error), 0, 0, ended=True)


def read_from(folder: Path, arms: list[str], first: int) -> tuple[Verdict, ...]:
    """The files from ``first`` on: the job in the child process."""
    before = peak_of(resource.RUSAGE_SELF)
    verdicts = []
    for number, arm in enumerate(arms[first:], first):
        _at[:] = number.to_bytes(4, "little")
        soft = math.ceil(time.process_time()) + _CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        verdicts.append(_verdict(folder / str(number), arm, before))
    return tuple(verdicts)


def _verdict(path: Path, arm: str, before: int) -> Verdict:
    findings: list[str] = []
    earlier = peak_of(resource.RUSAGE_SELF)
    outcome, cpu_s = timed(_reading(path, arm), findings, _READ)
    if arm != INSPECT:  # for a patch another process reads the headers, too, and what is wrong with them is told
        second, seconds = timed(lambda: read_twice(path), findings, _READ)
        outcome, cpu_s = second if second != _READ else outcome, max(cpu_s, seconds)
    reached, size = peak_of(resource.RUSAGE_SELF), path.stat().st_size
    peak = reached - before if reached > earlier else 0  # else it is another's
    if cpu_s > MOST_CPU_S:
        findings.append(f"{cpu_s:.1f} s of CPU time")
    if peak > most_memory(size):
        findings.append(f"{peak >> 20} MiB of memory for a file of {size >> 20} MiB")
    return Verdict(outcome, "; ".join(findings) or None, cpu_s, peak)


def _reading(path: Path, arm: str) -> Callable[[], None]:
    def read() -> None:
        try:
            if arm == INSPECT:
                inspected(path)
            else:
                _plan(path, variant_of(arm))
        except MemoryError as error:  # as the patcher's own child has it
            raise ReaderTooLarge(too_large(path)) from error

    return read


def _plan(path: Path, variant: Variant) -> None:
    functions = Functions(read_image(path))
    fit_plans(functions, variant.strategy, Room(functions.image), Options(variant.slack_ns, variant.wait))
