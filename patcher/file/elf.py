"""An ELF file's headers as plain data (elf(5)): what its segments, sections and tables are.

``elf_check`` has LIEF read the same headers, a second reader that must agree before anything is changed.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from patcher import errors
from patcher.file.content import Content
from patcher.file.elf_header import ET_DYN, Header, ProgramHeader, check_end
from patcher.file.elf_tables import Relocations, Span, Symbols, unpack_relr, whole_records

_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<QQ")
_READ_IN_FULL = (".interp", ".eh_frame", ".eh_frame_hdr")
_MOST_THREAD_LOCAL = 1 << 30  # bytes; every thread of the program has so many
PT_LOAD, PT_DYNAMIC, PT_TLS = 1, 2, 7
USED_SEGMENTS = (PT_LOAD, PT_DYNAMIC, PT_TLS)
_PF_X, _PF_W = 1, 2
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_DYNAMIC, SHT_NOBITS = 0, 1, 2, 4, 6, 8
USED_SECTIONS = (SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS)
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_DT_PLTRELSZ, _DT_RELA, _DT_RELASZ, _DT_JMPREL, _DT_RELRSZ, _DT_RELR = 2, 7, 8, 23, 35, 36
_DT_FLAGS_1, _DF_1_PIE = 0x6FFF_FFFB, 0x0800_0000
USED_TAGS = (_DT_PLTRELSZ, _DT_RELA, _DT_RELASZ, _DT_JMPREL, _DT_RELRSZ, _DT_RELR, _DT_FLAGS_1)
_LONGEST_NAME = 4096  # bytes


@dataclass(frozen=True)
class SectionHeader:
    """A section header's fields, and ``at``, its own file offset."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    alignment: int
    entry_size: int
    at: int


@dataclass(frozen=True)
class Segment:
    """A PT_LOAD: file bytes ``[offset, offset + file_size)`` at ``[address, address + memory_size)``.

    ``header`` is the file offset of the segment's own program header.
    """

    address: int
    offset: int
    file_size: int
    memory_size: int
    executable: bool
    writable: bool
    header: int


@dataclass(frozen=True)
class Section:
    """A section with bytes in the file. ``header`` is the file offset of its own section header.

    ``step``: with how many bytes more, or a multiple, tools would still read it as they do; 0 where with none.
    ``table``: it is one of entries.
    """

    name: str
    address: int
    offset: int
    size: int
    header: int
    step: int
    table: bool

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.size


@dataclass(frozen=True)
class Elf:
    """What the headers say. ``movable``: a shared library, or a PIE.

    ``library``: nothing says that it can be run. ``thread_local``: the bytes of a thread's own data, which lie
    beside the thread pointer. ``claims`` are the bytes that sections, segments and header tables need.
    """

    entry: int
    movable: bool
    library: bool
    thread_local: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    claims: tuple[Span, ...]
    symbols: Symbols | None
    relocations: Relocations


def read_elf(path: Path, data: Content, header: Header, relative: int) -> Elf:
    """Read the tables of a file that ``check_headers`` has let through; ``relative`` is the kind of a relocation that
    adds where the program lies. Raises MalformedBinary.
    """
    headers = tuple(read_sections(data, header))
    sections = tuple(_sections(path, data, headers))
    segments = tuple(_segments(header.programs))
    dynamic = dict(read_dynamic(data, header))
    static_pie = dynamic.get(_DT_FLAGS_1, 0) & _DF_1_PIE
    return Elf(
        entry=header.entry,
        movable=header.kind == ET_DYN,
        library=header.kind == ET_DYN and header.loader is None and not static_pie,
        thread_local=_thread_local(path, header.programs),
        segments=segments,
        sections=sections,
        claims=tuple(_claims(header, sections)),
        symbols=_symbols(path, data, headers),
        relocations=_relocations(path, data, headers, segments, dynamic, relative),
    )


def read_sections(data: Content, header: Header) -> Iterator[SectionHeader]:
    """The table of section headers, with their names."""
    start, count = header.sections.offset, header.sections.size
    table = list(_SECTION.iter_unpack(data[start : start + count])) if start else []
    names = table[header.names][4] if table else 0
    for index, (name, kind, flags, address, offset, size, link, _info, alignment, entry_size) in enumerate(table):
        at = start + index * _SECTION.size
        text = data[names + name : names + name + _LONGEST_NAME].partition(b"\0")[0].decode("utf-8", "replace")
        yield SectionHeader(text, kind, flags, address, offset, size, link, alignment, entry_size, at)


