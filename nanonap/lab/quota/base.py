"""The one face of every way to limit CPU: open a group, run commands inside, read its counters, close it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from bench.quota.limits import Limits


@dataclass(frozen=True)
class Throttling:
    """A group's counters: periods with the timer active, those with a stop, time stopped (summed over CPUs).

    ``nr_bursts`` and ``burst_ns`` are the periods that used burst and the time taken from it, ``usage_ns`` the CPU time
    of the group; None where the kernel does not count them.
    """

    nr_periods: int
    nr_throttled: int
    throttled_ns: int
    nr_bursts: int | None = None
    burst_ns: int | None = None
    usage_ns: int | None = None

    def since(self, before: "Throttling") -> "Throttling":
        """The difference to an earlier reading."""
        return Throttling(
            self.nr_periods - before.nr_periods,
            self.nr_throttled - before.nr_throttled,
            self.throttled_ns - before.throttled_ns,
            _less(self.nr_bursts, before.nr_bursts),
            _less(self.burst_ns, before.burst_ns),
            _less(self.usage_ns, before.usage_ns),
        )


def _less(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


@dataclass(frozen=True)
class StatFiles:
    """Where a group's counters are seen on this host: cpu.stat, its cgroup version, and v1's cpuacct.usage."""

    cpu_stat: Path
    version: int
    usage: Path | None = None


class Group(ABC):
    """An open group: ``effective`` is what the kernel says it set, read back."""

    effective: Limits

    @abstractmethod
    def command(self, argv: Sequence[str]) -> list[str]:
        """The argument vector that runs ``argv`` inside from its first instruction on."""

    @abstractmethod
    def counters(self) -> Throttling | None:
        """The counters now; None where the machine keeps none."""

    @property
    def stat_files(self) -> StatFiles | None:
        """The files that the counters come from; None where this host does not show them."""
        return None

    @abstractmethod
    def close(self) -> None:
        """End what still runs inside and remove the group. Safe to call twice."""

    def __enter__(self) -> Self:
        """The group itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close, whatever happened."""
        self.close()


class Backend(ABC):
    """A way to limit CPU on this machine."""

    name: ClassVar[str]
    #: Whether its groups are another place than the caller's: then runs without limits must be in a group too.
    elsewhere: ClassVar[bool] = False
    #: What every table and plot of its results must say, or None.
    mark: str | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Find where groups go and remove those of dead processes. Raises QuotaUnavailable with reason and remedy."""

    @abstractmethod
    def open(self, limits: Limits) -> Group:
        """A new group with these limits, read back. Raises QuotaUnavailable."""

    def facts(self) -> dict[str, Any]:
        """Facts about the machine inside, which go over those of the host; ``{}`` where it is the host itself."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Put back what prepare() changed. Safe to call twice."""
