"""What disturbed the measuring from outside: other processes, the hypervisor, hiccups. Part of a result's warnings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nanonap.base.durations import format_ns
from nanonap.lab.quota.choose import backend_class
from nanonap.lab.stats.control import Control, control_summary
from nanonap.lab.store.read import Result
from nanonap.lab.store.runs import RunLine

_FROM_SHARE = 0.05
_FROM_NS = 30_000_000
"""The kernel counts these times in ticks, of 10 ms as a rule: less than three of them may be none."""
_FROM_RUNS = 0.05
_LEAST_RUNS = 2
_Taken = Literal["steal_ns", "others_cpu_ns"]


def of_disturbance(result: Result) -> Iterator[str]:
    """One line each for the hypervisor, for other processes, and for the control arm's hiccups."""
    yield from _taken(result.runs, "steal_ns", "the hypervisor took CPU time from the machine")
    # Runs elsewhere are no children of the bench, so that their own CPU time counts as that of others.
    own = [run for run in result.runs if not backend_class(run.condition.backend).elsewhere]
    yield from _taken(own, "others_cpu_ns", "other processes used CPU time")
    control = control_summary(result)
    if control is not None and control.hiccups:
        blocks = ", ".join(str(number + 1) for number in control.blocks)
        yield (
            f"the machine had hiccups: {control.hiccups} of {control.n} sleeps of the idle control were late by "
            f"more than {format_ns(control.hiccup_from_ns)} (blocks {blocks}; most: "
            f"{format_ns(control.late_max_ns)}): such delays come from no arm"
        )


@dataclass(frozen=True)
class Disturbed:
    """``runs`` of ``of`` in which others took CPU time, or in whose block the idle control had a hiccup."""

    runs: int
    of: int

    def __str__(self) -> str:
        """For a person."""
        share = f"{self.runs / self.of:.0%}" if self.of else "0%"
        return f"disturbed from outside: {self.runs} of {self.of} runs ({share})"


def disturbed(runs: Sequence[RunLine], control: Control | None) -> Disturbed:
    """How much of a bench was disturbed from outside."""
    blocks = set(control.blocks) if control else set()
    hit = [
        run
        for run in runs
        if run.block in blocks
        or _share(run, "steal_ns") >= _FROM_SHARE
        or (not backend_class(run.condition.backend).elsewhere and _share(run, "others_cpu_ns") >= _FROM_SHARE)
    ]
    return Disturbed(len(hit), len(runs))


def _taken(runs: list[RunLine], name: _Taken, what: str) -> Iterator[str]:
    much = [share for run in runs if (share := _share(run, name)) >= _FROM_SHARE]
    if len(much) >= max(_LEAST_RUNS, _FROM_RUNS * len(runs)):
        yield f"{what} in {len(much)} of {len(runs)} runs: {_FROM_SHARE:.0%} of it or more, {max(much):.0%} at most"


def _share(run: RunLine, name: _Taken) -> float:
    """The share of all CPUs' time in a run that was taken; 0 where it is not known, or too little to tell."""
    taken_ns = (run.host_during or {}).get(name) or 0
    # The record counts over all of a run, its start and end included, which is longer than what was measured.
    lasted_ns, cpus = run.took_ns or run.wall_ns, run.host.cpus_online or 1
    return taken_ns / (lasted_ns * cpus) if taken_ns >= _FROM_NS and lasted_ns > 0 and cpus > 0 else 0.0
