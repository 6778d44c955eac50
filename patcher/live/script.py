"""What the planner tells the agent to do with a process: plain data, which crosses two pipes as JSON.

Addresses are as linked; the agent adds where the program lies (its load bias).
"""

from dataclasses import dataclass

from patcher.edit.moves import Table

PAGE = 4096  # bytes: of the smallest page that Linux has


@dataclass(frozen=True)
class Write:
    """Bytes of one page that are written at once."""

    address: int
    new: bytes


@dataclass(frozen=True)
class Window:
    """Bytes of the process as they must be before, and as they will be."""

    address: int
    before: bytes
    after: bytes


@dataclass(frozen=True)
class SiteScript:
    """One wait: what it is called, where it stands and is to stand, the moves, the writes in their order.

    ``state`` and ``wanted`` are "stock", "injected" or "staged"; ``options`` those of the stub that is there.
    """

    name: str
    state: str
    wanted: str
    options: dict[str, int | None]
    windows: list[Window]
    table: Table
    writes: list[Write]


@dataclass(frozen=True)
class Script:
    """All that the agent needs. ``checks``: bytes that tell this program from another; ``calls``: the numbers of the
    system calls that a stub makes, by the kernel's names; ``asks``: for each new one, its number, and the address
    behind the instruction.
    """

    go: str
    entry: int
    cgo: bool
    checks: list[tuple[int, bytes]]
    sites: list[SiteScript]
    new_syscalls: list[str]
    calls: dict[str, int]
    asks: list[tuple[int, int]]
    proven: int


@dataclass(frozen=True)
class Spans:
    """What of a process's memory must be known: ``spans`` are (address, bytes), ``entry`` the program's, as linked."""

    entry: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Looked:
    """How a process's program stands, as ``status`` tells it; ``spans`` where its memory is to be looked at."""

    go: str | None
    state: str
    reason: str | None
    options: dict[str, int | None]
    spans: Spans | None = None
