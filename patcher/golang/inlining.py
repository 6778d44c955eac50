"""What was inlined at a PC: pclntab's inline tree (runtime/symtabinl.go, cmd/link/internal/ld/pcln.go)."""

import struct

from patcher.errors import MalformedBinary
from patcher.golang.functions import Functions
from patcher.golang.pclntab import FUNCDATA_INL_TREE, PCDATA_INL_TREE_INDEX, Function

# struct inlinedCall of Go 1.20 and later: funcID u8, padding, nameOff i32, parentPc i32, startLine i32
_CALL = struct.Struct("<4xiii")
# and before: parent i16, funcID u8, padding, file i32, line i32, func_ i32 (the name), parentPc i32
_OLD_CALL = struct.Struct("<h2x4x4xii")
_DEEPEST = 64  # the compiler's own limit on inlining is far below


def inlined_at(functions: Functions, function: Function, address: int) -> tuple[str, ...] | None:
    """The functions whose bodies hold the instruction at ``address``, innermost first; () for the function's own code.

    None where the tree cannot be found. Raises MalformedBinary where it has no end.
    """
    table = functions.table
    try:
        tree = table.funcdata(function, FUNCDATA_INL_TREE)
    except MalformedBinary:
        return None
    index = table.pcdata(function, PCDATA_INL_TREE_INDEX, address)
    names: list[str] = []
    layout = _CALL if table.has_start_line else _OLD_CALL
    while tree is not None and index >= 0:
        if len(names) == _DEEPEST:
            raise MalformedBinary(f"{functions.image.path}: the inline tree of {function.name} does not end")
        record = functions.image.read(tree + index * layout.size, layout.size)
        if table.has_start_line:
            name, parent_pc, _line = layout.unpack(record)
            index = table.pcdata(function, PCDATA_INL_TREE_INDEX, function.start + parent_pc)
        else:
            index, name, _parent_pc = layout.unpack(record)
        names.append(table.name(name))
    return tuple(names)
