"""Where threads that stand in code can be put before it changes: plain data, which crosses pipes as JSON.

Addresses are as linked.
"""

from dataclasses import dataclass, field

from patcher.answers import Signed

EINTR = 4
INT = 4  # bytes that ``Move.read`` reads, with their sign
WAYS = ("always", "done", "interrupted", "otherwise")


@dataclass(frozen=True)
class Move:
    """Where a thread is put: at ``go``, with ``pop`` bytes taken off its stack, then registers from ``load`` (how
    far from the stack pointer a word lies), ``read`` (where an int of the program lies), by ``point`` (addresses) and
    by ``set`` (values). All others stay as they are.
    """

    go: int
    load: dict[str, Signed] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    point: dict[str, int] = field(default_factory=dict)
    set: dict[str, Signed] = field(default_factory=dict)
    pop: int = 0


@dataclass(frozen=True)
class Place:
    """What is done with a thread at one PC: ``always``, or by the result that a system call has just left.

    ``done``: 0 or more; ``interrupted``: -EINTR; ``otherwise``: any other error. What is None was not proven: let go.
    """

    always: Move | None = None
    done: Move | None = None
    interrupted: Move | None = None
    otherwise: Move | None = None

    @property
    def proven(self) -> bool:
        """Whether anything is known for this PC."""
        return any((self.always, self.done, self.interrupted, self.otherwise))

    def chosen(self, result: int) -> tuple[str, Move | None]:
        """What is done with a thread whose last system call gave ``result``, and which of the ways that is."""
        if self.always is not None:
            return "always", self.always
        way = "done" if result >= 0 else "interrupted" if result == -EINTR else "otherwise"
        return way, getattr(self, way)


@dataclass(frozen=True)
class Table:
    """The moves out of one code. ``ranges``: where its bytes lie, ``[start, end)``: a thread there is moved as
    ``places`` says by its PC, or may ``stay``; at any other PC in them, and at one that is hidden in a signal frame,
    the process is let go and asked again later.

    ``callee``: the function whose return address ``returns`` lies in the ranges (before Go 1.21), by its PCs.
    """

    ranges: list[tuple[int, int]]
    stay: list[int]
    places: dict[int, Place]
    callee: tuple[int, int] = (0, 0)
    returns: int = 0
    callee_places: dict[int, Place] = field(default_factory=dict)
