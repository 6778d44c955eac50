"""In what two results were measured differently: machine, release, files, tool, mode, seed."""

from collections.abc import Iterator
from typing import Any

from bench.result import Result

_HOST = (
    "kernel", "arch", "cpu_model", "cpus_online", "cpus_allowed", "hypervisor", "clocksource", "governor",
    "idle_driver", "timer_slack_ns", "scheduler_policy", "nice", "cgroup", "boot", "tool",
)  # fmt: skip
_BENCH = ("mode", "seed", "gomaxprocs", "blocks_done")


def differences(a: Result, b: Result) -> list[dict[str, Any]]:
    """[{what, a, b}] of facts that are not the same, gravest first: machine, Go release, binaries, how it was run.

    A binary is an arm's, named by the first digits of its SHA-256; only arms of both count.
    """
    return [{"what": what.replace("_", " "), "a": one, "b": other} for what, one, other in _pairs(a, b) if one != other]


def _pairs(a: Result, b: Result) -> Iterator[tuple[str, Any, Any]]:
    one, other = (each.runs[0]["host"] for each in (a, b))
    for name in _HOST:
        yield name, one.get(name), other.get(name)
    yield "Go release", a.go_version, b.go_version
    files, others = ({run["arm"]: run["binary_sha256"][:12] for run in each.runs} for each in (a, b))
    for arm in files:
        if arm in others:
            yield f"binary of {arm}", files[arm], others[arm]
    for name in _BENCH:
        yield name, a.about.get(name), b.about.get(name)
    backends = [(each.about.get("backend") or {}).get("name") for each in (a, b)]
    yield "backend", backends[0], backends[1]
