"""A Go binary as it lies on disk: what stands at an address, what points to one, which bytes are free."""

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from patcher import errors
from patcher.file.changes import Change
from patcher.file.content import Content, Reader, mapped, mapped_with, opened
from patcher.file.elf import Elf, Section, Segment, file_offset, read_elf
from patcher.file.elf_check import check_reading
from patcher.file.elf_header import ET_DYN, ET_EXEC, Header, check_headers, check_loader
from patcher.file.elf_tables import Relocations, Span, Symbols, hits
from patcher.golang.buildinfo import UNKNOWN, BuildInfo, read_build_info
from patcher.isa.isa import Isa
from patcher.isa.table import ISAS, PLATFORMS

E_ENTRY = 24  # offset of e_entry in an ELF64 header (elf(5))

BUILDINFO = ".go.buildinfo"
PCLNTAB = (".gopclntab", ".data.rel.ro.gopclntab")
_VERSION = "runtime.buildVersion"
_LONGEST_VERSION = 256  # bytes


@dataclass(frozen=True)
class Padding:
    """Zero bytes behind a segment that nothing else in the file claims; ``section`` ends where they begin."""

    segment: Segment
    address: int
    offset: int
    size: int
    section: Section | None


@dataclass(frozen=True)
class GoImage:
    """A Go program for Linux. ``data`` is the whole file; addresses are as linked.

    ``isa`` is the instruction set of its code. ``thread_local`` are the bytes of thread-local data. ``claims`` are
    the bytes of the file that something in it says to need: sections, segments, header tables.
    """

    path: Path
    data: Content
    isa: Isa
    entry: int
    pie: bool
    shared_library: bool
    thread_local: int
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
            limit = min(self._next_claim(offset), offset + -address % self.isa.page)
            if limit > offset and not any(self.data[offset:limit]) and self._page_is_ours(segment, address):
                section = next((each for each in self.sections if each.size and each.end == offset), None)
                yield Padding(segment, address, offset, limit - offset, section)

    def _next_claim(self, offset: int) -> int:
        """The first file offset from ``offset`` on that a section, a segment, a header table or the end claims."""
        if any(each.offset < offset < each.end for each in self.claims):
            return offset
        return min([each.offset for each in self.claims if each.offset >= offset and each.size] + [len(self.data)])

    def _page_is_ours(self, segment: Segment, address: int) -> bool:
        page_end = address + -address % self.isa.page
        return not any(
            each.address < page_end and each.address + each.memory_size > address
            for each in self.segments
            if each is not segment
        )


def read_image(path: Path) -> GoImage:
    """Read a Go binary. Raises the error that names what is wrong with it; never anything else for bad input.

    Whoever changes the file must have its headers ``read_twice``, too.
    """
    with opened(path) as descriptor:
        return _image(path, mapped(descriptor), None)


def read_twice(path: Path) -> bool:
    """Have the headers of a file read by two readers (elf_check). True, or raises where they differ."""
    with opened(path) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        _read_headers(path, mapped(descriptor), stream)
    return True


def read_changed(path: Path, descriptor: int, changes: Iterable[Change]) -> GoImage:
    """The same of a file with changes laid over it, to patch, for as long as it is open; errors name ``path``."""
    laid = tuple(changes)
    return _image(path, mapped_with(descriptor, laid), io.BufferedReader(Reader(descriptor, laid)))


def _read_headers(path: Path, data: Content, source: io.BufferedIOBase | None) -> tuple[Header, Isa, Elf]:
    header = check_headers(path, data, ISAS, PLATFORMS)
    isa = ISAS[header.machine]
    elf = read_elf(path, data, header, isa.relative)
    if source is not None:
        check_reading(path, data, source, header)
    return header, isa, elf


def _image(path: Path, data: Content, source: io.BufferedIOBase | None) -> GoImage:
    header, isa, elf = _read_headers(path, data, source)
    image = GoImage(
        path=path,
        data=data,
        isa=isa,
        entry=elf.entry,
        pie=elf.movable,
        shared_library=elf.library,
        thread_local=elf.thread_local,
        segments=elf.segments,
        sections=elf.sections,
        claims=elf.claims,
        symbols=elf.symbols,
        relocations=elf.relocations,
        build=UNKNOWN,
    )
    build = _build_info(image)
    system = build.settings.get("GOOS")
    if system is None:
        check_loader(path, header.loader, PLATFORMS)
    elif system != "linux":
        raise errors.WrongArchitecture(f"{path}: built for {system}; only {PLATFORMS} can be patched")
    if header.kind not in (ET_EXEC, ET_DYN):
        kind = errors.NotGo if build == UNKNOWN else errors.MalformedBinary
        raise kind(f"{path}: by its ELF header neither an executable nor a shared library; name a Go program")
    mode = build.settings.get("-buildmode")
    library = elf.library if mode is None else mode in ("c-shared", "plugin", "shared")
    return replace(image, build=build, shared_library=library)


def _build_info(image: GoImage) -> BuildInfo:
    """From where the linker puts it, else from the variable that holds the version, else UNKNOWN."""
    section = image.section(BUILDINFO)
    spans = [Span(each.offset, each.file_size) for each in image.segments if each.writable]
    build = read_build_info(image.path, image.data, [Span(section.offset, section.size)] if section else spans)
    own = _own_version(image)
    if build is None:
        return BuildInfo(own, {}) if own else UNKNOWN
    if own not in (None, build.version):
        raise errors.MalformedBinary(
            f"{image.path}: its build information says {build.version}, its {_VERSION} says {own}; it is malformed"
        )
    return build


def _own_version(image: GoImage) -> str | None:
    """What runtime.Version would say: the string that the symbol ``runtime.buildVersion`` names; None without one."""
    if not (variable := image.symbol(_VERSION)):
        return None
    try:
        length: int = struct.unpack("<Q", image.read(variable + 8, 8))[0]
        text = image.read(image.read_pointer(variable), length) if length <= _LONGEST_VERSION else b""
    except errors.MalformedBinary:
        return None
    return text.decode("utf-8", "replace") or None
