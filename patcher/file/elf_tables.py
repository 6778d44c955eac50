"""ELF tables that are searched rather than read: symbols and relocations, hundreds of thousands in a large program.

A search is one pass over the table's bytes; no object is made for a record that nobody asks for.
"""

import itertools
import re
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from patcher.errors import MalformedBinary
from patcher.file.content import Content, forget, matches

_SYMBOL_SIZE = 24  # Elf64_Sym: st_name u32, st_info, st_other u8, st_shndx u16, st_value u64, st_size u64
_SYMBOL_VALUE = 8
_RELOCATION = struct.Struct("<QQq")  # Elf64_Rela: r_offset, r_info, r_addend
_PIECE = 1 << 20  # bytes of a span that are searched at a time
_SAMPLE = 1 << 12
MOST_HITS = 4096  # an honest table has one hit or a few; a crafted one can repeat what is searched for ever
MOST_SHORT_HITS = 1 << 20  # of four bytes, which stand by chance where nothing is meant


@dataclass(frozen=True)
class Span:
    """Bytes ``[offset, offset + size)`` of the file."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.size


def hits(path: Path, data: Content, needle: bytes, span: Span, most: int = MOST_HITS) -> Iterator[int]:
    """The offsets of ``needle`` in a span. Raises MalformedBinary where there are more than any honest file has."""
    at = data.find(needle, span.offset, span.end)
    for _ in range(most):
        if at == -1:
            return
        yield at
        at = data.find(needle, at + 1, span.end)
    raise _repeats(path, span)


def hits_of_each(data: Content, needles: Iterable[bytes], span: Span, most: int) -> dict[bytes, "array[int]"]:
    """The offsets of needles, none of which begins with another, in a span: up to one more than ``most`` of each.

    Those that begin with the same byte are found in one pass.
    """
    found = {needle: array("Q") for needle in needles}
    for _, alike in itertools.groupby(sorted(found), key=lambda each: each[:1]):
        group = list(alike)
        alone = (index for index, column in enumerate(zip(*group, strict=False)) if len(set(column)) > 1)
        same = group[0][: next(alone, min(map(len, group)))]
        behind = b"(" + b"|".join(re.escape(each[len(same) :]) for each in group) + b")"
        # ``re`` is quick where a pattern begins with one certain byte: it is the one of ``same`` that is rarest here.
        patterns = [
            re.compile(
                re.escape(same[at : at + 1]) + b"(?<=" + re.escape(same[: at + 1]) + b")"
                b"(?=" + re.escape(same[at + 1 :]) + behind + b")",  # hits may overlap
                re.DOTALL,
            )
            for at in range(len(same))
        ]
        longest = max(map(len, group))
        for low in range(span.offset, span.end, _PIECE):
            sample = data[low : low + _SAMPLE]
            at = min(range(len(same)), key=lambda each: sample.count(same[each]))
            end = min(low + _PIECE + longest - 1, span.end)
            for hit in matches(patterns[at], same[at : at + 1], data, low + at, end):
                places, start = found[same + hit[1]], hit.start() - at
                if start < low + _PIECE and len(places) <= most:
                    places.append(start)
            forget(data, low, low + _PIECE)
    return found


def checked_hits(path: Path, found: Iterable[int], span: Span, most: int) -> Iterator[int]:
    """What a search found in a span, as ``hits`` gives it."""
    for count, at in enumerate(found):
        if count == most:
            raise _repeats(path, span)
        yield at


def _repeats(path: Path, span: Span) -> MalformedBinary:
    return MalformedBinary(
        f"{path}: a table at offset {span.offset:#x} repeats one value over and over; it is malformed"
    )


@dataclass(frozen=True)
class Symbols:
    """.symtab and its strings."""

    path: Path
    data: Content
    table: Span
    strings: Span

    def value(self, name: str) -> int | None:
        """The value of the first symbol of that name; None without one."""
        for place in hits(self.path, self.data, name.encode() + b"\0", self.strings):
            needle = struct.pack("<I", place - self.strings.offset)
            for at in hits(self.path, self.data, needle, self.table, MOST_SHORT_HITS):
                if (at - self.table.offset) % _SYMBOL_SIZE == 0 and at + _SYMBOL_SIZE <= self.table.end:
                    value: int = struct.unpack_from("<Q", self.data, at + _SYMBOL_VALUE)[0]
                    return value
        return None


@dataclass(frozen=True)
class Relocations:
    """What the dynamic linker, or a static program's own start, writes before Go code runs."""

    path: Path
    data: Content
    relative: int  # the kind (r_info) of one that adds where the program lies, without a symbol
    tables: tuple[Span, ...]  # of Elf64_Rela
    packed: tuple[int, ...]  # addresses that DT_RELR lists; their addends lie in place

    def addresses(self) -> Iterator[int]:
        """Every address that is written to."""
        for table in self.tables:
            for each, _, _ in _RELOCATION.iter_unpack(self.data[table.offset : table.end]):
                yield each
        yield from self.packed

    def target(self, address: int) -> int | None:
        """The pointer that a relative relocation puts at ``address``; None where there is none."""
        for at in self._records(struct.pack("<QQ", address, self.relative), 0):
            addend: int = struct.unpack_from("<q", self.data, at + 16)[0]
            return addend
        return None

    def addresses_of(self, target: int) -> Iterator[int]:
        """Where relative relocations put a pointer to ``target``."""
        for at in self._records(struct.pack("<QQ", self.relative, target), 8):
            address: int = struct.unpack_from("<Q", self.data, at)[0]
            yield address

    def _records(self, needle: bytes, field: int) -> Iterator[int]:
        for table in self.tables:
            for at in hits(self.path, self.data, needle, table):
                start = at - field
                if start >= table.offset and (start - table.offset) % _RELOCATION.size == 0:
                    yield start


def whole_records(span: Span) -> Span:
    """The span without what is left over behind its last Elf64_Rela."""
    return Span(span.offset, span.size - span.size % _RELOCATION.size)


def unpack_relr(words: Iterable[int], most: int) -> Iterator[int]:
    """The addresses of a DT_RELR table (gabi: an even word is an address, an odd one a bitmap of the 63 behind it).

    Gives at most ``most``: what a program can hold.
    """
    base = given = 0
    for word in words:
        if word % 2 == 0:
            found = [word]
            base = word + 8
        else:
            found = [base + 8 * bit for bit in range(63) if word >> bit + 1 & 1]
            base += 8 * 63
        for each in found:
            if given == most:
                return
            given += 1
            yield each
