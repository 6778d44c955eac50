"""How fast the patcher is and how much memory it takes, against the least there is: the libraries and one parse.

The base of every ratio is a process that imports LIEF, Capstone, Keystone and Unicorn and lets LIEF parse the file.
Base, ``inspect``, ``patch``, ``verify`` and ``revert`` run as a user runs them, interleaved and shuffled, each in a
process of its own; times are from its start to its end (median over rounds, with an interval), memory is the largest
process's peak. The files are the measured program for either processor, and a large one.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from nanonap import INSTALLED
from nanonap.base.dice import seeded
from nanonap.base.durations import format_ns
from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT, TRIED
from nanonap.base.terminal import COMMAND, answers
from nanonap.lab.stats.resampling import interval, median_distribution
from nanonap.toolchain.build import build
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.releases import NEWEST
from nanonap.toolchain.targets import AMD64, TARGETS
from nanonap.trials.errors import TooSlow

ROUNDS = 15
MOST_TIME, MOST_MEMORY = 2.0, 2.0  # × the base's time, × the file's size: what large files are held to
GOALS, GOAL_MEMORY = {"patch": 1.0, "inspect": 0.7}, 1.6  # the same: what a command should take; others have no limit
COMMANDS = ("inspect", "patch", "verify", "revert")
LARGE = 64 << 20  # bytes; below, the libraries' own time and memory are most of it
_BASE = "import lief, capstone, keystone, unicorn; assert lief.ELF.parse({path!r})"
# A process begins with the peak of the one that it was forked from (fs/exec.c, exec_mmap): so a small one forks it.
_MEASURE = """import os, subprocess, sys, time
start = time.monotonic_ns()
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(time.monotonic_ns() - start, round((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss * 1024)
sys.exit(process.returncode != 0)
"""


@dataclass(frozen=True)
class Ratio:
    """A command on one file: its time over the base's, with a 95 % interval, and its memory over the file's size.

    ``wall_ns``: its time; ``cpu``: its CPU time over the base's; ``peak``: its memory in bytes. ``held`` to the limits,
    and ``reached``, the goal for its time; None for a small file, and for a command without a goal.
    """

    file: str
    size: int
    command: str
    wall_ns: int
    peak: int
    time: float
    time_interval: list[float] | None
    cpu: float
    memory: float
    base_memory: float
    held: bool | None
    reached: bool | None


@dataclass(frozen=True)
class Run:
    """A process's time from its start to its end, its CPU time, and its peak of memory in bytes."""

    wall_ns: int
    cpu_ns: int
    peak: int


def measure(files: list[Path], rounds: int) -> list[Ratio]:
    """All commands on every file. Raises UsageError for a file that cannot be patched at all."""
    found: dict[tuple[Path, str], list[Run]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="nanonap-") as folder,
        tempfile.TemporaryDirectory(prefix="nanonap-") as kept,
        progress_bar() as bar,
    ):
        patched = {path: Path(kept, str(number)) for number, path in enumerate(files)}
        for path, out in patched.items():
            run(_command(path, "patch", path, out), path)
        block = [(path, name) for path in files for name in ("base", *COMMANDS)]
        task = bar.add_task("measuring", total=len(block) * (rounds + 1))
        for number, (path, name) in enumerate(_shuffled(block * (rounds + 1), len(block))):
            bar.update(task, description=f"{name} of {shown(path)}")
            done = run(_command(path, name, patched[path], Path(folder, str(number))), path)
            if number >= len(block):  # the first round warms the page cache
                found[path, name].append(done)
            for remains in Path(folder).iterdir():
                remains.unlink()
            bar.advance(task)
    return [_ratio(path, name, found) for path in files for name in COMMANDS]


def _shuffled(jobs: list[tuple[Path, str]], block: int) -> Iterator[tuple[Path, str]]:
    dice = seeded(1)
    for at in range(0, len(jobs), block):
        yield from dice.sample(jobs[at : at + block], block)


def _command(path: Path, name: str, patched: Path, out: Path) -> list[str]:
    front = [str(Path(sys.executable).with_name(COMMAND)), *([] if INSTALLED else ["--search-root", str(PROJECT)])]
    return {
        "base": [sys.executable, "-c", _BASE.format(path=str(path))],
        "inspect": [*front, "inspect", str(path), "--json"],
        "patch": [*front, "patch", "--binary", str(path), "--out", str(out), "--json"],
        "verify": [*front, "verify", str(patched), "--json"],
        "revert": [*front, "revert", str(patched), "--out", str(out), "--json"],
    }[name]


def run(command: list[str], path: Path) -> Run:
    """A command in a process of its own. Raises UsageError, naming ``path``, where it fails."""
    # As where a user installed it: what is compiled once is kept.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [sys.executable, "-c", _MEASURE, *command]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode:
        lines = done.stderr.splitlines()
        raise UsageError(f"{path}: cannot be measured: {lines[-1] if lines else done.returncode}")
    return Run(*map(int, done.stdout.split()))


def _ratio(path: Path, name: str, found: dict[tuple[Path, str], list[Run]]) -> Ratio:
    own, base = found[path, name], found[path, "base"]
    above, below = (
        median_distribution([np.array([each.wall_ns]) for each in runs], seed) for seed, runs in enumerate((own, base))
    )
    ratio = median(each.wall_ns for each in own) / median(each.wall_ns for each in base)
    size, peak = path.stat().st_size, max(each.peak for each in own)
    memory, held = peak / size, size >= LARGE and name in GOALS
    return Ratio(
        file=str(path),
        size=size,
        command=name,
        wall_ns=round(median(each.wall_ns for each in own)),
        peak=peak,
        time=ratio,
        time_interval=None if above is None or below is None else interval(above / below),
        cpu=median(each.cpu_ns for each in own) / median(each.cpu_ns for each in base),
        memory=memory,
        base_memory=max(each.peak for each in base) / size,
        held=ratio <= MOST_TIME and memory <= MOST_MEMORY if held else None,
        reached=ratio <= GOALS[name] if held else None,
    )


def run_speed(binary: Path | None, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure a binary, or the measured program for each processor, and a large one: the document for --json."""
    wanted = [(target, "default") for target in TARGETS.values()] + [(AMD64, "big-stripped")]
    files = [binary] if binary else [build(NEWEST, mode, target=each, out=TRIED)[0].path for each, mode in wanted]
    return {"rounds": rounds, "ratios": [asdict(each) for each in measure(files, rounds)]}


def shown(path: Path) -> str:
    """A file's name; of a program that was built here behind its mode's."""
    return f"{path.parent.name}/{path.name}" if path.is_relative_to(TRIED) else path.name


def show_speed(document: dict[str, Any]) -> None:
    """A table a file."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - starting must be quick
    from rich.table import Table  # noqa: PLC0415

    for path, rows in itertools.groupby(document["ratios"], key=lambda each: each["file"]):
        ratios = list(rows)
        size, base = ratios[0]["size"] / 2**20, ratios[0]["base_memory"]
        title = f"{shown(Path(path))}, {size:.0f} MiB; the base takes {base:.2f} × that of memory"
        table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("command", "time", "/ base", "CPU / base", "memory", "/ file", "in limits"):
            table.add_column(name, justify="left" if name == "command" else "right")
        for each in ratios:
            bounds = each["time_interval"]
            table.add_row(
                each["command"],
                format_ns(each["wall_ns"]),
                f"{each['time']:.2f} ×" + (f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else ""),
                f"{each['cpu']:.2f} ×",
                f"{each['peak'] >> 20} MiB",
                f"{each['memory']:.2f}",
                {True: "yes", False: "no", None: "–"}[each["held"]],
            )
        answers().print(table)
    answers().print(
        "\n".join(
            f"{each['command']} of {shown(Path(each['file']))}, {each['size'] >> 20} MiB: {_beside_goals(each)}"
            for each in document["ratios"]
            if each["held"] is not None
        ),
        highlight=False,
    )
    answers().print(
        f"Base: importing the libraries and one parse by LIEF. {document['rounds']} rounds, interleaved. "
        f"Limits for files from {LARGE >> 20} MiB on: time {MOST_TIME:g} ×, "
        f"memory {MOST_MEMORY:g} × the file (largest process).",
        highlight=False,
    )


def _beside_goals(ratio: dict[str, Any]) -> str:
    """``time 1.20 × the base's, goal 1.0 × (not reached); memory 0.95 × the file, goal 1.6 × (reached)``."""
    told = {True: "reached", False: "not reached"}
    return (
        f"time {ratio['time']:.2f} × the base's, goal {GOALS[ratio['command']]:g} × ({told[ratio['reached']]}); "
        f"memory {ratio['memory']:.2f} × the file, goal {GOAL_MEMORY:g} × ({told[ratio['memory'] <= GOAL_MEMORY]})"
    )


def judge(document: dict[str, Any]) -> None:
    """Raises TooSlow where a limit is not held."""
    failed = [each for each in document["ratios"] if each["held"] is False]
    if failed:
        worst = max(failed, key=lambda each: each["time"])
        raise TooSlow(
            f"{worst['command']} of {worst['file']}: {worst['time']:.2f} × the base's time, {worst['memory']:.2f} × "
            "the file's size in memory; on a busy machine measure again, else see where it goes with cProfile"
        )
