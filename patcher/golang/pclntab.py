"""The runtime's function table, in every Go binary, stripped or not (runtime/symtab.go, cmd/link/internal/ld/pcln.go).

Read as Go 1.18 and later write it: an array of (entry offset, record offset) pairs sorted by entry, a ``_func``
record a function, names as C strings, and delta-coded tables from PC to value.
"""

import operator
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from patcher.errors import MalformedBinary, UnsupportedGo
from patcher.file.elf_tables import MOST_SHORT_HITS, Span, hits
from patcher.golang.image import GoImage
from patcher.golang.moduledata import find_moduledata
from patcher.golang.pctable import PcTable, decode_pc_table

MAGIC_118 = 0xFFFFFFF0
MAGIC_120 = 0xFFFFFFF1  # adds startLine to _func
OLD_MAGICS = {0xFFFFFFFA: "Go 1.16 or 1.17", 0xFFFFFFFB: "Go 1.2 to 1.15"}
_HEADER = struct.Struct("<IBBBBQQQQQQQQ")
OBFUSCATED = (
    "it is obfuscated (by garble, perhaps) or of a release that is not known yet: patch a build that is not obfuscated"
)
_MOST_SEARCHES = 50_000  # of one table; a patch makes some hundreds, and a crafted name table could ask for millions
_MOST_OF_A_NAME = 64
_PIECE = 1 << 16  # entries that are in memory at a time
_LONGEST_NAME = 65_536

PCDATA_UNSAFE_POINT = 0
PCDATA_STACK_MAP_INDEX = 1
PCDATA_INL_TREE_INDEX = 2
FUNCDATA_ARGS_POINTER_MAPS = 0
FUNCDATA_LOCALS_POINTER_MAPS = 1
FUNCDATA_STACK_OBJECTS = 2
FUNCDATA_INL_TREE = 3
UNSAFE = -2  # abi.UnsafePointUnsafe: no async preemption here


@dataclass(frozen=True)
class Function:
    """A function by pclntab: ``[start, end)``, where ``end`` is the next function's start (padding included)."""

    name: str
    start: int
    end: int
    record: int  # offset of its _func in the function area


