"""The one face of every experiment: run it, judge its data, show and draw them. Judging never looks at the machine."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from matplotlib.figure import Figure

from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.base import Backend
from nanonap.lab.show.tables import Table

Row = dict[str, Any]
Outcome = Literal["holds", "holds in part", "refuted", "not settled", "cannot be tested here"]


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim: ``claim`` is its short name (``D1``), ``says`` the claim in our words.

    ``sentence`` tells what is seen, with figures; ``figures`` are the same for a program.
    """

    claim: str
    says: str
    outcome: Outcome
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What an experiment gets: how much to do, where, and how to say what it does.

    ``program`` is the measured program as built; ``patched`` names patched copies of it by arm. ``say`` shows a line
    of progress; ``stop`` runs children and raises Interrupted where the user wants to stop. ``folder`` keeps what else
    a person may want to open (traces); no verdict may rest on a file of it.
    """

    quick: bool
    backend: Backend
    program: Path
    patched: dict[str, Path]
    stop: Stop
    say: Callable[[str], None]
    folder: Path

    def must_be_here(self, why: str) -> None:
        """Raise QuotaUnavailable, with the reason, for a backend whose programs run elsewhere: not what is measured."""
        if self.backend.elsewhere:
            raise QuotaUnavailable(self.backend.name, why, "use --backend none")

    def call_beside_groups(self, target: str, timeout_s: float, **arguments: Any) -> Any:  # noqa: ANN401 - each target has an answer of its own kind
        """What ``MODULE:FUNCTION``, which takes ``backend``, a name, and more, returns where the backend's groups are.

        It runs in a process of its own, here or in the backend's guest. Raises as ``Backend.call``.
        """
        return self.backend.call(target, self.stop, timeout_s, backend=self.backend.inner, **arguments)


class Experiment:
    """A question to the kernel or to the Go runtime."""

    name: ClassVar[str]
    question: ClassVar[str]
    #: What is expected, and why: said before the data, and never changed after them.
    expects: ClassVar[str]
    #: Arms that are needed beside the stock program.
    arms: ClassVar[tuple[str, ...]] = ()
    #: Whether it needs a backend that can set a quota.
    limits: ClassVar[bool] = True
    #: Whether its full form takes at most half a minute: `invoke claims` then runs it each time.
    cheap: ClassVar[bool] = False
    #: A verdict on each claim, and what a person reads: each from the data.
    verdicts: ClassVar[Sequence[Callable[[pl.DataFrame], Verdict]]] = ()
    shown: ClassVar[Sequence[Callable[[pl.DataFrame], Table]]] = ()

    #: The columns of the raw data, units in their names.
    schema: ClassVar[Mapping[str, pl.DataType | type[pl.DataType]]]

    def rows(self, setting: Setting) -> Iterable[Row]:
        """The raw data, a row per observation. Raises QuotaUnavailable, RunFailed, Interrupted."""
        raise NotImplementedError

    def run(self, setting: Setting) -> pl.DataFrame:
        """The rows as one frame; an experiment whose data are frames from the start has a ``run`` of its own."""
        return pl.DataFrame(list(self.rows(setting)), schema=self.schema, orient="row", infer_schema_length=None)

    def judge(self, data: pl.DataFrame) -> list[Verdict]:
        """A verdict on each claim, from the data."""
        return [each(data) for each in self.verdicts]

    def tables(self, data: pl.DataFrame) -> Sequence[Table]:
        """What a person reads."""
        return [each(data) for each in self.shown]

    def draw(self, data: pl.DataFrame) -> Figure | None:
        """The picture, where one helps."""
        del data
        return None
