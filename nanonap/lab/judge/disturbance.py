"""What disturbed the measuring from outside: other processes, the hypervisor, hiccups. Part of a result's warnings."""

from collections.abc import Iterator
from typing import Any

from bench.control import control_summary
from bench.result import Result
from nanonap.durations import format_ns

_FROM_SHARE = 0.05
_FROM_NS = 30_000_000
"""The kernel counts these times in ticks, of 10 ms as a rule: less than three of them may be none."""
_FROM_RUNS = 0.05
_LEAST_RUNS = 2
_ELSEWHERE = ("docker", "podman", "guest", "guest-systemd")
"""Backends whose runs are no children of the bench, so that their own CPU time counts as that of others."""


def of_disturbance(result: Result) -> Iterator[str]:
    """One line each for the hypervisor, for other processes, and for the control arm's hiccups."""
    yield from _taken(result.runs, "steal_ns", "the hypervisor took CPU time from the machine")
    own = [run for run in result.runs if run["condition"].get("backend") not in _ELSEWHERE]
    yield from _taken(own, "others_cpu_ns", "other processes used CPU time")
    control = control_summary(result)
    if control is not None and control["hiccups"]:
        blocks = ", ".join(str(number + 1) for number in control["blocks"])
        yield (
            f"the machine had hiccups: {control['hiccups']} of {control['n']} sleeps of the idle control were late by "
            f"more than {format_ns(control['hiccup_from_ns'])} (blocks {blocks}; most: "
            f"{format_ns(control['late_max_ns'])}): such delays are no arm's doing"
        )


def _taken(runs: list[dict[str, Any]], name: str, what: str) -> Iterator[str]:
    much = [share for run in runs if (share := _share(run, name)) >= _FROM_SHARE]
    if len(much) >= max(_LEAST_RUNS, _FROM_RUNS * len(runs)):
        yield f"{what} in {len(much)} of {len(runs)} runs: {_FROM_SHARE:.0%} of it or more, {max(much):.0%} at most"


def _share(run: dict[str, Any], name: str) -> float:
    """The share of all CPUs' time in a run that was taken; 0 where it is not known, or too little to tell."""
    during = run.get("host_during")
    taken_ns = during.get(name) if isinstance(during, dict) else None
    # The record counts over all of a run, its start and end included, which is longer than what was measured.
    lasted_ns, cpus = run.get("took_ns") or run["wall_ns"], run["host"].get("cpus_online") or 1
    if not (isinstance(taken_ns, int) and isinstance(lasted_ns, int) and isinstance(cpus, int)):
        return 0.0
    return taken_ns / (lasted_ns * cpus) if taken_ns >= _FROM_NS and lasted_ns > 0 and cpus > 0 else 0.0
