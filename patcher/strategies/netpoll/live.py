"""What an instruction set has to give so that ``netpoll`` can go into a running process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from patcher.edit.edit import Edit
from patcher.edit.moves import Table
from patcher.golang.functions import Functions
from patcher.strategies.netpoll import NAME, amd64, amd64_cave, amd64_moves, arm64, arm64_cave, arm64_moves
from patcher.strategies.netpoll.cave import Cave
from patcher.strategies.netpoll.strategy import Code
from patcher.strategies.strategy import Codes


@dataclass(frozen=True)
class Live:
    """``code`` as for a file; a site that the others are given is one that ``code`` located."""

    code: Code
    #: (functions, site, bytes of the room that are another's): code to run meanwhile; None where none can be there.
    cave_of: Callable[[Functions, Any, int], Cave | None]
    #: (functions, site, what is laid over stock, the cave that stands there): the moves. Raises ShapeMismatch.
    table_of: Callable[[Functions, Any, Sequence[Edit], Cave | None], Table]


LIVE = Codes(
    f"{NAME} in a running process",
    {
        "amd64": Live(amd64, amd64_cave.cave_of, amd64_moves.table_of),
        "arm64": Live(arm64, arm64_cave.cave_of, arm64_moves.table_of),
    },
)
