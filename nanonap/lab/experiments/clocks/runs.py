"""The runs of the experiment ``clocks``: a process a run, with each clock source that can be had."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nanonap.base.dice import seeded
from nanonap.base.paths import TRIED
from nanonap.lab.experiments.clocks.counts import LOOP_ONLY, count_here, count_in_guest
from nanonap.lab.experiments.clocks.steps import reduced
from nanonap.lab.experiments.kit.base import Row, Setting
from nanonap.lab.ground.errors import RunFailed
from nanonap.lab.ground.interrupt import Finished
from nanonap.lab.quota.base import Group
from nanonap.lab.quota.limits import Limits
from nanonap.lab.quota.none import NoBackend
from nanonap.toolchain.build import build

PROGRAM = "clocks"
#: What the program can read.
SOURCES = ("nanotime", "time.Now", "vdso", "syscall")
#: Clock sources that the vDSO reads in user space (VDSO_CLOCKMODE_TSC, _PVCLOCK, _HVCLOCK in the kernel's
#: arch/x86/include/asm/vdso/clocksource.h, and who sets them); with any other it makes the system call.
READABLE = ("tsc", "kvm-clock", "xen", "hyperv_clocksource_tsc_page")
#: What a guest is switched to.
UNREADABLE = ("hpet", "acpi_pm")
NOT_TOLD = "not told"
SCHEMA: dict[str, Any] = {
    "kind": pl.String,  # run; count: system calls of a run apart; clocksource: one that is not had
    "clocksource": pl.String,
    "available": pl.String,
    "mark": pl.String,  # of an emulated machine
    "source": pl.String,
    "series": pl.String,  # monotonic; wall: time.Now gives both, of the same readings
    "block": pl.Int64,
    "steps_ns": pl.List(pl.Int64),  # as clocks_steps.reduced has them
    "counts": pl.List(pl.Int64),
    "backward": pl.Int64,
    "least_ns": pl.Int64,
    "most_ns": pl.Int64,
    "grain_ns": pl.Int64,  # of the counter, as far as this run tells
    "calls": pl.Int64,  # timed in a loop that keeps nothing; of a count: made under the counter
    "elapsed_ns": pl.Int64,
    "typical_ns": pl.Float64,  # of a call: the median of the loop's hundred parts
    "cpu_ns": pl.Int64,
    "across_readings": pl.Int64,  # by turns on two CPUs; 0 where there is one
    "across_backward": pl.Int64,
    "resolution_ns": pl.Int64,  # clock_getres(2)
    "counter": pl.String,  # who counted
    "counted": pl.Int64,  # clock_gettime(2), as the kernel saw it
    "missing": pl.String,
}
_SCHEMA = 1
_LACKS = 3
_SEED = 1
_TIMEOUT_S = 120.0
_TAIL = 300
_FOLDER = "/sys/devices/system/clocksource/clocksource0"
#: Only in a guest of ours: its first stage lies there, and on no host (nanonap/lab/guest/recipe/recipe.sh).
_SWITCH = f'[ -e /usr/lib/nanonap/boot.py ] && echo "$1" > {_FOLDER}/current_clocksource; '
_SWITCH += f"cat {_FOLDER}/current_clocksource"


@dataclass(frozen=True)
class Plan:
    """How much to do; ``counted_calls`` are those under a counter."""

    blocks: int
    samples: int
    calls: int
    counted_calls: int


QUICK, FULL = Plan(3, 100_000, 200_000, 5_000), Plan(12, 100_000, 1_000_000, 20_000)
#: In a guest a reading takes microseconds, and starting a program a quarter of a second.
_IN_GUEST = {QUICK: Plan(3, 20_000, 20_000, 2_000), FULL: Plan(12, 100_000, 100_000, 5_000)}


def rows(setting: Setting, plan: Plan) -> Iterator[Row]:
    """Every source in shuffled blocks, with each clock source that can be had; then runs whose calls are counted.

    Raises RunFailed, QuotaUnavailable, Interrupted.
    """
    setting.say("building the program")
    release = setting.program.parent.parent.name  # of the program that is measured elsewhere
    program = build(release, programs=(PROGRAM,), out=TRIED)[0].path
    backend = setting.backend if setting.backend.elsewhere else NoBackend()
    with backend.open(Limits()) as group, ExitStack() as stack:
        machine = _Machine(setting, group, program)
        ours = backend.own_kernel
        if ours:
            plan = _IN_GUEST.get(plan, plan)
            stack.enter_context(machine.put_back())
        yield from _measured(setting, machine, plan)
        yield from _counted(setting, machine, plan, ours)


class _Machine:
    """Where the program runs: this one or a backend's."""

    def __init__(self, setting: Setting, group: Group, program: Path) -> None:
        self.setting, self._group, self.program = setting, group, program
        told = self.run("/bin/sh", "-c", f"cat {_FOLDER}/current_clocksource {_FOLDER}/available_clocksource || true")
        lines = [*told.stdout.decode("ascii", "replace").splitlines(), "", ""]
        #: What it had at first, and what it has.
        self.own = self.current = lines[0].strip() or NOT_TOLD
        self.available = lines[1].split()

    def run(self, *argv: str) -> Finished:
        """To its end, in time. Raises RunFailed, Interrupted."""
        finished = self.setting.stop.run(self._group.command(argv), _TIMEOUT_S)
        if finished.timed_out:
            raise RunFailed(f"{argv[0]}: still running after {_TIMEOUT_S:.0f} s, ended")
        return finished

    def switch(self, clocksource: str) -> None:
        """Take time from another source, in a guest. Raises RunFailed if the kernel does not take it."""
        if clocksource == self.current:
            return
        answer = self.run("/bin/sh", "-c", _SWITCH, "sh", clocksource)
        if answer.stdout.decode("ascii", "replace").strip() != clocksource:
            raise RunFailed(f"the guest's kernel keeps its clock source, not {clocksource}: {answer.stderr[-_TAIL:]}")
        self.current = clocksource

    @property
    def clocksources(self) -> list[str]:
        """What it is measured with: its own, and in a guest one that the vDSO cannot read."""
        ours = self.setting.backend.own_kernel
        other = [each for each in UNREADABLE if ours and each in self.available][:1]
        return list(dict.fromkeys((self.own, *other)))

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Whatever it is switched to, it ends with what it had."""
        try:
            yield
        finally:
            if self.setting.stop.signal is None:  # else no command is run any more, and the guest goes with its user
                self.switch(self.own)

    def read(self, source: str, plan: Plan) -> list[Row]:
        """A run: one row per series. Raises RunFailed, Interrupted."""
        options = ("-source", source, "-samples", str(plan.samples), "-calls", str(plan.calls))
        finished = self.run(str(self.program), *options)
        if finished.status == _LACKS:
            return [{"source": source, "clocksource": self.current, "missing": finished.stderr.strip()[-_TAIL:]}]
        return _parsed(finished, source)


def _parsed(finished: Finished, source: str) -> list[Row]:
    """The program's output: a line of JSON, and of each series its readings, int64. Raises RunFailed."""
    line, _, rest = finished.stdout.partition(b"\n")
    try:
        header = json.loads(line)
        shape = (len(header["series"]), header["samples"])
        readings = np.frombuffer(rest, dtype="<i8").astype(np.int64).reshape(shape)
        if finished.status != 0 or header["schema"] != _SCHEMA:
            raise ValueError(f"schema {header['schema']}")
    except (ValueError, KeyError, TypeError) as error:
        said = f"exit status {finished.status}, {error}; its stderr: {finished.stderr[-_TAIL:]}"
        raise RunFailed(f"reading the clock by {source}: {said}") from error
    same = ("calls", "elapsed_ns", "typical_ns", "cpu_ns", "across_readings", "across_backward", "resolution_ns")
    common = {
        "source": source,
        "clocksource": header["clocksource"] or NOT_TOLD,
        "available": " ".join(header["available"] or []),
        **{name: header[name] for name in same},
    }
    return [{**common, "series": name, **reduced(each)} for name, each in zip(header["series"], readings, strict=True)]


