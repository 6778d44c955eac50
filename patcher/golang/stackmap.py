"""Which slots of a frame the garbage collector takes for pointers (runtime/stkframe.go, getStackMap)."""

import struct

from patcher.errors import ShapeMismatch
from patcher.golang.functions import Functions
from patcher.golang.pclntab import (
    FUNCDATA_ARGS_POINTER_MAPS,
    FUNCDATA_LOCALS_POINTER_MAPS,
    PCDATA_STACK_MAP_INDEX,
    Function,
)

_MOST_MAPS = 4096
_MOST_SLOTS = 4096


def pointer_slots(functions: Functions, function: Function, frame: int) -> tuple[int, ...]:
    """Every slot that any of the function's maps calls a live pointer, as offsets from the bottom of the full frame.

    ``frame`` is the bottom's distance to the saved frame pointer. Raises ShapeMismatch where the maps claim pointers
    among the arguments, or beyond the frame.
    """
    if any(bits for bits in _maps(functions, function, FUNCDATA_ARGS_POINTER_MAPS)[1]):
        raise ShapeMismatch(f"{function.name}: expected no pointers among the arguments, found some in its stack map")
    width, maps = _maps(functions, function, FUNCDATA_LOCALS_POINTER_MAPS)
    return tuple(sorted({slot for bits in maps for slot in _slots(function, frame, width, bits)}))


def live_slots(functions: Functions, function: Function, frame: int, return_address: int) -> tuple[int, ...]:
    """The slots that must be empty or hold a pointer while a call that returns to ``return_address`` runs."""
    index = functions.table.pcdata(function, PCDATA_STACK_MAP_INDEX, return_address - 1)
    width, maps = _maps(functions, function, FUNCDATA_LOCALS_POINTER_MAPS)
    index = max(index, 0)  # the runtime takes -1 for the entry map
    if not maps or index >= len(maps):
        raise ShapeMismatch(
            f"{function.name}: expected stack map {index} at {return_address:#x}, found {len(maps)} maps"
        )
    return _slots(function, frame, width, maps[index])


def _slots(function: Function, frame: int, width: int, bits: int) -> tuple[int, ...]:
    """A map's bits cover the words that end below the saved frame pointer (frame.varp)."""
    if 8 * width > frame:
        raise ShapeMismatch(f"{function.name}: expected a stack map of at most {frame // 8} words, found {width}")
    return tuple(frame - 8 * width + 8 * bit for bit in range(width) if bits >> bit & 1)


def _maps(functions: Functions, function: Function, index: int) -> tuple[int, tuple[int, ...]]:
    """(words, maps): struct stackmap {n, nbit int32; bytedata [n * ceil(nbit / 8)]byte} (runtime/symtab.go)."""
    address = functions.table.funcdata(function, index)
    if address is None:
        return 0, ()
    count, width = struct.unpack("<ii", functions.image.read(address, 8))
    if not 0 <= count <= _MOST_MAPS or not 0 <= width <= _MOST_SLOTS:
        raise ShapeMismatch(f"{function.name}: expected a stack map at {address:#x}, found counts {count} and {width}")
    size = (width + 7) // 8
    data = functions.image.read(address + 8, count * size) if size else b""
    return width, tuple(int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(count))
