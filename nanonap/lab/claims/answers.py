"""What the recorded data say to each claim: one outcome from the verdicts that decide it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from nanonap.lab.claims.data import Recorded, Source
from nanonap.lab.claims.rows import ROWS, Row
from nanonap.lab.experiments.kit.base import Outcome, Verdict

OPEN: frozenset[Outcome] = frozenset(("not settled", "cannot be tested here"))


@dataclass(frozen=True)
class Answer:
    """A claim's outcome, and the verdicts on it with the recorded data that each was computed from.

    ``lacking`` are sources that no data are recorded of.
    """

    row: Row
    outcome: Outcome
    found: tuple[tuple[Recorded, Verdict], ...]
    lacking: tuple[Source, ...]

    @property
    def told(self) -> list[tuple[Recorded, Verdict]]:
        """What there is to tell: not that a place cannot answer what another one does."""
        return [(data, verdict) for data, verdict in self.found if not self._is_answered_elsewhere(verdict)]

    @property
    def left_open(self) -> list[tuple[Recorded, Verdict]]:
        """The others."""
        return [(data, verdict) for data, verdict in self.found if self._is_answered_elsewhere(verdict)]

    def _is_answered_elsewhere(self, verdict: Verdict) -> bool:
        same = [other.outcome for _, other in self.found if other.claim == verdict.claim]
        return verdict.outcome in OPEN and not OPEN.issuperset(same)

    def to_json(self) -> dict[str, object]:
        """For a program."""
        return {
            "claim": self.row.claim,
            "short": self.row.short,
            "says": self.row.says,
            "outcome": self.outcome,
            "why": self.row.why,
            "verdicts": [{**asdict(verdict), **where(data)} for data, verdict in self.found],
            "not_recorded": [source.command for source in self.lacking],
        }


def where(data: Recorded) -> dict[str, str | bool | None]:
    """Where recorded data come from."""
    about = data.about
    return {
        "experiment": about.experiment,
        "backend": about.backend.name,
        "command": data.source.command,
        "on": data.source.host or None,
        "mark": data.mark,
        "quick": about.quick,
        "recorded_utc": about.started_utc,
        "go_version": about.go_version,
        "host": str(about.host),
        "kernel": about.host.kernel,
        "cgroup": about.host.cgroup,
    }


def answers(by_source: Mapping[Source, Recorded], rows: Iterable[Row] = ROWS) -> list[Answer]:
    """One answer per claim, in the table's order."""
    return [_answer(row, by_source) for row in rows]


def _answer(row: Row, by_source: Mapping[Source, Recorded]) -> Answer:
    own = [each for each in by_source if each.anywhere in row.sources]
    own.sort(key=lambda each: (row.sources.index(each.anywhere), each.host))
    found = tuple(
        (by_source[source], verdict)
        for source in own
        for verdict in by_source[source].verdicts
        if row.is_about(verdict.claim)
    )
    deciding = [(verdict.claim, verdict.outcome) for _, verdict in found if row.decides(verdict.claim)]
    lacking = set(row.sources) - {each.anywhere for each in own}
    return Answer(row, combined(deciding), found, tuple(each for each in row.sources if each in lacking))


def combined(deciding: Sequence[tuple[str, Outcome]]) -> Outcome:
    """One outcome of (a verdict's name, its outcome) of a claim's parts, each perhaps from several places.

    A part that is settled in one place is settled. Parts that differ make a claim that holds in part; one that is open
    leaves the claim open, unless others differ already. Without any data it is not settled.
    """
    names = dict.fromkeys(name for name, _ in deciding)
    parts = {_one({outcome for name, outcome in deciding if name == each}) for each in names}
    settled = parts - OPEN
    if parts & OPEN and len(settled) < 2 and "holds in part" not in settled:
        return _one(parts & OPEN)
    return _one(parts)


def _one(outcomes: set[Outcome]) -> Outcome:
    settled = outcomes - OPEN
    if len(settled) > 1:
        return "holds in part"
    if settled:
        return settled.pop()
    return "cannot be tested here" if outcomes == {"cannot be tested here"} else "not settled"
