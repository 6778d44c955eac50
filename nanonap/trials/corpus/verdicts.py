"""What a Go test binary says of its tests, and how two arms' verdicts differ."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

#: What a test can come to; "unfinished" began and never ended, "absent" was never begun.
PASS, FAIL, SKIP, UNFINISHED, ABSENT = "pass", "fail", "skip", "unfinished", "absent"

_PANIC = re.compile(r"^(panic: |fatal error: |SIG[A-Z]+: )", re.MULTILINE)
_PANICKED = 2  # runtime/panic.go
_OWN_TIMEOUT = "panic: test timed out after "  # testing.(*M).startAlarm


@dataclass(frozen=True)
class Suite:
    """One run of a test binary: ``ending`` in a word or two, and {test name: verdict}, subtests included."""

    ending: str
    verdicts: dict[str, str]

    def not_passing(self) -> list[str]:
        """The names of the tests that neither passed nor were skipped."""
        return sorted(name for name, verdict in self.verdicts.items() if verdict not in (PASS, SKIP))

    def tally(self) -> str:
        """``exit 0: 40 pass, 2 skip``."""
        counts = Counter(self.verdicts.values())
        return f"{self.ending}: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts))


def read_events(lines: Iterable[str]) -> dict[str, str]:
    """{test name: verdict} of ``go tool test2json``'s lines; those of no test are passed over."""
    verdicts: dict[str, str] = {}
    for line in lines:
        event = json.loads(line)
        name, action = event.get("Test"), event.get("Action")
        if name is None:
            continue
        if action in (PASS, FAIL, SKIP):
            verdicts[name] = action
        elif action == "run":
            verdicts.setdefault(name, UNFINISHED)
    return verdicts


def ending(status: int, timed_out: bool, output: str) -> str:
    """How a test binary ended, from its exit status (negative: a signal) and what it wrote.

    What it wrote counts only with the status of a panic: package testing's own tests write such words, and pass.
    """
    if timed_out or (status == _PANICKED and _OWN_TIMEOUT in output):
        return "timed out"
    if status < 0:
        return f"signal {-status}"
    return "panic" if status == _PANICKED and _PANIC.search(output) else f"exit {status}"


def differing(stock: dict[str, str], patched: dict[str, str]) -> list[str]:
    """The names of the tests whose verdicts differ, sorted."""
    names = stock.keys() | patched.keys()
    return sorted(name for name in names if stock.get(name, ABSENT) != patched.get(name, ABSENT))


@dataclass(frozen=True)
class Difference:
    """A test whose verdict differed, with all verdicts of both arms: the first run's and those of the runs alone."""

    test: str
    stock: tuple[str, ...]
    patched: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """False only if stock by itself gives more than one verdict."""
        return len(set(self.stock)) == 1

    def __str__(self) -> str:
        """``TestX: stock 6 pass; patched 5 pass, 1 fail``."""
        return f"{self.test}: stock {_counts(self.stock)}; patched {_counts(self.patched)}"


def _counts(verdicts: tuple[str, ...]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(verdicts).items()))
