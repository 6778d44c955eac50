"""What `invoke cycles` does: a process for each cell, a table of what came of it, a page."""

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from nanonap.base.durations import format_ns
from nanonap.base.errors import UsageError
from nanonap.base.files import write_text
from nanonap.base.terminal import say
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.releases import installed_releases, known_releases
from nanonap.toolchain.targets import AMD64, Target, target_named
from nanonap.trials.cycles.programs import CROSSING
from nanonap.trials.errors import CyclesFailed

_COLUMNS = (
    "Go", "mode", "changes", "moved", "tried again", "pause p50", "pause p99", "kills", "while held", "half rewritten",
    "sleeps", "early", "requests", "failed", "dead", "not recovered",
)  # fmt: skip
_PATIENCE_S = 3600.0

Cell = dict[str, Any]


def run_cycles(go: str, mode: str, count: int, kills: int, seed: int, arch: str = AMD64.name) -> list[Cell]:
    """A result for each release and mode; one that fails is told in it, as ``error``. Raises UsageError.

    Programs for another processor than this machine's run in a machine for it.
    """
    target = target_named(arch)
    if count < 1 or kills < 0:
        raise UsageError("--count must be at least 1, and --kills at least 0")
    releases = installed_releases() if go == "all" else [each.strip() for each in go.split(",")]
    for each in releases:
        if each not in known_releases():
            raise UsageError(f"--go {each}: unknown; choose from {', '.join(known_releases())}, all")
    modes = [each.strip() for each in mode.split(",")]
    for each in modes:
        if each != CROSSING and each not in MODES:
            raise UsageError(f"--mode {each}: unknown; choose from {', '.join((*MODES, CROSSING))}")
    cells = [(release, each) for release in releases for each in modes]
    results = []
    with progress_bar() as bar:
        task = bar.add_task("cycling", total=len(cells))
        for release, each in cells:
            bar.update(task, description=f"cycling Go {release}, {each}")
            results.append(_cell(target, release, each, (count, kills, seed)))
            bar.advance(task)
    return results


def _cell(target: Target, go: str, mode: str, numbers: tuple[int, ...]) -> Cell:
    module = ("cell",) if target.here else ("elsewhere", target.name)
    words = [sys.executable, "-m", f"nanonap.trials.cycles.{module[0]}", *module[1:], go, mode, *map(str, numbers)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path)}
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE_S, env=environment)
        document: Cell = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"go": go, "mode": f"{target.prefix}{mode}", "parts": [], "error": f"took more than {_PATIENCE_S:.0f} s"}
    except ValueError:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        return {"go": go, "mode": f"{target.prefix}{mode}", "parts": [], "error": said[-1]}
    return document


def problem(cell: Cell) -> str | None:
    """What is wrong with a cell; None where all held."""
    if error := cell.get("error"):
        return str(error)
    for part in cell["parts"]:
        process, kills = part["process"], part["kills"]
        if part["refused"]:
            return f"a change was refused: {part['refused']}"
        if kills["dead"] or kills["unrecovered"]:
            return f"a kill was not lived through: {kills}"
        if not process["ok"] or process["status"] != 0:
            return f"the process ended with {process['status']}: {process['stderr']}"
    return None


def check_failed(results: list[Cell]) -> None:
    """Raises CyclesFailed, naming the cells in which not all held."""
    failed = [f"{each['go']} {each['mode']} ({why})" for each in results if (why := problem(each))]
    if failed:
        raise CyclesFailed(f"{len(failed)} of {len(results)} cells failed: {'; '.join(failed)}")


def rows(results: list[Cell]) -> list[tuple[str, ...]]:
    """The table's rows: a cell's two processes together; pauses are the longer of both."""
    return [_row(each) for each in results]


def _row(cell: Cell) -> tuple[str, ...]:
    parts = cell["parts"]
    states: Counter[str] = sum((Counter(each["kills"]["after"]) for each in parts), Counter())

    def total(*path: str) -> int:
        found = 0
        for part in parts:
            value = part
            for each in path:
                value = value.get(each, 0)
            found += value
        return found

    def pause(which: str) -> str:
        return format_ns(max((each["pause_ns"].get(which) or 0 for each in parts), default=0))

    return (
        cell["go"],
        cell["mode"],
        *(f"{total(each):,}" for each in ("changes", "moved", "retries")),
        pause("p50"),
        pause("p99"),
        f"{total('kills', 'made'):,}",
        f"{total('kills', 'held'):,}",
        f"{states['staged']:,}",
        *(f"{total('process', each):,}" for each in ("sleeps", "early", "requests", "failed")),
        f"{total('kills', 'dead') + sum(part['process']['status'] != 0 for part in parts):,}",
        f"{total('kills', 'unrecovered'):,}",
    )


def show_cycles(results: list[Cell]) -> None:
    """Two lines a cell."""
    for cell, row in zip(results, rows(results), strict=True):
        told = dict(zip(_COLUMNS, row, strict=True))
        say(f"{told['Go']} {told['mode']}: {'failed: ' + why if (why := problem(cell)) else 'all held'}")
        say("  " + ", ".join(f"{name} {value}" for name, value in list(told.items())[2:]))


def write_page(path: Path, results: list[Cell]) -> None:
    """The same as a page of the documentation."""
    lines = ["| " + " | ".join(each) + " |" for each in (_COLUMNS, ("---",) * len(_COLUMNS), *rows(results))]
    elsewhere = sorted({each["on"] for each in results if "on" in each})
    machine = "; ".join(elsewhere) or f"Linux {platform.release()},\n{os.cpu_count()} CPUs"
    strains = "the collector without a pause, SIGPROF at 1 kHz, a storm of SIGURG, an HTTP server under load"
    write_text(
        path,
        "# Cycles\n\nA process of `gosrc/churn` is injected and ejected while 200 goroutines sleep under "
        f"{strains}, programs\nand threads that come and go; half of the changes without the collector, so that more "
        "threads wait. Then the agent is\nkilled (SIGKILL) at random moments, every other time in its write loop, and "
        "the next command takes over. Mode\n`crossing` has its wait in two pages. Written by `invoke cycles --markdown "
        f"docs/cycles.md`: {machine}.\n\n" + "\n".join(lines) + "\n",
    )
