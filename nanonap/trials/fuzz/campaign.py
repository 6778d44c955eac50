"""``invoke fuzz``: mutants by the thousand, each judged in a process that may crash; what is found is kept."""

import json
import multiprocessing
import multiprocessing.pool
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import patcher
from nanonap.base.paths import ARTIFACTS, TRIED
from nanonap.base.terminal import COMMAND, command
from nanonap.toolchain.build import build
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS
from nanonap.trials.errors import FuzzFound
from nanonap.trials.fuzz.images import KINDS, draw_image
from nanonap.trials.fuzz.judge import Verdict, judge, judge_image
from nanonap.trials.fuzz.mutants import Mutant, draw, kinds
from nanonap.trials.fuzz.places import Base, read_base

FINDINGS = ARTIFACTS / "fuzz" / "findings"
_MODES = ("default", "stripped", "pie", "external")
_WORKERS = 2
_STRATEGIES = tuple(patcher.STRATEGIES)


@dataclass(frozen=True)
class Judged:
    """A mutant by its number, and its verdict."""

    number: int
    base: str
    kind: str
    strategy: str
    verdict: Verdict


@cache
def bases() -> tuple[Base, ...]:
    """The binaries that are damaged: the newest Go's in several modes, and the oldest's."""
    wanted = [(DEFAULT_GO, mode) for mode in _MODES if not MODES[mode].missing()]
    wanted.append((min(WHEELS, key=lambda each: tuple(map(int, each.split(".")))), "default"))
    return tuple(read_base(f"{go}-{mode}", build(go, mode, out=TRIED)[0].path) for go, mode in wanted)


