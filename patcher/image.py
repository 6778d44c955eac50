"""A Go binary as it lies on disk: the one place that calls LIEF."""

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lief

from patcher import errors
from patcher.buildinfo import BuildInfo, read_build_info
from patcher.content import Content, mapped, opened
from patcher.elf_header import check_end, check_headers
from patcher.elf_tables import Relocations, Span, Symbols, hits, unpack_relr, whole_records

PAGE = 4096  # the kernel maps files in these; x86-64 has no smaller or larger base page
E_ENTRY = 24  # offset of e_entry in an ELF64 header (elf(5))
_P_OFFSET, _SH_OFFSET = 8, 24  # of p_offset in a program header, of sh_offset in a section header

BUILDINFO = ".go.buildinfo"

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
class Padding:
    """Zero bytes behind the executable segment that nothing else in the file claims."""

    segment: Segment
    address: int
    offset: int
    size: int


@dataclass(frozen=True)
class GoImage:
    """A Go program for linux/amd64. ``data`` is the whole file; addresses are as linked.

    ``claims`` are the bytes of the file that something in it says to need: sections, segments, header tables.
    """

    path: Path
    data: Content
    entry: int
    pie: bool
    shared_library: bool
    dynamic: bool
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    claims: tuple[Span, ...]
    symbols: Symbols | None
    relocations: Relocations
    build: BuildInfo

    def offset_of(self, address: int, size: int = 1) -> int:
        """The file offset of ``size`` bytes at a virtual address. Raises MalformedBinary if not in the file."""
        return file_offset(self.path, self.segments, address, size)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at a virtual address, as they lie in the file."""
        offset = self.offset_of(address, size)
        return self.data[offset : offset + size]

    def read_pointer(self, address: int) -> int:
        """The 8-byte pointer that stands at ``address`` once relocated, before a PIE is moved."""
        relocated = self.relocations.target(address)
        return struct.unpack("<Q", self.read(address, 8))[0] if relocated is None else relocated

    def section(self, *names: str) -> Section | None:
        """The first section that has one of the names."""
        return next((each for each in self.sections if each.name in names), None)

    def symbol(self, name: str) -> int | None:
        """A symbol's value from .symtab; None where there is no such symbol or no table."""
        return self.symbols.value(name) if self.symbols else None

    @property
    def stripped(self) -> bool:
        """True where the file has no symbol table."""
        return self.symbols is None

    def relocated_addresses(self) -> Iterator[int]:
        """Addresses that the dynamic linker writes to at start (none in a static, position-dependent file)."""
        return self.relocations.addresses()

    def pointers_to(self, value: int) -> Iterator[int]:
        """Addresses of 8-byte aligned pointers that equal ``value``, in segments that are not executable."""
        yield from self.relocations.addresses_of(value)
        needle = struct.pack("<Q", value)
        for segment in self.segments:
            if segment.executable:
                continue
            for at in hits(self.path, self.data, needle, Span(segment.offset, segment.file_size)):
                if (address := segment.address + at - segment.offset) % 8 == 0:
                    yield address

    @property
    def padding(self) -> Padding | None:
        """The free bytes behind the executable segment, if they are proven free."""
        return next((each for each in self.paddings if each.segment.executable), None)

    @cached_property
    def paddings(self) -> tuple[Padding, ...]:
        """The free bytes between each read-only segment's end and its page's end, the executable one's first.

        Free means: zero, in the file, in no section, in no other segment's bytes or pages, and behind a segment
        that has as many bytes in memory as in the file (so the kernel clears nothing there; fs/binfmt_elf.c,
        elf_load).
        """
        return tuple(sorted(self._find_paddings(), key=lambda each: not each.segment.executable))

    def _find_paddings(self) -> Iterator[Padding]:
        for segment in (each for each in self.segments if not each.writable):
            if segment.file_size != segment.memory_size:
                continue
            offset = segment.offset + segment.file_size
            address = segment.address + segment.file_size
            limit = min(self._next_claim(offset), offset + -address % PAGE)
            if limit > offset and not any(self.data[offset:limit]) and self._page_is_ours(segment, address):
                yield Padding(segment, address, offset, limit - offset)

    def _next_claim(self, offset: int) -> int:
        """The first file offset from ``offset`` on that a section, a segment, a header table or the end claims."""
        if any(each.offset < offset < each.end for each in self.claims):
            return offset
        return min([each.offset for each in self.claims if each.offset >= offset and each.size] + [len(self.data)])

    def _page_is_ours(self, segment: Segment, address: int) -> bool:
        page_end = address + -address % PAGE
        return not any(
            each.address < page_end and each.address + each.memory_size > address
            for each in self.segments
            if each is not segment
        )


def read_image(path: Path) -> GoImage:
    """Read a Go binary. Raises the error that names what is wrong with it; never anything else for bad input."""
    with opened(path) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        return _image(path, mapped(descriptor), stream)


def parse_image(path: Path, data: bytes) -> GoImage:
    """The same for a file's content; ``path`` is only named in errors."""
    return _image(path, data, io.BytesIO(data))


def _image(path: Path, data: Content, source: io.BufferedIOBase) -> GoImage:
    check_headers(path, data)
    parsed = lief.ELF.parse(source, _parser_config())
    if parsed is None:
        raise errors.MalformedBinary(f"{path}: has an ELF header and no readable tables behind it; is it truncated?")
    sections = tuple(_sections(path, data, parsed))
    build = read_build_info(path, data, next((Span(e.offset, e.size) for e in sections if e.name == BUILDINFO), None))
    system = build.settings.get("GOOS", "linux")
    if system != "linux":
        raise errors.WrongArchitecture(f"{path}: built for {system}; only linux/amd64 can be patched")
    kind = parsed.header.file_type
    if kind not in (lief.ELF.Header.FILE_TYPE.EXEC, lief.ELF.Header.FILE_TYPE.DYN):
        raise errors.MalformedBinary(f"{path}: its ELF header names no executable and no shared library")
    segments = tuple(_segments(path, data, parsed))
    return GoImage(
        path=path,
        data=data,
        entry=parsed.header.entrypoint,
        pie=kind == lief.ELF.Header.FILE_TYPE.DYN,
        shared_library=build.settings.get("-buildmode") in ("c-shared", "plugin", "shared"),
        dynamic=parsed.has_interpreter,
        segments=segments,
        sections=sections,
        claims=tuple(_claims(parsed, sections)),
        symbols=_symbols(path, data, parsed),
        relocations=_relocations(path, data, parsed, segments),
        build=build,
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


def file_offset(path: Path, segments: Iterable[Segment], address: int, size: int = 1) -> int:
    """The file offset of ``size`` bytes at a virtual address. Raises MalformedBinary if not in the file."""
    for segment in segments:
        start = address - segment.address
        if start >= 0 and start + size <= segment.file_size:
            return segment.offset + start
    raise errors.MalformedBinary(
        f"{path}: {size} bytes at address {address:#x} are expected in the file and are in no segment"
    )


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
