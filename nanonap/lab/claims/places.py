"""Where each verdict was tried: a column for each kernel and cgroup version, and whether all of them agree."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nanonap.lab.claims.answers import OPEN, Answer
from nanonap.lab.claims.data import Recorded
from nanonap.lab.experiments.kit.base import Outcome
from nanonap.lab.experiments.main import About
from nanonap.lab.quota.choose import backend_class


@dataclass(frozen=True)
class Place:
    """A column of the table.

    ``kernel``: its release's first two numbers; ``group``: the version of cgroups that limits CPU there, or that none
    does; ``mark``: what must be said beside its figures (an emulated machine), or empty.
    """

    kernel: tuple[int, ...]
    group: str
    mark: str

    def __str__(self) -> str:
        """The heading."""
        kernel = ".".join(map(str, self.kernel)) or "unknown"
        return f"Linux {kernel}, {self.group}{f' ({self.mark})' if self.mark else ''}"


@dataclass(frozen=True)
class Tried:
    """A verdict's row: what came out at each place, in their order, empty where it was not tried.

    ``same``: whether the places that settle it agree; None where fewer than two do.
    """

    claim: str
    cells: tuple[str, ...]
    same: bool | None


@dataclass(frozen=True)
class SideBySide:
    """All verdicts that were tried at more than one place."""

    places: tuple[Place, ...]
    rows: tuple[Tried, ...]

    @property
    def same(self) -> list[str]:
        """The verdicts on which the places agree."""
        return [each.claim for each in self.rows if each.same]

    @property
    def differing(self) -> list[str]:
        """Those on which they do not."""
        return [each.claim for each in self.rows if each.same is False]


def place_of(about: About) -> Place:
    """Of recorded data."""
    kind, host = backend_class(about.backend.name), about.host
    numbers = re.match(r"(\d+)\.(\d+)", host.kernel or "")
    group = f"cgroup {kind.version or host.cgroup or 'unknown'}" if kind.limits else "no group"
    return Place(tuple(map(int, numbers.groups())) if numbers else (), group, about.backend.mark or "")


def where_tried(answers: Iterable[Answer]) -> SideBySide:
    """The table, from the recorded data's verdicts. Real machines come before emulated ones, old kernels before new."""
    found: dict[str, dict[Place, list[tuple[Recorded, Outcome]]]] = {}
    for answer in answers:
        for data, verdict in answer.found:
            cells = found.setdefault(verdict.claim, {})
            cells.setdefault(place_of(data.about), []).append((data, verdict.outcome))
    several = {claim: cells for claim, cells in found.items() if len(cells) > 1}
    places = sorted(
        {place for cells in several.values() for place in cells}, key=lambda each: (each.mark, each.kernel, each.group)
    )
    return SideBySide(tuple(places), tuple(_row(claim, cells, places) for claim, cells in several.items()))


def _row(claim: str, cells: dict[Place, list[tuple[Recorded, Outcome]]], places: Sequence[Place]) -> Tried:
    settled = [{outcome for _, outcome in cells[place] if outcome not in OPEN} for place in cells]
    settled = [each for each in settled if each]
    same = None if len(settled) < 2 else len(set.union(*settled)) == 1
    return Tried(claim, tuple(_cell(cells.get(place, ())) for place in places), same)


def _cell(found: Sequence[tuple[Recorded, Outcome]]) -> str:
    """The outcome; where sources of one place differ, each with its backend, and its host where there are several."""
    outcomes = dict.fromkeys(outcome for _, outcome in found)
    if len(outcomes) < 2:
        return "".join(outcomes)
    return "; ".join(f"{outcome} (`{data.about.backend.name}{data.source.at}`)" for data, outcome in found)
