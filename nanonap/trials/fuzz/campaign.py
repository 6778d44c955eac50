"""``invoke fuzz``: mutants by the thousand, each judged in a process that may crash; what is found is kept.

All are read, a block of them in a process; one in fifty goes through the whole patcher besides.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from nanonap.base.dice import seeded
from nanonap.base.errors import UsageError
from nanonap.base.paths import ARTIFACTS, PROJECT, TRIED
from nanonap.base.terminal import COMMAND
from nanonap.toolchain.build import build
from nanonap.toolchain.modes import MODES
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.targets import AMD64, TARGETS, Target
from nanonap.toolchain.wheels import DEFAULT_GO, WHEELS
from nanonap.trials.fuzz.images import KINDS, draw_image
from nanonap.trials.fuzz.judge import Verdict, judge, judge_image
from nanonap.trials.fuzz.mutants import Mutant, draw, kinds
from nanonap.trials.fuzz.places import Base, read_base
from nanonap.trials.fuzz.readers import INSPECT, get_ready, read_all
from nanonap.trials.fuzz.tally import Finding, Tally, count, keep_tally, kept_tally, key_of
from nanonap.trials.matrix.cells import variants_for

FOLDER = ARTIFACTS / "fuzz"
FINDINGS = FOLDER / "findings"
PUBLISHED = PROJECT / "docs" / "fuzz"
IMAGE = "image"
WORKERS = 2
BLOCK = 25
_IN_FULL = 1 / 50
_WITHOUT_MEMORY = 1 / 10  # of those
_PATIENCE_S = 5
_INSPECTED_AS = "netpoll+slack1"  # where what `inspect` reads goes through the whole patcher
_MODES = ("default", "stripped", "pie", "external")


@dataclass(frozen=True)
class Judged:
    """A mutant by its number, and its verdict."""

    number: int
    base: str
    kind: str
    arm: str
    verdict: Verdict


@cache
def bases(arch: str = AMD64.name) -> tuple[Base, ...]:
    """The binaries that are damaged: the newest Go's in several modes, and the oldest's."""
    target = TARGETS[arch]
    wanted = [(DEFAULT_GO, mode) for mode in _MODES if not MODES[mode].on(target).missing()]
    wanted.append((min(WHEELS, key=lambda each: tuple(map(int, each.split(".")))), "default"))
    return tuple(
        read_base(f"{go}-{target.prefix}{mode}", build(go, mode, target=target, out=TRIED)[0].path)
        for go, mode in wanted
    )


@cache
def arms(target: Target) -> tuple[str, ...]:
    """What is done with mutants, in turn."""
    return INSPECT, *(each.name for each in variants_for(target))


def mutant_of(number: int, seed: int, target: Target = AMD64) -> tuple[Base, Mutant, str]:
    """The base, the mutant and the arm that a number of a campaign stands for: all come round in turn."""
    every = bases(target.name)
    chosen, turn = every[number % len(every)], number // len(every)
    names = kinds(chosen)
    mutant = draw(chosen, names[turn % len(names)], (seed << 32) + number)
    return chosen, mutant, arms(target)[turn // len(names) % len(arms(target))]


def judge_number(number: int, seed: int, keep: Path = FINDINGS, target: Target = AMD64) -> Judged:
    """Make one mutant, have it read, patch it, and keep it under ``keep`` if either is a finding."""
    base, mutant, arm = mutant_of(number, seed, target)
    with tempfile.TemporaryDirectory(prefix="nanonap-fuzz-") as folder:
        mutant.write(base, Path(folder) / "0")
        (verdict,) = read_all(Path(folder), [arm])
        if verdict.finding is None:
            verdict = judge(Path(folder) / "0", _in_full(arm))
    keep_finding(Judged(number, base.name, mutant.kind, arm, verdict), base, mutant, seed, keep, target)
    return Judged(number, base.name, mutant.kind, arm, verdict)


def judge_block(numbers: range, seed: int, target: Target = AMD64, keep: Path = FINDINGS) -> Tally:
    """Some mutants: all are read, and some patched."""
    drawn = [mutant_of(number, seed, target) for number in numbers]
    tally = Tally(spans=[(numbers.start, numbers.stop)])
    with tempfile.TemporaryDirectory(prefix="nanonap-fuzz-") as folder:
        begun, used = time.monotonic(), sum(os.times()[:4])
        for index, (base, mutant, _) in enumerate(drawn):
            mutant.write(base, Path(folder) / str(index))
        verdicts = read_all(Path(folder), [arm for _, _, arm in drawn])
        tally.read, tally.read_seconds = len(numbers), time.monotonic() - begun
        tally.read_cpu_s = sum(os.times()[:4]) - used
        for index, (number, (base, mutant, arm), verdict) in enumerate(zip(numbers, drawn, verdicts, strict=True)):
            read = Judged(number, base.name, mutant.kind, arm, verdict)
            _count(tally, read)
            keep_finding(read, base, mutant, seed, keep, target)
            draws = seeded(f"in full {seed} {number}")
            if draws.random() < _IN_FULL:
                begun, path = time.monotonic(), Path(folder) / str(index)
                whole = judge(path, _in_full(arm), remembering=draws.random() >= _WITHOUT_MEMORY)
                patched = Judged(number, base.name, mutant.kind, _in_full(arm), whole)
                tally.patched_seconds += time.monotonic() - begun
                _count(tally, patched, in_full=True)
                keep_finding(patched, base, mutant, seed, keep, target)
    return tally


def _in_full(arm: str) -> str:
    return _INSPECTED_AS if arm == INSPECT else arm


def _count(tally: Tally, judged: Judged, *, in_full: bool = False) -> None:
    verdict = judged.verdict
    tally.patched += in_full
    count(tally.patches if in_full else tally.readings, judged.kind, verdict.outcome)
    tally.slowest_cpu_s = max(tally.slowest_cpu_s, verdict.cpu_s)
    tally.largest_peak = max(tally.largest_peak, verdict.peak_bytes)
    if verdict.finding is not None:
        place = judged.number, judged.base, judged.kind, judged.arm
        tally.findings.append(Finding(*place, verdict.outcome, verdict.finding))


def keep_finding(judged: Judged, base: Base, mutant: Mutant, seed: int, keep: Path, target: Target) -> None:
    """Write a finding's file and what is wrong with it, under ``keep``; of another mutant nothing."""
    if judged.verdict.finding is None:
        return
    folder = keep / f"{target.prefix}{seed}-{judged.number}"
    folder.mkdir(parents=True, exist_ok=True)
    mutant.write(base, folder / "mutant")
    arch = "" if target == AMD64 else f"--arch {target.name} "
    again = f"{COMMAND} fuzz {arch}--seed {seed} --only {judged.number}"
    document = {"again": again, "arm": judged.arm, "base": base.name, "kind": mutant.kind, **asdict(judged.verdict)}
    (folder / "finding.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def judge_image_number(number: int, seed: int, keep: Path = FINDINGS) -> Judged:
    """The same of a damaged container image, which is patched."""
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
    return Judged(number, IMAGE, mutant.kind, "netpoll", verdict)


@dataclass(frozen=True)
class Campaign:
    """What is damaged, and the seed of the damage."""

    seed: int
    target: Target = AMD64
    images: bool = False

    @property
    def name(self) -> str:
        """``amd64-1``."""
        return f"{'images' if self.images else self.target.name}-{self.seed}"

    def key(self) -> str:
        """What its tally stands on."""
        data = (each.data for each in bases(self.target.name))
        return key_of(data, self.target.name, images=self.images)

    def one(self, number: int) -> Tally:
        """One mutant, in full."""
        tally, begun = Tally(), time.monotonic()
        judged = (
            judge_image_number(number, self.seed)
            if self.images
            else judge_number(number, self.seed, target=self.target)
        )
        _count(tally, judged, in_full=True)
        tally.patched_seconds = time.monotonic() - begun
        return tally

    def __call__(self, numbers: range) -> Tally:
        """A block of mutants: a worker's work."""
        if not self.images:
            return judge_block(numbers, self.seed, self.target)
        tally = Tally(spans=[(numbers.start, numbers.stop)])
        for each in numbers:
            tally.add(self.one(each))
        return tally


#: Judges blocks of a campaign; gives their tallies as they come.
Elsewhere = Callable[[Campaign, Sequence[range]], Generator[Tally, None, None]]


def run_fuzz(
    campaign: Campaign,
    mutants: int,
    minutes: float | None = None,
    *,
    again: bool = False,
    folder: Path = FOLDER,
    published: Path = PUBLISHED,
    elsewhere: Elsewhere | None = None,
) -> Tally:
    """Judge that many mutants, or as many as the minutes allow; what was judged before counts, and is not judged again.

    What was is kept in ``folder``, or was ``published``; with ``again`` it counts for nothing. ``elsewhere`` judges
    blocks on other machines. Raises UsageError for images of another processor, and what building can raise.
    """
    if campaign.images and campaign.target != AMD64:
        raise UsageError(f"--images: its programs are {AMD64.name}'s; leave --arch out")
    begun = time.monotonic()
    key = campaign.key()  # before the workers are forked: they share the bases
    path = folder / f"{campaign.name}.json"
    known = [] if again else [kept_tally(each / path.name, key) for each in (folder, published)]
    tally = max(known, key=lambda each: each.read, default=Tally())
    left = list(tally.left(mutants, BLOCK))
    with _judged(campaign, left, elsewhere) as tallies, progress_bar() as bar:
        task = bar.add_task("damaged files", total=max(mutants, tally.read), completed=tally.read)
        for each in tallies:
            tally.add(each)
            keep_tally(path, key, tally)
            bar.update(task, completed=tally.read, description=f"damaged files, {len(tally.findings)} findings")
            if minutes is not None and time.monotonic() - begun > 60 * minutes:
                break
    return tally


@contextlib.contextmanager
def _judged(campaign: Campaign, blocks: list[range], elsewhere: Elsewhere | None) -> Iterator[Iterable[Tally]]:
    """The tallies of the blocks, as they come; at the end those who judge are ended."""
    if elsewhere is not None:
        with contextlib.closing(elsewhere(campaign, blocks)) as tallies:
            yield tallies
    else:
        with multiprocessing.get_context("fork").Pool(WORKERS, _begin, (campaign.target,)) as pool:
            yield pool.imap_unordered(campaign, blocks)


def _begin(target: Target) -> None:
    """In a worker: Ctrl-C and a closed terminal are its parent's matter; its word to end cleans up, saying nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _ended)
    get_ready((each.path for each in bases(target.name)), arms(target))


def _ended(*_: object) -> None:
    """The word to end. Where it comes amid a destructor Python drops what it raises: then the alarm ends the worker."""
    signal.alarm(_PATIENCE_S)
    sys.exit(0)