def mutant_of(number: int, seed: int) -> tuple[Base, Mutant, str]:
    """The base, the mutant and the strategy that a number of a campaign stands for: all come round in turn."""
    chosen = bases()[number % len(bases())]
    names = kinds(chosen)
    turn = number // len(bases())
    mutant = draw(chosen, names[turn % len(names)], (seed << 32) + number)
    return chosen, mutant, _STRATEGIES[turn // len(names) % len(_STRATEGIES)]


def judge_number(number: int, seed: int, keep: Path = FINDINGS) -> Judged:
    """Make one mutant, judge it, and keep it under ``keep`` if it is a finding."""
    base, mutant, strategy = mutant_of(number, seed)
    with tempfile.TemporaryDirectory(prefix="nanonap-fuzz-") as folder:
        path = Path(folder) / "mutant"
        mutant.write(base, path)
        verdict = judge(path, strategy)
    if verdict.finding is not None:
        folder_kept = keep / f"{seed}-{number}"
        folder_kept.mkdir(parents=True, exist_ok=True)
        mutant.write(base, folder_kept / "mutant")
        again = f"{COMMAND} fuzz --seed {seed} --only {number}"
        document = {"again": again, "strategy": strategy, "base": base.name, "kind": mutant.kind, **asdict(verdict)}
        (folder_kept / "finding.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Judged(number, base.name, mutant.kind, strategy, verdict)


def judge_image_number(number: int, seed: int, keep: Path = FINDINGS) -> Judged:
    """The same of a damaged container image."""
    mutant = draw_image(f"{seed} {number}", KINDS[number % len(KINDS)])
    with tempfile.TemporaryDirectory(prefix="nanonap-fuzz-") as folder:
        path = Path(folder) / "image.tar"
        mutant.write(path)
        verdict = judge_image(path)
    if verdict.finding is not None:
        folder_kept = keep / f"image-{seed}-{number}"
        folder_kept.mkdir(parents=True, exist_ok=True)
        mutant.write(folder_kept / "image.tar")
        again = f"{COMMAND} fuzz --images --seed {seed} --only {number}"
        document = {"again": again, "kind": mutant.kind, **asdict(verdict)}
        (folder_kept / "finding.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Judged(number, "image", mutant.kind, "netpoll", verdict)


def run_fuzz(
    mutants: int, seed: int, minutes: float | None, only: int | None = None, *, images: bool = False
) -> dict[str, Any]:
    """Judge that many mutants, or as many as the minutes allow; the document of what they came to."""
    bases()  # before the workers are forked: they share them
    begun = time.monotonic()
    numbers = range(mutants) if only is None else [only]
    judged: list[Judged] = []
    with multiprocessing.get_context("fork").Pool(_WORKERS, _end_quietly) as pool, progress_bar() as bar:
        task = bar.add_task("damaged files", total=len(numbers))
        for each in _answers(pool, numbers, seed, images=images):
            judged.append(each)
            found = sum(one.verdict.finding is not None for one in judged)
            bar.update(task, advance=1, description=f"damaged files, {found} findings")
            if minutes is not None and time.monotonic() - begun > 60 * minutes:
                pool.terminate()
                break
    return _document(judged, seed, time.monotonic() - begun)


def _end_quietly() -> None:
    """In a worker: Ctrl-C and a closed terminal are its parent's matter; its word to end cleans up, saying nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _answers(
    pool: multiprocessing.pool.Pool, numbers: range | list[int], seed: int, *, images: bool
) -> Iterator[Judged]:
    yield from pool.imap_unordered(_Work(seed, images), numbers, chunksize=4 if len(numbers) > 100 else 1)


@dataclass(frozen=True)
class _Work:
    seed: int
    images: bool

    def __call__(self, number: int) -> Judged:
        return (judge_image_number if self.images else judge_number)(number, self.seed)


def _document(judged: list[Judged], seed: int, seconds: float) -> dict[str, Any]:
    outcomes: dict[str, Counter[str]] = {}
    for each in judged:
        outcomes.setdefault(each.kind, Counter())[each.verdict.outcome] += 1
    found = sorted((each for each in judged if each.verdict.finding), key=lambda each: each.number)
    return {
        "mutants": len(judged),
        "seed": seed,
        "seconds": round(seconds, 1),
        "cores": os.cpu_count(),
        "outcomes": {kind: dict(each.most_common()) for kind, each in sorted(outcomes.items())},
        "slowest_cpu_s": round(max((each.verdict.cpu_s for each in judged), default=0), 2),
        "largest_peak_mib": max((each.verdict.peak_bytes for each in judged), default=0) >> 20,
        "findings": [
            {"number": each.number, "base": each.base, "kind": each.kind, "strategy": each.strategy}
            | {"outcome": each.verdict.outcome, "finding": each.verdict.finding}
            for each in found
        ],
    }


def show_fuzz(document: dict[str, Any]) -> None:
    """Outcomes by kind of damage, the extremes, the findings."""
    from rich.console import Console  # noqa: PLC0415 - rich is imported on first use: starting must be quick
    from rich.table import Table  # noqa: PLC0415 - for a person alone

    table = Table("damage", "outcomes")
    for kind, outcomes in document["outcomes"].items():
        table.add_row(kind, ", ".join(f"{outcome} {count}" for outcome, count in outcomes.items()))
    console = Console()
    console.print(table)
    console.print(
        f"{document['mutants']} mutants, seed {document['seed']}, {document['seconds']} s; slowest "
        f"{document['slowest_cpu_s']} s of CPU, largest {document['largest_peak_mib']} MiB, "
        f"{len(document['findings'])} findings",
        highlight=False,
    )
    for each in document["findings"]:
        images = ["--images"] if each["base"] == "image" else []
        again = command("fuzz", *images, "--seed", str(document["seed"]), "--only", str(each["number"]))
        console.print(f"{again}: {each['base']}, {each['kind']}: {each['finding']}", highlight=False, markup=False)


def check_found(document: dict[str, Any]) -> None:
    """Raises FuzzFound where there is a finding."""
    if document["findings"]:
        raise FuzzFound(
            f"{len(document['findings'])} of {document['mutants']} damaged files ended in something else than an error "
            f"of ours or a correct patch; they are kept in {FINDINGS}"
        )