def read_dynamic(data: Content, header: Header) -> Iterator[tuple[int, int]]:
    """What PT_DYNAMIC tells the dynamic linker: (tag, value), up to DT_NULL."""
    for each in header.programs:
        if each.kind == PT_DYNAMIC:
            size = each.file_size - each.file_size % _DYNAMIC.size
            for tag, value in _DYNAMIC.iter_unpack(data[each.offset : each.offset + size]):
                if not tag:
                    break
                yield tag, value


def file_offset(path: Path, segments: Iterable[Segment], address: int, size: int = 1) -> int:
    """The file offset of ``size`` bytes at a virtual address. Raises MalformedBinary if not in the file."""
    for segment in segments:
        start = address - segment.address
        if start >= 0 and start + size <= segment.file_size:
            return segment.offset + start
    raise errors.MalformedBinary(
        f"{path}: {size} bytes at address {address:#x} are expected in the file and are in no segment"
    )


def _segments(programs: Iterable[ProgramHeader]) -> Iterator[Segment]:
    for each in programs:
        if each.kind == PT_LOAD:
            yield Segment(
                address=each.address,
                offset=each.offset,
                file_size=each.file_size,
                memory_size=each.memory_size,
                executable=bool(each.flags & _PF_X),
                writable=bool(each.flags & _PF_W),
                header=each.at,
            )


def _thread_local(path: Path, programs: Iterable[ProgramHeader]) -> int:
    """PT_TLS's size and what its alignment may add (glibc, elf/dl-tls.c: the block ends at the thread pointer)."""
    size = max((each.memory_size + each.alignment for each in programs if each.kind == PT_TLS), default=0)
    if size > _MOST_THREAD_LOCAL:
        raise errors.MalformedBinary(f"{path}: {size:#x} bytes of thread-local data, more than any thread could have")
    return size


def _sections(path: Path, data: Content, headers: Iterable[SectionHeader]) -> Iterator[Section]:
    for index, each in enumerate(headers):
        # The first is reserved (elf(5)); patchelf 0.14 leaves a program header there that it moved.
        if index == 0 or each.kind in (SHT_NOBITS, SHT_NULL):
            continue
        check_end(path, data, f"section {each.name}", each.offset + each.size)
        yield Section(each.name, each.address, each.offset, each.size, each.at, _step(each), bool(each.entry_size))


def _step(section: SectionHeader) -> int:
    """By how much a section may grow: code and plain data to their alignment, a table of code (.plt) by whole entries.

    Nothing else does: tools read all of a string, unwind or symbol table, and elfutils writes no file with a size that
    is no multiple of the entry size (libelf/elf32_updatenull.c).
    """
    plain = section.flags in (_SHF_ALLOC, _SHF_ALLOC | _SHF_EXECINSTR)
    if section.kind != SHT_PROGBITS or not plain or section.name in _READ_IN_FULL:
        return 0
    if section.entry_size and not section.flags & _SHF_EXECINSTR:
        return 0
    return math.lcm(max(section.alignment, 1), max(section.entry_size, 1))


def _claims(header: Header, sections: tuple[Section, ...]) -> Iterator[Span]:
    yield from (Span(each.offset, each.size) for each in sections)
    yield from (Span(each.offset, each.file_size) for each in header.programs)
    yield header.sections
    yield header.table


def _symbols(path: Path, data: Content, headers: tuple[SectionHeader, ...]) -> Symbols | None:
    for each in headers[1:]:
        if each.kind == SHT_SYMTAB:
            if each.link >= len(headers):
                raise errors.MalformedBinary(f"{path}: its symbol table has no strings")
            strings = headers[each.link]
            return Symbols(path, data, Span(each.offset, each.size), Span(strings.offset, strings.size))
    return None


def _relocations(
    path: Path,
    data: Content,
    headers: tuple[SectionHeader, ...],
    segments: tuple[Segment, ...],
    dynamic: dict[int, int],
    relative: int,
) -> Relocations:
    """The tables that PT_DYNAMIC names, and those in sections of the loaded program (a static one has no others)."""
    tables = {Span(each.offset, each.size) for each in headers[1:] if each.kind == SHT_RELA and each.flags & _SHF_ALLOC}
    for where, length in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
        if (address := dynamic.get(where)) and (size := dynamic.get(length)):
            tables.add(Span(file_offset(path, segments, address, size), size))
    packed: tuple[int, ...] = ()
    if dynamic.get(_DT_RELR) and (size := dynamic.get(_DT_RELRSZ, 0) // 8 * 8):
        at = file_offset(path, segments, dynamic[_DT_RELR], size)
        packed = tuple(
            unpack_relr((each for (each,) in struct.iter_unpack("<Q", data[at : at + size])), len(data) // 8)
        )
    whole = tuple(map(whole_records, sorted(tables, key=lambda each: each.offset)))
    return Relocations(path, data, relative, whole, packed)
