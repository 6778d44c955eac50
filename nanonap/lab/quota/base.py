"""The one face of every way to limit CPU: open a group, run commands inside, read its counters, close it."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable, RunFailed
from nanonap.lab.ground.host import Facts, cpus_allowed
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.limits import Limits, Quota
from nanonap.toolchain.targets import HERE, Target

_STDERR_TAIL = 600
_NO_WAY = "no way is offered to change the quota of a group in use"


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
            grown(self.nr_bursts, before.nr_bursts),
            grown(self.burst_ns, before.burst_ns),
            grown(self.usage_ns, before.usage_ns),
        )


def grown(now: int | None, before: int | None) -> int | None:
    """How much a counter grew; None where it is not counted."""
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

    def set_quota(self, quota: Quota) -> None:
        """Another quota, while commands run. Raises QuotaUnavailable, also where no way is offered, or OSError."""
        raise QuotaUnavailable(type(self).__name__, f"{_NO_WAY} ({quota})", "choose another --backend")

    @property
    def place(self) -> "Place | None":
        """Where what it runs is recorded; None where that is this machine."""
        return None

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

    def __exit__(self, *_: object) -> None:
        """Close, whatever happened."""
        self.close()


@dataclass(frozen=True)
class Place:
    """Another kernel that a group is on. ``cpu_stat``: the group's file there, None where it has none.

    ``beside``: words before a command of that place, which run it there in no group; ``inside``: makes of a command of
    that place the one that runs it in the group.
    """

    beside: tuple[str, ...]
    inside: Callable[[Sequence[str]], list[str]]
    cpu_stat: str | None


class Backend(ABC):
    """A way to limit CPU on this machine."""

    name: ClassVar[str]
    #: Whether its groups are another place than the caller's: then runs without limits must be in a group too.
    elsewhere: ClassVar[bool] = False
    #: Whether that place has a kernel of its own, which this process boots: its children are there, not here.
    own_kernel: ClassVar[bool] = False
    #: Whether it takes long to be ready: then it is tried only where it is asked for.
    slow: ClassVar[bool] = False
    #: Whether a group takes longer to make than a short run lasts: then runs with the same limits may share one.
    costly: ClassVar[bool] = False
    #: Whether it can limit anything.
    limits: ClassVar[bool] = True
    #: The version of cgroups that it is for, as in "v2"; None for one that takes what there is.
    version: ClassVar[str | None] = None
    #: What the programs that run in its groups are built for.
    target: ClassVar[Target] = HERE
    #: What every table and plot of its results must say, or None.
    mark: str | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Find where groups go and remove those of dead processes. Raises QuotaUnavailable with reason and remedy."""

    @abstractmethod
    def open(self, limits: Limits) -> Group:
        """A new group with these limits, read back. Raises QuotaUnavailable."""

    def facts(self) -> Facts:
        """Facts about the machine inside, which go over those of the host; ``{}`` where it is the host itself."""
        return {}

    def call(self, target: str, stop: Stop, timeout_s: float, **arguments: Any) -> Any:  # noqa: ANN401 - any JSON
        """What ``MODULE:FUNCTION`` returns, called where the groups are, in a process of its own.

        Its module needs the standard library and the project's own that do with it; arguments and result are JSON. If
        its process is killed, the watchdog removes what it had opened. Raises QuotaUnavailable as the function does,
        RunFailed if it ends in another way, Interrupted.
        """
        argv = [*self.python, "-m", "nanonap.lab.quota.called", target, json.dumps(arguments)]
        finished = stop.run(self.beside(argv), timeout_s)
        if finished.timed_out:
            raise RunFailed(f"{target} on {self.name}: still running after {timeout_s:.0f} s, ended")
        if finished.status == QuotaUnavailable.exit_code:
            backend, reason, remedy = json.loads(finished.stderr.strip().splitlines()[-1])
            raise QuotaUnavailable(self.name if self.own_kernel else backend, reason, remedy)
        if finished.status != 0:
            said = " ".join(finished.stderr.split())[-_STDERR_TAIL:]
            raise RunFailed(f"{target} on {self.name}: exit status {finished.status}; its stderr: {said}")
        return json.loads(finished.stdout)

    @property
    def cpus(self) -> int:
        """How many CPUs a command in its groups may run on, before any limit."""
        return cpus_allowed()

    @property
    def inner(self) -> str:
        """The name of the backend that sets the limits where the groups are."""
        return self.name

    @property
    def python(self) -> tuple[str, ...]:
        """The words that run Python with the project's modules where the groups are."""
        return ("/usr/bin/env", f"PYTHONPATH={PROJECT}", sys.executable)

    def read(self, path: str) -> str:
        """The text of a file where the groups are. Raises OSError, QuotaUnavailable."""
        return Path(path).read_text(encoding="ascii")

    @property
    def driver(self) -> str | None:
        """What makes its groups, where a service does that in one of several ways. Raises QuotaUnavailable."""
        return None

    def beside(self, argv: Sequence[str]) -> list[str]:
        """The argument vector that runs ``argv`` where the groups are, in none of them."""
        return list(argv)

    @abstractmethod
    def close(self) -> None:
        """Put back what prepare() changed. Safe to call twice."""
