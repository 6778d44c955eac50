"""A campaign's result: the machine, the rows, and whether they are as they must be."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from nanonap import __version__
from nanonap.toolchain.targets import AMD64, target_named
from nanonap.trials.corpus.row import Result, Row
from nanonap.trials.errors import CorpusChanged, CorpusIncomplete

SCHEMA = 1
_UNTRIED = (Result.NOT_HERE, Result.STOCK_FAILS, Result.UNEXPECTED)


@dataclass(frozen=True)
class Report:
    """``started``: UTC, ISO 8601, to the second; ``go``: the test binaries' release; ``arms``: what was asked for."""

    started: str
    go: str
    arms: list[str]
    nightly: bool
    kernel: str
    cpus: int
    rows: list[Row]
    tool: str = __version__
    schema: int = SCHEMA
    arch: str = AMD64.name

    @classmethod
    def made(
        cls, started: datetime, go: str, arms: list[str], nightly: bool, rows: Sequence[Row], arch: str
    ) -> "Report":
        """A report of this machine's campaign, of programs for ``arch``."""
        cpus, at = len(os.sched_getaffinity(0)), started.isoformat(timespec="seconds")
        return cls(at, go, arms, nightly, platform.release(), cpus, list(rows), arch=arch)

    @property
    def emulated(self) -> bool:
        """Whether the programs ran in a machine for another processor."""
        return not target_named(self.arch).here

    def counts(self) -> dict[str, int]:
        """{result: rows}."""
        return dict(Counter(str(each.result) for each in self.rows))

    def to_json(self) -> dict[str, Any]:
        """The document of ``latest.json``."""
        return asdict(self) | {"counts": self.counts()}

    def check(self) -> None:
        """Raise CorpusChanged where something changed, else CorpusIncomplete where something could not be tried."""
        changed = [f"{each.name} ({each.arm})" for each in self.rows if each.result == Result.CHANGED]
        if changed:
            raise CorpusChanged(f"corpus: a verdict or a program's work changed: {', '.join(changed)}; see the table")
        untried = [f"{each.name} ({each.result})" for each in self.rows if each.result in _UNTRIED]
        if untried:
            raise CorpusIncomplete(f"corpus: could not be tried: {', '.join(untried)}; the table says why")
