"""PC tables: delta-coded maps from a function's PCs to values (runtime/symtab.go: pcvalue, step)."""

import bisect
from dataclasses import dataclass

from patcher.errors import MalformedBinary
from patcher.file.content import Content

_MOST_STEPS = 100_000  # the largest seen have some thousands
_LONGEST_VARINT = 5  # bytes: the values are 32 bits wide


@dataclass(frozen=True)
class PcTable:
    """A decoded table: ``values[i]`` holds for PCs up to, not including, ``ends[i]``; beyond the last, nothing."""

    ends: tuple[int, ...]
    values: tuple[int, ...]

    def value(self, address: int) -> int | None:
        """The value at an address of the function; None behind what the table covers."""
        index = bisect.bisect_right(self.ends, address)
        return self.values[index] if index < len(self.values) else None


def decode_pc_table(what: str, data: Content, at: int, limit: int, start: int, end: int, quantum: int) -> PcTable:
    """The table at offset ``at`` of the file, of a function ``[start, end)``; ``what`` is named in errors.

    Zig-zag value deltas and PC deltas (in units of ``quantum`` bytes) in turn, both varints. Raises MalformedBinary
    where it runs beyond ``limit``, stands still or does not end: so it has no more steps than the function has bytes.
    """
    pc, value = start, -1
    ends: list[int] = []
    values: list[int] = []
    while pc < end and len(ends) < _MOST_STEPS:
        delta, at = _varint(what, data, at, limit)
        if delta == 0 and ends:
            break
        value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
        advance, at = _varint(what, data, at, limit)
        if not advance:
            raise MalformedBinary(f"{what}: a PC table does not end")
        pc += advance * quantum
        ends.append(pc)
        values.append(value)
    return PcTable(tuple(ends), tuple(values))


def _varint(what: str, data: Content, at: int, limit: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if not 0 <= at < limit:
            raise MalformedBinary(f"{what}: a PC table runs beyond pclntab")
        byte = data[at]
        value |= (byte & 0x7F) << 7 * index
        at += 1
        if byte < 0x80:
            break
    return value, at
