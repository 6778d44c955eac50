"""What was seen of a process: its waits and its timers, in windows of time, and what it used meanwhile."""

from dataclasses import dataclass

MS = 1_000_000
_MOST_MS = 10**9  # runtime/netpoll_epoll.go: waitms of the longest wait


@dataclass(frozen=True)
class Wait:
    """A wait of the scheduler: when it began (CLOCK_MONOTONIC), and for how long it asked; negative: without end."""

    at_ns: int
    delay_ns: int


@dataclass(frozen=True)
class Expiry:
    """A timer (``timer`` is its address) that was due at ``due_ns`` and went off at ``now_ns``, every ``period_ns``."""

    timer: int
    due_ns: int
    now_ns: int
    period_ns: int


@dataclass(frozen=True)
class Used:
    """What CPU time a process used in a stretch of time, in ns."""

    length_ns: int
    cpu_ns: int

    def __add__(self, other: "Used") -> "Used":
        """Both stretches as one."""
        return Used(self.length_ns + other.length_ns, self.cpu_ns + other.cpu_ns)

    @property
    def share(self) -> float:
        """In parts of a core."""
        return self.cpu_ns / max(1, self.length_ns)


NOTHING = Used(0, 0)


@dataclass(frozen=True)
class Window:
    """What was recorded from ``begin_ns`` to ``end_ns``. ``lost``: how many events the buffer had no room
    for; ``hit_ns``: by how much a hit held the process up.
    """

    begin_ns: int
    end_ns: int
    waits: tuple[Wait, ...]
    expiries: tuple[Expiry, ...]
    lost: int = 0
    hit_ns: int = 0


def rounded_ns(delay_ns: int) -> int:
    """How long the runtime waits for a timer that is due in ``delay_ns`` > 0: in whole milliseconds, at least one
    (runtime/netpoll_epoll.go, netpoll).
    """
    return MS if delay_ns < MS else min(delay_ns // MS, _MOST_MS) * MS
