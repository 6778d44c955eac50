"""A Go binary as it lies on disk: what stands at an address, what points to one, which bytes are free."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from patcher import errors
from patcher.buildinfo import BuildInfo, read_build_info
from patcher.content import Content, mapped, opened
from patcher.elf import Section, Segment, file_offset, read_elf
from patcher.elf_header import check_headers
from patcher.elf_tables import Relocations, Span, Symbols, hits

PAGE = 4096  # the kernel maps files in these; x86-64 has no smaller or larger base page
E_ENTRY = 24  # offset of e_entry in an ELF64 header (elf(5))

BUILDINFO = ".go.buildinfo"
PCLNTAB = (".gopclntab", ".data.rel.ro.gopclntab")


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
    elf = read_elf(path, data, source)
    place = next((Span(each.offset, each.size) for each in elf.sections if each.name == BUILDINFO), None)
    # A library or plugin of an old release may have none either, and says nothing else of what it is.
    is_program = bool(elf.entry) and (elf.dynamic or not elf.movable)
    has_table = is_program and any(each.name in PCLNTAB for each in elf.sections)
    build = read_build_info(path, data, place, has_table)
    system = build.settings.get("GOOS", "linux")
    if system != "linux":
        raise errors.WrongArchitecture(f"{path}: built for {system}; only linux/amd64 can be patched")
    if not elf.loadable:
        raise errors.MalformedBinary(f"{path}: its ELF header names no executable and no shared library")
    return GoImage(
        path=path,
        data=data,
        entry=elf.entry,
        pie=elf.movable,
        shared_library=build.settings.get("-buildmode") in ("c-shared", "plugin", "shared"),
        dynamic=elf.dynamic,
        segments=elf.segments,
        sections=elf.sections,
        claims=elf.claims,
        symbols=elf.symbols,
        relocations=elf.relocations,
        build=build,
    )
