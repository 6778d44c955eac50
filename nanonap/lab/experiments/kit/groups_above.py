"""The counters of the groups above a group: what one reads who looks into the wrong cpu.stat."""

from pathlib import Path

from bench.quota.base import Backend
from bench.quota.limits import Limits
from nanonap.errors import NanonapError

#: (of the group above, of the topmost group); None where the file is not seen or has no such counter.
Pair = tuple[int | None, int | None]


class Outer:
    """The throttled time of the group above a backend's groups, and of the topmost one."""

    def __init__(self, backend: Backend) -> None:
        """Find the files, by a group that is closed at once. Raises QuotaUnavailable."""
        self._backend = backend
        with backend.open(Limits()) as group:
            inside = getattr(group, "files_inside", None)
            files = group.stat_files
            own = Path(inside["cpu_stat"]) if inside else files.cpu_stat if files else None
        self._paths = [] if own is None else [own.parent.parent / "cpu.stat", self._top(own)]

    def _top(self, own: Path) -> Path:
        top = own
        for folder in own.parent.parents:
            if self._read(folder / "cpu.stat") is None:
                break
            top = folder / "cpu.stat"
        return top

    def _read(self, path: Path) -> str | None:
        fetch = getattr(self._backend, "fetch", None)
        try:
            return fetch(str(path)).decode() if fetch else path.read_text(encoding="ascii")
        except (OSError, NanonapError):
            return None

    def throttled_ns(self) -> Pair:
        """The counters now."""
        found = [_throttled_ns(self._read(path)) for path in self._paths]
        return (found[0], found[1]) if found else (None, None)

    def since(self, before: Pair) -> Pair:
        """How much they grew."""
        now = self.throttled_ns()
        return _grown(now[0], before[0]), _grown(now[1], before[1])


def _grown(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


def _throttled_ns(text: str | None) -> int | None:
    fields = dict(line.split() for line in (text or "").splitlines())
    if "throttled_time" in fields:
        return int(fields["throttled_time"])
    return int(fields["throttled_usec"]) * 1_000 if "throttled_usec" in fields else None