class FunctionTable:
    """pclntab of one image, at an address. Raises MalformedBinary or UnsupportedGo where that is none."""

    def __init__(self, image: GoImage, address: int) -> None:
        """Read the header, find what points to it, and check that both agree."""
        self._image = image
        self._searches = 0
        self._found: dict[str, tuple[Function, ...]] = {}
        self._tables: dict[tuple[int, int], PcTable] = {}
        self._deltas: dict[tuple[int, int], int | None] = {}  # a proof asks for each PC hundreds of times
        self.address = address
        header = _HEADER.unpack(image.read(address, _HEADER.size))
        if header[0] in OLD_MAGICS:
            raise UnsupportedGo(
                f"{image.path}: its function table (pclntab) is that of {OLD_MAGICS[header[0]]}; Go 1.19 and later "
                "can be patched: build it with a newer Go, then patch"
            )
        if header[0] not in (MAGIC_118, MAGIC_120) or header[1:5] != (0, 0, image.isa.quantum, 8):
            raise UnsupportedGo(
                f"{image.path}: its function table (pclntab) begins with {header[0]:#x} and sizes {header[3:5]}; "
                f"known are {MAGIC_118:#x} and {MAGIC_120:#x} with {(image.isa.quantum, 8)}; {OBFUSCATED}"
            )
        self.has_start_line = header[0] == MAGIC_120
        self._count: int = header[5]
        names, names_end, _files, pctab, functions = header[8:13]
        start = image.offset_of(address)
        self._limit = next(
            (s.offset + s.file_size for s in image.segments if s.offset <= start < s.offset + s.file_size), 0
        )
        room = self._limit - start
        if not names <= names_end <= room or max(pctab, functions) > room or names_end - names > room:
            raise MalformedBinary(f"{image.path}: pclntab at {address:#x} states sizes beyond its segment")
        self._names = Span(start + names, names_end - names)
        self._pctab, self._functions = start + pctab, start + functions
        if not 0 < self._count < (self._limit - self._functions) // 8:
            raise MalformedBinary(f"{image.path}: pclntab at {address:#x} states sizes beyond its segment")
        self._module = find_moduledata(image, address, (names, pctab, functions, self._count), header[7])
        self._check_order()

    @property
    def text(self) -> int:
        """The address that all entry offsets count from (moduledata.text)."""
        return self._module.text

    def find(self, name: str) -> tuple[Function, ...]:
        """All functions of that name (an ABI wrapper bears its function's name), by searching the name table."""
        if name not in self._found:
            self._found[name] = tuple(sorted(self._search_name(name), key=lambda each: each.start))
        return self._found[name]

    def _search_name(self, name: str) -> Iterator[Function]:
        data, given = self._image.data, 0
        for at in hits(self._image.path, data, name.encode() + b"\0", self._names):
            if at != self._names.offset and data[at - 1]:
                continue
            for index in self._named(at - self._names.offset):
                given += 1
                if given > _MOST_OF_A_NAME:
                    raise MalformedBinary(f"{self._image.path}: pclntab has too many functions named {name}")
                yield self._function(index)

    def has_prefix(self, prefix: str) -> bool:
        """True where some function's name begins so."""
        return self._image.data.find(b"\0" + prefix.encode(), self._names.offset, self._names.end) != -1

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
        key = function.record, address
        if key not in self._deltas:
            self._deltas[key] = self._table(function, self._u32(function.record + 16)).value(address)
        return self._deltas[key]

    def pcdata(self, function: Function, table: int, address: int) -> int:
        """The value of a PCDATA table at ``address``; -1 where the function has none (runtime's pcdatavalue)."""
        count = self._u32(function.record + 28)
        if table >= count:
            return -1
        offset = self._u32(function.record + self._fixed + 4 * table)
        value = self._table(function, offset).value(address) if offset else None
        return -1 if value is None else value

    def funcdata(self, function: Function, index: int) -> int | None:
        """The address of a FUNCDATA table; None where the function has none."""
        pcdata_count = self._u32(function.record + 28)
        count = self._u32(function.record + self._fixed - 4) >> 24
        if index >= count:
            return None
        offset = self._u32(function.record + self._fixed + 4 * (pcdata_count + index))
        return None if offset == 0xFFFFFFFF else self._module.funcdata(self.gofunc, offset)

    @cached_property
    def gofunc(self) -> int:
        """The base of FUNCDATA offsets (moduledata.gofunc)."""
        return self._module.gofunc(self.has_start_line)

    @property
    def before_119(self) -> bool:
        """True for Go 1.18, whose table is that of 1.19: it has no runtime/mgclimit.go, which came with 1.19."""
        return not self.has_start_line and not self.has_prefix("runtime.(*gcCPULimiterState).")

    @property
    def moduledata(self) -> int:
        """The address of runtime.firstmoduledata."""
        return self._module.address

    @property
    def _fixed(self) -> int:
        """Size of _func before its arrays; ``startLine`` came with Go 1.20."""
        return 44 if self.has_start_line else 40

    def _check_order(self) -> None:
        """Entries do not fall (one may be empty; runtime/symtab.go, moduledataverify1), and end inside the code."""
        data, last = self._image.data, -1
        for first in range(0, self._count, _PIECE):
            start = self._functions + 8 * first
            pairs = memoryview(data[start : start + 8 * min(_PIECE, self._count - first)]).cast("I")
            entries = [last, *pairs[::2]]
            if not all(map(operator.le, entries, entries[1:])):
                raise MalformedBinary(f"{self._image.path}: pclntab's entries are not in order")
            last = entries[-1]
        if (end := self._pair(self._count)[0]) <= last:
            raise MalformedBinary(f"{self._image.path}: pclntab's entries are not in order at its end")
        self._module.check_end(end)

    def _named(self, name_offset: int) -> Iterator[int]:
        """Indices of functions whose record states ``name_offset``: search the bytes, then check each hit."""
        begin = self._functions + 8 * self._count
        area, needle = Span(begin, self._limit - begin), struct.pack("<I", name_offset)
        for at in hits(self._image.path, self._image.data, needle, area, MOST_SHORT_HITS):
            record = at - 4 - self._functions
            if record % 4 == 0:  # so the linker aligns them
                self._searches += 1
                if self._searches > _MOST_SEARCHES:
                    raise MalformedBinary(f"{self._image.path}: pclntab repeats one name over and over")
                index = self._search(self._u32(record))
                if index is not None and self._pair(index)[1] == record:
                    yield index

    def _function(self, index: int) -> Function:
        entry, record = self._pair(index)
        following = self._pair(index + 1)[0]  # the table closes with the end of the last function
        if following <= entry:
            raise MalformedBinary(f"{self._image.path}: pclntab's entries are not in order at {entry:#x}")
        return Function(self.name(self._u32(record + 4)), self.text + entry, self.text + following, record)

    def name(self, offset: int) -> str:
        """The name at an offset of the name table; empty where there is none."""
        start = self._names.offset + offset
        if not self._names.offset <= start < self._names.end:
            return ""
        stop = self._image.data.find(b"\0", start, min(start + _LONGEST_NAME, self._names.end))
        return self._image.data[start : max(stop, start)].decode("utf-8", "replace")

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

    def _table(self, function: Function, offset: int) -> PcTable:
        key = function.record, offset
        if key not in self._tables:
            self._tables[key] = decode_pc_table(
                f"{self._image.path}: {function.name}",
                self._image.data,
                self._pctab + offset,
                self._limit,
                function.start,
                function.end,
                self._image.isa.quantum,
            )
        return self._tables[key]