def _measured(setting: Setting, machine: _Machine, plan: Plan) -> Iterator[Row]:
    clocksources = machine.clocksources
    if set(clocksources) <= {*READABLE, NOT_TOLD}:
        here = f"time is taken from {machine.own} (available: {', '.join(machine.available) or NOT_TOLD})"
        reason = f"{here}, and no experiment changes that on a machine in use; --backend guest has hpet"
        yield {"kind": "clocksource", "clocksource": machine.own, "missing": reason}
    dice = seeded(_SEED)
    for block in range(plan.blocks):
        dice.shuffle(clocksources)
        for clocksource in clocksources:
            machine.switch(clocksource)
            for source in dice.sample(SOURCES, len(SOURCES)):
                setting.say(f"block {block + 1} of {plan.blocks}: {source}, clock source {clocksource}")
                common = {"kind": "run", "block": block, "mark": setting.backend.mark}
                yield from ({**common, **row} for row in machine.read(source, plan))


def _counted(setting: Setting, machine: _Machine, plan: Plan, ours: bool) -> Iterator[Row]:
    """A run apart a source: a counted run is slow."""
    if setting.backend.elsewhere and not ours:
        reason = f"system calls are not counted in {setting.backend.name}; use --backend none or guest"
        yield {"kind": "count", "missing": reason}
        return
    setting.say("counting system calls")
    for clocksource in machine.clocksources:
        machine.switch(clocksource)
        loop = (str(machine.program), LOOP_ONLY, "-calls", str(plan.counted_calls))
        argvs = {source: [*loop, "-source", source] for source in SOURCES}
        if ours:
            found = count_in_guest(argvs, machine.run, PROGRAM)
        else:
            found = count_here(argvs, setting.stop, plan.counted_calls)
        common = {"kind": "count", "clocksource": clocksource, "calls": plan.counted_calls}
        yield from ({**common, **row} for row in found)
