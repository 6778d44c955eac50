"""Where a function is called from: every direct call of it in the executable segments."""

import re
from collections.abc import Iterator

from patcher.code import instruction_starts
from patcher.elf import Segment
from patcher.functions import Functions
from patcher.pclntab import Function

_CALL = b"\xe8"  # call rel32 (Intel SDM, volume 2, CALL)
_CALL_SIZE = 5
_STEP = 1 << 16  # within so many bytes of text the upper half of rel32 takes two values at the most
_LONGEST_FUNCTION = 1 << 20  # bytes; a longer one is no function, or none that a table of callers is worth
_MOST = 10_000  # more calls than any program has of one function


def callers(functions: Functions, targets: frozenset[int]) -> tuple[tuple[Function, int], ...]:
    """(function, address of the call), in the order of addresses.

    A hit in the bytes counts where pclntab has a function and an instruction starts there; what calls through a
    pointer is not seen.
    """
    found: list[tuple[Function, int]] = []
    starts: dict[int, frozenset[int]] = {}  # by the function's start
    for address in sorted(_hits(functions, targets)):
        function = functions.table.at(address)
        if function is None or function.end - function.start > _LONGEST_FUNCTION or len(found) == _MOST:
            continue
        if function.start not in starts:
            code = functions.image.read(function.start, function.end - function.start)
            starts[function.start] = instruction_starts(code, function.start)
        if address in starts[function.start]:
            found.append((function, address))
    return tuple(found)


def _hits(functions: Functions, targets: frozenset[int]) -> Iterator[int]:
    for segment in functions.image.segments:
        if segment.executable:
            for low in range(0, segment.file_size, _STEP):
                yield from _hits_in(functions, segment, low, targets)


def _hits_in(functions: Functions, segment: Segment, low: int, targets: frozenset[int]) -> Iterator[int]:
    """The calls in ``_STEP`` bytes of a segment, found by the upper half of their distance."""
    data, start = functions.image.data, segment.offset + low
    stop = min(start + _STEP, segment.offset + segment.file_size - _CALL_SIZE + 1)
    for target in targets:
        distances = [target - (segment.address + at - segment.offset + _CALL_SIZE) for at in (start, stop)]
        upper = {(each >> 16 & 0xFFFF).to_bytes(2, "little") for each in distances}
        # The distance is looked ahead at, not taken: a call may begin within what looks like another's distance.
        pattern = re.compile(_CALL + b"(?=..(?:" + b"|".join(map(re.escape, sorted(upper))) + b"))", re.DOTALL)
        for hit in pattern.finditer(data, start, stop + _CALL_SIZE - 1):
            address = segment.address + hit.start() - segment.offset
            distance = int.from_bytes(data[hit.end() : hit.end() + 4], "little", signed=True)
            if address + _CALL_SIZE + distance == target:
                yield address
