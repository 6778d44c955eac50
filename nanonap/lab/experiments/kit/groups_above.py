"""The counters of the groups above a group: what one reads who looks into the wrong cpu.stat."""

from pathlib import Path

from nanonap.base.errors import NanonapError
from nanonap.lab.quota.base import Backend, grown
from nanonap.lab.quota.cgroup import throttled_ns_of
from nanonap.lab.quota.limits import Limits

#: (of the group above, of the topmost group); None where the file is not seen or has no such counter.
Pair = tuple[int | None, int | None]


class GroupsAbove:
    """The throttled time of the group above a backend's groups, and of the topmost one."""

    def __init__(self, backend: Backend) -> None:
        """Find the files, by a group that is closed at once. Raises QuotaUnavailable."""
        self._backend = backend
        with backend.open(Limits()) as group:
            place, files = group.place, group.stat_files
            told = place.cpu_stat if place is not None else files and str(files.cpu_stat)
            own = Path(told) if told else None
        self._paths = [] if own is None else [own.parent.parent / "cpu.stat", self._top(own)]

    def _top(self, own: Path) -> Path:
        top = own
        for folder in own.parent.parents:
            if self._read(folder / "cpu.stat") is None:
                break
            top = folder / "cpu.stat"
        return top

    def _read(self, path: Path) -> str | None:
        try:
            return self._backend.read(str(path))
        except (OSError, NanonapError):
            return None

    def throttled_ns(self) -> Pair:
        """The counters now."""
        found = [throttled_ns_of(self._read(path) or "") for path in self._paths]
        return (found[0], found[1]) if found else (None, None)

    def since(self, before: Pair) -> Pair:
        """How much they grew."""
        now = self.throttled_ns()
        return grown(now[0], before[0]), grown(now[1], before[1])
