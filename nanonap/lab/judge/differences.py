"""In what two results were measured differently: machine, release, files, tool, mode, seed."""

from collections.abc import Iterator
from dataclasses import dataclass

from nanonap.lab.quota.above_limit import label, merged
from nanonap.lab.store.read import Result

_HOST = (
    "kernel", "arch", "cpu_model", "cpus_online", "cpus_allowed", "hypervisor", "clocksource", "governor",
    "idle_driver", "timer_slack_ns", "scheduler_policy", "nice", "cgroup", "boot", "tool",
)  # fmt: skip
_BENCH = ("mode", "seed", "gomaxprocs", "blocks_done")


Fact = str | int | None


@dataclass(frozen=True)
class Difference:
    """``what`` is not the same, and how it was in either."""

    what: str
    a: Fact
    b: Fact


def differences(a: Result, b: Result) -> list[Difference]:
    """The facts that are not the same, gravest first: machine, Go release, binaries, how it was run.

    A binary is an arm's, named by the first digits of its SHA-256; only arms of both count.
    """
    return [Difference(what.replace("_", " "), one, other) for what, one, other in _pairs(a, b) if one != other]


def _pairs(a: Result, b: Result) -> Iterator[tuple[str, Fact, Fact]]:
    one, other = (each.runs[0].host for each in (a, b))
    for name in _HOST:
        yield name, getattr(one, name), getattr(other, name)
    yield "Go release", a.go_version, b.go_version
    files, others = ({run.arm: run.binary_sha256[:12] for run in each.runs} for each in (a, b))
    for arm in files:
        if arm in others:
            yield f"binary of {arm}", files[arm], others[arm]
    for name in _BENCH:
        yield name, getattr(a.about, name), getattr(b.about, name)
    limits = [label(merged([run.above for run in each.runs])) for each in (a, b)]
    yield "limit above", limits[0], limits[1]
    backends = [each.about.backend.name if each.about.backend else None for each in (a, b)]
    yield "backend", backends[0], backends[1]
