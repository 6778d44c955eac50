"""Measuring: block after block, within the time allowed, recorded run by run, stopped cleanly."""

import time
from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.base.terminal import messages
from nanonap.lab.attribution.errors import RecordingFailed
from nanonap.lab.ground import host
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.hosts import host_of
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.plan.conditions import COST
from nanonap.lab.plan.schedule import LEAST_BLOCKS, Budget, Run, Size
from nanonap.lab.quota.base import Backend
from nanonap.lab.run import syscalls
from nanonap.lab.run.display import Display
from nanonap.lab.run.explain import explain, runs_to_explain
from nanonap.lab.run.runner import measure
from nanonap.lab.store.runs import Attributed
from nanonap.lab.store.write import ResultWriter


class Campaign:
    """The runs of one bench. Times count from ``started_ns`` (time.monotonic_ns)."""

    def __init__(
        self,
        size: Size,
        schedule: list[list[Run]],
        backend: Backend,
        writer: ResultWriter,
        started_ns: int,
        sampler: Path | None = None,
    ) -> None:
        """Nothing runs yet. ``sampler``: the program that samples limited groups, or None for no series."""
        self._size, self._schedule, self._backend = size, schedule, backend
        self._gomaxprocs, self._writer, self._started_ns = backend.cpus, writer, started_ns
        self._sampler = sampler
        self._budget, self._stop = Budget(size), Stop()
        # One run of each cost workload per arm is counted, from the first block, in which all are due.
        self._to_count = [run for run in schedule[0] if run.condition.load.scheduled and not run.limits.limited]
        self._to_explain = runs_to_explain(schedule[0], size)

    def measure(self) -> NanonapError | None:
        """Run all that fits. Returns what cut it short (Interrupted, RunFailed, DiskFull, …), or None."""
        with self._stop.listening(), Display() as display:
            try:
                self._blocks(display)
                self._syscalls(display)
                self._explain(display)
            except NanonapError as error:
                return error
        return None

    def _blocks(self, display: Display) -> None:
        for number, block in enumerate(self._schedule):
            left = self._schedule[number:]
            afterwards_ns = self._budget.estimate_ns([*self._to_count, *self._to_explain])
            if number >= LEAST_BLOCKS and not self._budget.affordable(left[:1], self._elapsed_ns(), afterwards_ns):
                self._note(f"{len(left)} of {len(self._schedule)} blocks were dropped to end within {self._limit()}")
                return
            block_name = f"block {number + 1}/{len(self._schedule)}"
            for position, run in enumerate(block):
                coming = [
                    *block[position:],
                    *(later for after in left[1:] for later in after),
                    *self._to_count,
                    *self._to_explain,
                ]
                what = f"{run.arm.name}, {run.condition}"
                display.show(block_name, what, self._elapsed_ns(), self._budget.estimate_ns(coming))
                measured = measure(run, self._gomaxprocs, self._backend, self._stop, self._sampler)
                self._budget.add(run, measured.took_ns)
                self._writer.add(measured, self._backend, host_of(host.facts(), self._backend.facts()))
            self._writer.about.blocks_done = number + 1

    def _syscalls(self, display: Display) -> None:
        if not self._to_count:
            return
        if not self._backend.target.here:
            self._note(
                f"system calls were not counted: programs of {self._backend.target.name} do not run on this host"
            )
            return
        counter = syscalls.find_counter()
        if counter is None:
            self._note(f"system calls were not counted: neither perf nor strace works here; {syscalls.REMEDY}")
            return
        for position, run in enumerate(self._to_count):
            left_ns = self._budget.estimate_ns(self._to_count[position:])
            what = f"{run.arm.name}, {run.condition.load}"
            display.show(f"counting calls ({counter.name})", what, self._elapsed_ns(), left_ns)
            try:
                counted = syscalls.count(counter, run, self._gomaxprocs, self._stop)
            except RunFailed as error:
                # The measured runs are whole without it.
                self._note(f"system calls of {run.arm.name} were not counted: {error}")
                continue
            self._writer.calls.setdefault(str(run.condition.load), {})[run.arm.name] = counted
            if run.condition == COST:
                self._writer.cost_calls[run.arm.name] = counted

    def _explain(self, display: Display) -> None:
        explained = self._writer.explained
        for position, run in enumerate(self._to_explain):
            left_ns = self._budget.estimate_ns(self._to_explain[position:])
            display.show("where the time goes", f"{run.arm.name}, {run.condition}", self._elapsed_ns(), left_ns)
            before_ns = time.monotonic_ns()
            try:
                explained.add(run, explain(run, self._gomaxprocs, self._backend, self._stop))
                self._budget.add(run, time.monotonic_ns() - before_ns)
            except (RunFailed, RecordingFailed, QuotaUnavailable) as error:
                # The measured runs are whole without it.
                self._note(f"where the time of {run.arm.name} under {run.condition} went is not known: {error}")
        self._writer.about.attribution = Attributed(dict(explained.methods), explained.lost)

    def _elapsed_ns(self) -> int:
        return time.monotonic_ns() - self._started_ns

    def _limit(self) -> str:
        return f"{self._size.limit_ns // 60_000_000_000} min"

    def _note(self, text: str) -> None:
        self._writer.notes.append(text)
        messages().print(f"[yellow]warning[/] {text}", highlight=False)
