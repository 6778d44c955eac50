"""What the records say to each claim: one outcome from the verdicts that decide it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench import host
from bench.claims.records import Record, Source
from bench.claims.rows import ROWS, Row
from bench.experiments.base import Outcome, Verdict

Answered = Outcome | Literal["not recorded"]
OPEN: Outcome = "cannot be tested here"
UNKNOWN: Answered = "not recorded"


@dataclass(frozen=True)
class Answer:
    """A claim's outcome, and the verdicts on it with the record that each was computed from.

    ``lacking`` are sources that no data are recorded of.
    """

    row: Row
    outcome: Answered
    found: tuple[tuple[Record, Verdict], ...]
    lacking: tuple[Source, ...]

    @property
    def told(self) -> list[tuple[Record, Verdict]]:
        """What there is to tell: not that a place cannot answer what another one does."""
        return [(record, verdict) for record, verdict in self.found if not self._is_answered_elsewhere(verdict)]

    @property
    def left_open(self) -> list[tuple[Record, Verdict]]:
        """The others."""
        return [(record, verdict) for record, verdict in self.found if self._is_answered_elsewhere(verdict)]

    def _is_answered_elsewhere(self, verdict: Verdict) -> bool:
        same = [other.outcome for _, other in self.found if other.claim == verdict.claim]
        return verdict.outcome == OPEN and set(same) != {OPEN}

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "claim": self.row.claim,
            "short": self.row.short,
            "says": self.row.says,
            "outcome": self.outcome,
            "why": self.row.why,
            "verdicts": [{**asdict(verdict), **where(record)} for record, verdict in self.found],
            "not_recorded": [source.command for source in self.lacking],
        }


def where(record: Record) -> dict[str, Any]:
    """Where a record comes from."""
    about = record.about
    return {
        "experiment": about["experiment"],
        "backend": about["backend"]["name"],
        "command": record.source.command,
        "mark": record.mark,
        "quick": about["quick"],
        "recorded_utc": about["started_utc"],
        "go_version": about["go_version"],
        "host": host.describe(about["host"]),
    }


def answers(records: Mapping[Source, Record], rows: Iterable[Row] = ROWS) -> list[Answer]:
    """An answer a claim, in the table's order."""
    return [_answer(row, records) for row in rows]


def _answer(row: Row, records: Mapping[Source, Record]) -> Answer:
    found = tuple(
        (records[source], verdict)
        for source in row.sources
        if source in records
        for verdict in records[source].verdicts
        if row.is_about(verdict.claim)
    )
    deciding = [(verdict.claim, verdict.outcome) for _, verdict in found if row.decides(verdict.claim)]
    outcome = combined(deciding)
    return Answer(row, outcome, found, tuple(source for source in row.sources if source not in records))


def combined(deciding: Sequence[tuple[str, Outcome]]) -> Answered:
    """One outcome of (a verdict's name, its outcome) of a claim's parts, each perhaps from several places.

    A part that is settled in one place is settled. Parts that differ make a claim that holds in part; one that is open
    leaves the claim open, unless others differ already.
    """
    if not deciding:
        return UNKNOWN
    names = dict.fromkeys(name for name, _ in deciding)
    parts = {_one({outcome for name, outcome in deciding if name == each} - {OPEN}) for each in names}
    settled = parts - {OPEN}
    if OPEN in parts and len(settled) < 2 and "holds in part" not in settled:
        return OPEN
    return _one(settled)


def _one(outcomes: set[Outcome]) -> Outcome:
    if len(outcomes) > 1:
        return "holds in part"
    return outcomes.pop() if outcomes else OPEN
