"""Groups that stay open for the next run with the same limits, where a group takes longer to make than a run lasts.

Counters are read before and after each run, so that a run's figures are its own; what an earlier one left of a period
ends with that period, and a command takes longer to start there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from nanonap.lab.quota.base import Backend, Group, Place, StatFiles, Throttling
from nanonap.lab.quota.limits import Limits


@contextmanager
def shared_groups(backend: Backend) -> Iterator[Backend]:
    """The backend itself, or, where it says that its groups are costly, one that makes a group for each limits once."""
    if not backend.costly:
        yield backend
        return
    shared = _Shared(backend)
    try:
        yield shared
    finally:
        shared.close()


class _Shared(Backend):
    name: ClassVar[str] = "shared"
    # A costly group is a container, of which even a run without limits needs one.
    elsewhere: ClassVar[bool] = True

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._groups: dict[Limits, Group] = {}

    def prepare(self) -> None:
        """The other is."""

    def open(self, limits: Limits) -> Group:
        """Raises QuotaUnavailable."""
        if limits not in self._groups:
            self._groups[limits] = self._backend.open(limits)
        return _Open(self._groups[limits])

    def close(self) -> None:
        """Close them all. Raises QuotaUnavailable."""
        while self._groups:
            self._groups.popitem()[1].close()


class _Open(Group):
    def __init__(self, group: Group) -> None:
        self._group, self.effective = group, group.effective

    def command(self, argv: Sequence[str]) -> list[str]:
        """The group's."""
        return self._group.command(argv)

    def counters(self) -> Throttling | None:
        """The group's."""
        return self._group.counters()

    @property
    def place(self) -> Place | None:
        """The group's."""
        return self._group.place

    @property
    def stat_files(self) -> StatFiles | None:
        """The group's."""
        return self._group.stat_files

    def close(self) -> None:
        """It stays open."""
