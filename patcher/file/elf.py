"""An ELF file's headers as plain data: the one place that calls LIEF."""

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lief

from patcher import errors
from patcher.content import Content
from patcher.elf_header import check_end
from patcher.elf_tables import Relocations, Span, Symbols, unpack_relr, whole_records

_P_OFFSET, _SH_OFFSET = 8, 24  # of p_offset in a program header, of sh_offset in a section header

lief.logging.disable()


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
    """A section with bytes in the file. ``header`` is the file offset of its own section header."""

    name: str
    address: int
    offset: int
    size: int
    header: int


@dataclass(frozen=True)
class Elf:
    """What the headers say. ``loadable``: an executable or a shared library; ``movable``: the latter, a PIE included.

    ``dynamic``: it asks for a dynamic linker. ``claims`` are the bytes that sections, segments and header tables need.
    """

    entry: int
    loadable: bool
    movable: bool
    dynamic: bool
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    claims: tuple[Span, ...]
    symbols: Symbols | None
    relocations: Relocations


def read_elf(path: Path, data: Content, source: io.BufferedIOBase) -> Elf:
    """Read the headers of a file that ``check_headers`` has let through; ``source`` gives the same bytes as ``data``.

    LIEF's own copy of the file is gone when this returns. Raises MalformedBinary.
    """
    parsed = lief.ELF.parse(source, _parser_config())
    if parsed is None:
        raise errors.MalformedBinary(f"{path}: has an ELF header and no readable tables behind it; is it truncated?")
    kind, kinds = parsed.header.file_type, lief.ELF.Header.FILE_TYPE
    sections = tuple(_sections(path, data, parsed))
    segments = tuple(_segments(path, data, parsed))
    return Elf(
        entry=parsed.header.entrypoint,
        loadable=kind in (kinds.EXEC, kinds.DYN),
        movable=kind == kinds.DYN,
        dynamic=parsed.has_interpreter,
        segments=segments,
        sections=sections,
        claims=tuple(_claims(parsed, sections)),
        symbols=_symbols(path, data, parsed),
        relocations=_relocations(path, data, parsed, segments),
    )


def file_offset(path: Path, segments: Iterable[Segment], address: int, size: int = 1) -> int:
    """The file offset of ``size`` bytes at a virtual address. Raises MalformedBinary if not in the file."""
    for segment in segments:
        start = address - segment.address
        if start >= 0 and start + size <= segment.file_size:
            return segment.offset + start
    raise errors.MalformedBinary(
        f"{path}: {size} bytes at address {address:#x} are expected in the file and are in no segment"
    )


def _segments(path: Path, data: Content, parsed: lief.ELF.Binary) -> Iterator[Segment]:
    table, size = parsed.header.program_header_offset, parsed.header.program_header_size
    for index, each in enumerate(parsed.segments):
        header = table + index * size
        _check_place(path, data, header + _P_OFFSET, each.file_offset)
        if each.type == lief.ELF.Segment.TYPE.LOAD:
            yield Segment(
                address=each.virtual_address,
                offset=each.file_offset,
                file_size=each.physical_size,
                memory_size=each.virtual_size,
                executable=each.has(lief.ELF.Segment.FLAGS.X),
                writable=each.has(lief.ELF.Segment.FLAGS.W),
                header=header,
            )


def _sections(path: Path, data: Content, parsed: lief.ELF.Binary) -> Iterator[Section]:
    table, size = parsed.header.section_header_offset, parsed.header.section_header_size
    for index, each in enumerate(parsed.sections):
        header = table + index * size
        if each.type in (lief.ELF.Section.TYPE.NOBITS, lief.ELF.Section.TYPE.SHT_NULL_):
            continue
        _check_place(path, data, header + _SH_OFFSET, each.file_offset)
        check_end(path, data, f"section {each.name!s}", each.file_offset + each.size)
        yield Section(str(each.name), each.virtual_address, each.file_offset, each.size, header)


def _check_place(path: Path, data: Content, field: int, offset: int) -> None:
    """A header must lie where its index says: edits of headers rely on LIEF having left out none before it."""
    if data[field : field + 8] != struct.pack("<Q", offset):
        raise errors.MalformedBinary(f"{path}: its header tables are read otherwise than they lie at {field:#x}")


def _claims(parsed: lief.ELF.Binary, sections: tuple[Section, ...]) -> Iterator[Span]:
    header = parsed.header
    yield from (Span(each.offset, each.size) for each in sections)
    yield from (Span(each.file_offset, each.physical_size) for each in parsed.segments)
    yield Span(header.section_header_offset, header.numberof_sections * header.section_header_size)
    yield Span(header.program_header_offset, header.numberof_segments * header.program_header_size)


def _symbols(path: Path, data: Content, parsed: lief.ELF.Binary) -> Symbols | None:
    sections = list(parsed.sections)
    for each in sections:
        if each.type == lief.ELF.Section.TYPE.SYMTAB:
            if each.link >= len(sections):
                raise errors.MalformedBinary(f"{path}: its symbol table has no strings")
            strings = sections[each.link]
            return Symbols(path, data, Span(each.file_offset, each.size), Span(strings.file_offset, strings.size))
    return None


def _relocations(path: Path, data: Content, parsed: lief.ELF.Binary, segments: tuple[Segment, ...]) -> Relocations:
    """The tables that PT_DYNAMIC names, and those in sections of the loaded program (a static one has no others)."""
    tag = lief.ELF.DynamicEntry.TAG
    named = {each.tag: each.value for each in parsed.dynamic_entries}
    tables = {
        Span(each.file_offset, each.size)
        for each in parsed.sections
        if each.type == lief.ELF.Section.TYPE.RELA and each.has(lief.ELF.Section.FLAGS.ALLOC)
    }
    for where, length in ((tag.RELA, tag.RELASZ), (tag.JMPREL, tag.PLTRELSZ)):
        if (address := named.get(where)) and (size := named.get(length)):
            tables.add(Span(file_offset(path, segments, address, size), size))
    packed: tuple[int, ...] = ()
    if named.get(tag.RELR) and (size := named.get(tag.RELRSZ, 0) // 8 * 8):
        at = file_offset(path, segments, named[tag.RELR], size)
        packed = tuple(
            unpack_relr((each for (each,) in struct.iter_unpack("<Q", data[at : at + size])), len(data) // 8)
        )
    return Relocations(path, data, tuple(map(whole_records, sorted(tables, key=lambda each: each.offset))), packed)


def _parser_config() -> lief.ELF.ParserConfig:
    """What LIEF need not do: it reads the headers, which here are all; the tables behind them are searched."""
    config = lief.ELF.ParserConfig()
    config.parse_notes = False
    config.parse_dyn_symbols = False
    config.parse_symtab_symbols = False
    config.parse_relocations = False
    config.parse_symbol_versions = False
    config.parse_overlay = False
    return config
