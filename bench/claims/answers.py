"""What the records say to each claim: one outcome from the verdicts that decide it."""

from collections.abc import Iterable, Mapping
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
    outcome = combined(verdict.outcome for _, verdict in found if row.decides(verdict.claim))
    return Answer(row, outcome, found, tuple(source for source in row.sources if source not in records))


def combined(outcomes: Iterable[Outcome]) -> Answered:
    """Of verdicts on one claim: what those that are settled agree on, else that it holds in part."""
    known = set(outcomes)
    settled = known - {OPEN}
    if not settled:
        return OPEN if known else UNKNOWN
    return settled.pop() if len(settled) == 1 else "holds in part"
