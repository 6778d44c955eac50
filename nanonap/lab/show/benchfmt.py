"""A result in the Go benchmark format, for benchstat."""

from nanonap.base.durations import exact_ns
from nanonap.lab.quota import above_limit
from nanonap.lab.stats.cells import Cell, Cost, make_cells, make_costs
from nanonap.lab.store.read import Result

_UNITS = ("ns/op", "overshoot-ns/op", "cpu-ns/sleep")


def as_benchfmt(result: Result) -> str:
    """The Go benchmark format (golang.org/design/14313-benchmark-format, unit lines golang.org/issue/43744).

    A line per process run and requested duration: its median sleep, what that is past the time asked for, and, where it
    is known, the CPU time per sleep of the whole run. Names hold no space, and end in -GOMAXPROCS as Go's own do.
    """
    first = next((run for run in result.runs if run.go_version != "none"), result.runs[0])
    machine = first.host
    above = above_limit.merged([run.above for run in result.runs])
    lines = [
        "goos: linux",
        f"goarch: {_goarch(machine.arch)}",
        "pkg: nanonap/sleepbench",
        f"cpu: {machine.cpu_model or 'unknown'}",
        f"go: {first.go_version}",
        f"kernel: {machine.kernel}",
        *([f"cpu-limit: {limit}"] if (limit := above_limit.label(above)) else []),
        *(f"Unit {unit} better=lower assume=nothing" for unit in _UNITS),
    ]
    costs = make_costs(result)
    for key, cell in make_cells(result).items():
        lines += _lines(cell, costs.get((key.arm, *key.condition)))
    return "\n".join(lines) + "\n"


def _lines(cell: Cell, cost: Cost | None) -> list[str]:
    key = cell.key
    processors = cell.condition.gomaxprocs
    suffix = f"-{processors}" if processors else ""
    parts = {"arm": key.arm, "requested": exact_ns(key.requested_ns), "quota": key.quota, "load": key.load}
    if key.quota == "none" and cell.condition.inside:
        parts["quota"] = "none-of-ours"
    name = "".join(["BenchmarkSleep", *(f"/{part}={_one_word(text)}" for part, text in parts.items()), suffix])
    cpu = _cpu_ns(cost)
    lines = []
    for run, median in zip(cell.runs, cell.run_medians.tolist(), strict=True):
        each = cpu.get(run.run_id)
        known = "" if each is None else f" {each:.1f} cpu-ns/sleep"
        lines.append(f"{name} 1 {median} ns/op {median - key.requested_ns} overshoot-ns/op{known}")
    return lines


def _one_word(text: str) -> str:
    """A slash would begin another part of the name, and a space end it."""
    return "_".join(text.replace("/", "@").split())


def _cpu_ns(cost: Cost | None) -> dict[str, float]:
    """Run → CPU time per sleep, of the runs where it is known."""
    if cost is None:
        return {}
    pairs = zip(cost.runs, cost.sleeps, strict=True)
    known = [(run, run.counters.cpu_ns, sleeps) for run, sleeps in pairs]
    return {run.run_id: cpu_ns / sleeps for run, cpu_ns, sleeps in known if cpu_ns is not None and sleeps}


def _goarch(machine: str | None) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine or "", machine or "unknown")
