"""The runtime's function table, in every Go binary, stripped or not (runtime/symtab.go, cmd/link/internal/ld/pcln.go).

Read as Go 1.18 and later write it: an array of (entry offset, record offset) pairs sorted by entry, a ``_func``
record a function, names as C strings, and delta-coded tables from PC to value.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from patcher.errors import MalformedBinary, NotGo, UnsupportedGo
from patcher.image import GoImage

_MAGIC_118 = 0xFFFFFFF0
_MAGIC_120 = 0xFFFFFFF1  # adds startLine to _func
_HEADER = struct.Struct("<IBBBBQQQQQQQQ")
_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
_MODULEDATA_TEXT = 176  # moduledata.text: behind pcHeader, six slices, findfunctab, minpc, maxpc
_MOST_STEPS = 100_000  # entries of one PC table; the largest seen have some thousands

PCDATA_UNSAFE_POINT = 0
PCDATA_STACK_MAP_INDEX = 1
PCDATA_INL_TREE_INDEX = 2
FUNCDATA_ARGS_POINTER_MAPS = 0
FUNCDATA_LOCALS_POINTER_MAPS = 1
FUNCDATA_STACK_OBJECTS = 2
UNSAFE = -2  # abi.UnsafePointUnsafe: no async preemption here


@dataclass(frozen=True)
class Function:
    """A function by pclntab: ``[start, end)``, where ``end`` is the next function's start (padding included)."""

    name: str
    start: int
    end: int
    record: int  # offset of its _func in the function area


