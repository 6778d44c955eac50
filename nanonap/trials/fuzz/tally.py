"""What a campaign has come to so far, kept in a file, so that the next one goes on where it ended.

A page's own is beside the page, so that a campaign of days may be made of many, on machines that forget.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nanonap.base.files import as_ours, write_text
from nanonap.base.paths import PROJECT
from nanonap.trials.matrix.run import patcher_sha256
from patcher.answers import WrongShape, decode, encode

#: By kind of damage, how often each outcome came.
Counts = dict[str, dict[str, int]]
_HERE = Path(__file__).parent
_TOLD = ("show.py", "there.py")  # how and where: that changes no count


@dataclass(frozen=True)
class Finding:
    """A mutant, by its number, that ended in something else than an error of ours or a right patch."""

    number: int
    base: str
    kind: str
    arm: str
    outcome: str
    finding: str


@dataclass
class Tally:
    """Mutants that the readers read, and those of them that went through the whole patcher; ``seconds`` of a worker,
    ``read_cpu_s`` of CPU time.

    ``spans`` are the numbers of the mutants that are in it, ``(first, behind the last)`` each, ascending.
    """

    read: int = 0
    read_seconds: float = 0
    read_cpu_s: float = 0
    patched: int = 0
    patched_seconds: float = 0
    slowest_cpu_s: float = 0
    largest_peak: int = 0
    readings: Counts = field(default_factory=dict)
    patches: Counts = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count what another has, too."""
        self.read += other.read
        self.read_seconds += other.read_seconds
        self.read_cpu_s += other.read_cpu_s
        self.patched += other.patched
        self.patched_seconds += other.patched_seconds
        self.slowest_cpu_s = max(self.slowest_cpu_s, other.slowest_cpu_s)
        self.largest_peak = max(self.largest_peak, other.largest_peak)
        for own, more in ((self.readings, other.readings), (self.patches, other.patches)):
            for kind, outcomes in more.items():
                for outcome, times in outcomes.items():
                    count(own, kind, outcome, times)
        self.findings += other.findings
        self.spans = _joined(self.spans + other.spans)

    def left(self, mutants: int, block: int) -> Iterator[range]:
        """The numbers below ``mutants`` that are not in it, in blocks of at most so many."""
        first = 0
        for start, behind in [*self.spans, (mutants, mutants)]:
            for each in range(first, min(start, mutants), block):
                yield range(each, min(each + block, start, mutants))
            first = behind


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in as few spans as can be."""
    joined: list[tuple[int, int]] = []
    for first, behind in sorted(spans):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], behind)
        else:
            joined.append((first, behind))
    return joined


def count(counts: Counts, kind: str, outcome: str, times: int = 1) -> None:
    """One more, or some."""
    outcomes = counts.setdefault(kind, {})
    outcomes[outcome] = outcomes.get(outcome, 0) + times


def key_of(bases: Iterable[bytes], arch: str, *, images: bool) -> str:
    """SHA-256 (hex) of what a kept tally stands on: the bases, what of the patcher a mutant passes through, and how
    mutants are made and judged.
    """
    digest = hashlib.sha256(patcher_sha256(arch).encode())
    for each in bases:
        digest.update(hashlib.sha256(each).digest())
    folders = (_HERE, PROJECT / "patcher" / "images") if images else (_HERE,)
    for source in sorted(path for folder in folders for path in folder.glob("*.py") if path.name not in _TOLD):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def kept_tally(path: Path, key: str) -> Tally:
    """The one that was kept, if it still holds; else an empty one."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return decode(Tally, document["tally"]) if document["key"] == key else Tally()
    except (OSError, ValueError, KeyError, TypeError, WrongShape):
        return Tally()


def keep_tally(path: Path, key: str, tally: Tally) -> None:
    """Write it, whole or not at all. Raises OutputNotWritable, DiskFull."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_ours(error, path) from error
    write_text(path, json.dumps({"key": key, "tally": encode(tally)}) + "\n")