class FunctionTable:
    """pclntab of one image. Raises NotGo without one, MalformedBinary where it contradicts itself."""

    def __init__(self, image: GoImage) -> None:
        """Find the table by its section, or by its header's magic where sections are missing or renamed."""
        self._image = image
        self._depths: dict[tuple[Function, int], int | None] = {}  # a proof asks for each PC hundreds of times
        self.address = self._find()
        header = _HEADER.unpack(image.read(self.address, _HEADER.size))
        if header[0] not in (_MAGIC_118, _MAGIC_120) or header[1:5] != (0, 0, 1, 8):
            raise UnsupportedGo(
                f"{image.path}: its function table (pclntab) begins with {header[0]:#x} and sizes {header[3:5]}; "
                f"known are {_MAGIC_118:#x} and {_MAGIC_120:#x} with (1, 8)"
            )
        self._has_start_line = header[0] == _MAGIC_120
        self._count: int = header[5]
        self._stated_text: int = header[7]
        names, self._names_end, _files, pctab, functions = header[8:13]
        start = image.offset_of(self.address)
        self._limit = next(
            (s.offset + s.file_size for s in image.segments if s.offset <= start < s.offset + s.file_size), 0
        )
        self._names, self._names_stop = start + names, start + self._names_end
        self._pctab, self._functions = start + pctab, start + functions
        if not 0 < self._count <= (self._limit - self._functions) // 8 or max(self._names, self._pctab) > self._limit:
            raise MalformedBinary(f"{image.path}: pclntab at {self.address:#x} states sizes beyond its segment")

    @cached_property
    def text(self) -> int:
        """The address that all entry offsets count from (moduledata.text).

        The header stated it until Go 1.25; later releases write 0 there, as a PIE always does. Moduledata has it
        in all; where both speak they must agree.
        """
        if self.moduledata is not None:
            text = self._image.read_pointer(self.moduledata + _MODULEDATA_TEXT)
            if self._stated_text not in (0, text):
                raise MalformedBinary(
                    f"{self._image.path}: pclntab's text start {self._stated_text:#x} and moduledata's {text:#x} differ"
                )
            return text
        if self._stated_text:
            return self._stated_text
        raise MalformedBinary(f"{self._image.path}: neither pclntab nor moduledata states where the text starts")

    @cached_property
    def moduledata(self) -> int | None:
        """The address of runtime.firstmoduledata: what points to pclntab and holds a text inside the code."""
        for address in self._image.pointers_to(self.address):
            try:
                low, high = (self._image.read_pointer(address + _MODULEDATA_TEXT + 8 * i) for i in (0, 1))
                self._image.offset_of(low, high - low)
            except (MalformedBinary, struct.error):
                continue
            if low < high and any(
                s.executable and s.address <= low < s.address + s.file_size for s in self._image.segments
            ):
                return address
        return None

    def find(self, name: str) -> tuple[Function, ...]:
        """All functions of that name (an ABI wrapper bears its function's name), by searching the name table."""
        needle = name.encode() + b"\0"
        found = []
        at = self._image.data.find(needle, self._names, self._names_stop)
        while at != -1:
            if at == self._names or self._image.data[at - 1] == 0:
                found += [self._function(index) for index in self._named(at - self._names)]
            at = self._image.data.find(needle, at + 1, self._names_stop)
        return tuple(sorted(found, key=lambda each: each.start))

    def has_prefix(self, prefix: str) -> bool:
        """True where some function's name begins so."""
        return self._image.data.find(b"\0" + prefix.encode(), self._names, self._names_stop) != -1

    def at(self, address: int) -> Function | None:
        """The function whose range holds ``address``."""
        index = self._search(address - self.text)
        if index is None:
            return None
        function = self._function(index)
        return function if function.start <= address < function.end else None

    def sp_delta(self, function: Function, address: int) -> int | None:
        """Bytes between the stack pointer at ``address`` and at the function's entry, return address left out.

        None where the table states nothing.
        """
        if (function, address) not in self._depths:
            self._depths[function, address] = self._value(function, self._u32(function.record + 16), address)
        return self._depths[function, address]

    def pcdata(self, function: Function, table: int, address: int) -> int:
        """The value of a PCDATA table at ``address``; -1 where the function has none (runtime's pcdatavalue)."""
        count = self._u32(function.record + 28)
        if table >= count:
            return -1
        offset = self._u32(function.record + self._fixed + 4 * table)
        value = self._value(function, offset, address) if offset else None
        return -1 if value is None else value

    def funcdata(self, function: Function, index: int) -> int | None:
        """The address of a FUNCDATA table; None where the function has none."""
        pcdata_count = self._u32(function.record + 28)
        count = self._image.data[self._functions + function.record + self._fixed - 1]
        if index >= count:
            return None
        offset = self._u32(function.record + self._fixed + 4 * (pcdata_count + index))
        return None if offset == 0xFFFFFFFF else self.gofunc + offset

    @cached_property
    def gofunc(self) -> int:
        """The base of FUNCDATA offsets (moduledata.gofunc), by symbol or from moduledata.

        How many words of moduledata come before it differs: Go 1.20 added covctrs and ecovctrs, Go 1.27
        typedesclen, itaboffset and itabsize (runtime/symtab.go).
        """
        for name in ("go:func.*", "go.func.*"):
            if (value := self._image.symbol(name)) is not None:
                return value
        if self.moduledata is None:
            raise MalformedBinary(f"{self._image.path}: moduledata cannot be found; the stack maps are out of reach")
        words = 38 + 2 * self._has_start_line + 3 * (self._image.build.release >= (1, 27))
        return self._image.read_pointer(self.moduledata + 8 * words)

    @property
    def _fixed(self) -> int:
        """Size of _func before its arrays; ``startLine`` came with Go 1.20."""
        return 44 if self._has_start_line else 40

    def _find(self) -> int:
        section = self._image.section(*_SECTIONS)
        if section is not None:
            return section.address
        for magic in (_MAGIC_120, _MAGIC_118):
            needle = struct.pack("<IBBBB", magic, 0, 0, 1, 8)
            for segment in self._image.segments:
                end = segment.offset + segment.file_size
                at = self._image.data.find(needle, segment.offset, end)
                if at != -1:
                    return segment.address + at - segment.offset
        raise NotGo(f"{self._image.path}: no function table (pclntab) of Go 1.18 or later")

    def _named(self, name_offset: int) -> Iterator[int]:
        """Indices of functions whose record states ``name_offset``: search the bytes, then check each hit."""
        needle = struct.pack("<i", name_offset)
        at = self._image.data.find(needle, self._functions + 8 * self._count, self._limit)
        while at != -1:
            record = at - 4 - self._functions
            index = self._search(self._u32(record))
            if index is not None and self._pair(index)[1] == record:
                yield index
            at = self._image.data.find(needle, at + 1, self._limit)

    def _function(self, index: int) -> Function:
        entry, record = self._pair(index)
        following = self._pair(index + 1)[0]  # the table closes with the end of the last function
        if following <= entry:
            raise MalformedBinary(f"{self._image.path}: pclntab's entries are not in order at {entry:#x}")
        start = self._names + self._u32(record + 4)
        stop = self._image.data.find(b"\0", start, min(start + 65536, self._names_stop))
        name = self._image.data[start : max(stop, start)].decode("utf-8", "replace")
        return Function(name, self.text + entry, self.text + following, record)

    def _search(self, entry_offset: int) -> int | None:
        """The index of the last function that starts at or before ``entry_offset``."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._pair(middle)[0] <= entry_offset:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low else None

    def _pair(self, index: int) -> tuple[int, int]:
        size = 8 if index < self._count else 4
        return self._u32(8 * index), self._u32(8 * index + 4) if size == 8 else 0

    def _u32(self, offset: int) -> int:
        at = self._functions + offset
        if not self._functions <= at <= self._limit - 4:
            raise MalformedBinary(f"{self._image.path}: pclntab refers beyond its end (offset {offset:#x})")
        value: int = struct.unpack_from("<I", self._image.data, at)[0]
        return value

    def _value(self, function: Function, offset: int, address: int) -> int | None:
        """Walk a PC table (runtime's pcvalue, step): zig-zag value deltas and PC deltas, both varints."""
        at, pc, value = self._pctab + offset, function.start, -1
        for step in range(_MOST_STEPS):
            delta, at = self._varint(at)
            if delta == 0 and step:
                return None
            value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
            advance, at = self._varint(at)
            pc += advance
            if address < pc:
                return value
        raise MalformedBinary(f"{self._image.path}: a PC table of {function.name} does not end")

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while shift < 35:
            if not self._pctab <= at < self._limit:
                raise MalformedBinary(f"{self._image.path}: a PC table runs beyond pclntab")
            byte = self._image.data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        return value, at
