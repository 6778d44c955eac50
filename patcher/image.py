"""A Go binary as it lies on disk: the one place that calls LIEF."""

import io
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lief

from patcher import errors
from patcher.buildinfo import BuildInfo, read_build_info

PAGE = 4096  # the kernel maps files in these; x86-64 has no smaller or larger base page
E_ENTRY = 24  # offset of e_entry in an ELF64 header (elf(5))
UPX_MAGIC = b"UPX!"

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
    """A Go program for linux/amd64. ``data`` is the whole file; addresses are as linked."""

    path: Path
    data: bytes
    entry: int
    pie: bool
    shared_library: bool
    dynamic: bool
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    build: BuildInfo
    elf: lief.ELF.Binary

    def offset_of(self, address: int, size: int = 1) -> int:
        """The file offset of ``size`` bytes at a virtual address. Raises MalformedBinary if not in the file."""
        for segment in self.segments:
            start = address - segment.address
            if start >= 0 and start + size <= segment.file_size:
                return segment.offset + start
        raise errors.MalformedBinary(
            f"{self.path}: {size} bytes at address {address:#x} are expected in the file and are in no segment"
        )

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at a virtual address, as they lie in the file."""
        offset = self.offset_of(address, size)
        return self.data[offset : offset + size]

    def read_pointer(self, address: int) -> int:
        """The 8-byte pointer that stands at ``address`` once relocated, before a PIE is moved."""
        return self._relative_relocations.get(address) or struct.unpack("<Q", self.read(address, 8))[0]

    def section(self, *names: str) -> Section | None:
        """The first section that has one of the names."""
        return next((each for each in self.sections if each.name in names), None)

    def symbol(self, name: str) -> int | None:
        """A symbol's value from .symtab; None where there is no such symbol or no table."""
        found = self.elf.get_symtab_symbol(name)
        return found.value if found is not None else None

    @property
    def stripped(self) -> bool:
        """True where the file has no .symtab."""
        return self.section(".symtab") is None

    def relocated_addresses(self) -> Iterator[int]:
        """Addresses that the dynamic linker writes to at start (none in a static, position-dependent file)."""
        return (each.address for each in self.elf.relocations)

    @cached_property
    def _relative_relocations(self) -> dict[int, int]:
        """R_X86_64_RELATIVE (type 8): address → addend. The file's own bytes there may be zero."""
        if not self.pie:
            return {}
        relative = lief.ELF.Relocation.TYPE.X86_64_RELATIVE
        return {each.address: each.addend for each in self.elf.dynamic_relocations if each.type == relative}

    def pointers_to(self, value: int) -> Iterator[int]:
        """Addresses of 8-byte aligned pointers that equal ``value``, in segments that are not executable."""
        for address, addend in self._relative_relocations.items():
            if addend == value:
                yield address
        needle = struct.pack("<Q", value)
        for segment in self.segments:
            if segment.executable:
                continue
            end = segment.offset + segment.file_size
            at = self.data.find(needle, segment.offset, end)
            while at != -1:
                if (address := segment.address + at - segment.offset) % 8 == 0:
                    yield address
                at = self.data.find(needle, at + 1, end)

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
        header = self.elf.header
        claims = [(each.offset, each.size) for each in self.sections]
        claims += [(each.file_offset, each.physical_size) for each in self.elf.segments]
        claims.append((header.section_header_offset, header.numberof_sections * header.section_header_size))
        claims.append((header.program_header_offset, header.numberof_segments * header.program_header_size))
        if any(start < offset < start + size for start, size in claims if start + size != offset):
            return offset
        return min([start for start, size in claims if start >= offset and size] + [len(self.data)])

    def _page_is_ours(self, segment: Segment, address: int) -> bool:
        page_end = address + -address % PAGE
        return not any(
            each.address < page_end and each.address + each.memory_size > address
            for each in self.segments
            if each is not segment
        )


def read_image(path: Path) -> GoImage:
    """Read a Go binary. Raises the error that names what is wrong with it; never anything else for bad input."""
    return parse_image(path, read_file(path))


def parse_image(path: Path, data: bytes) -> GoImage:
    """The same for a file's content; ``path`` is only named in errors."""
    _check_header(path, data)
    if UPX_MAGIC in data[:4096]:
        raise errors.PackedBinary(f"{path}: packed by UPX; unpack it first (upx -d), then patch the result")
    parsed = lief.ELF.parse(io.BytesIO(data), _parser_config())
    if parsed is None:
        raise errors.MalformedBinary(f"{path}: has an ELF header and no readable tables behind it; is it truncated?")
    segments = tuple(_segments(parsed))
    for segment in segments:
        _check_end(path, data, "a segment", segment.offset + segment.file_size)
    sections = tuple(
        Section(
            str(each.name),
            each.virtual_address,
            each.file_offset,
            each.size,
            parsed.header.section_header_offset + index * parsed.header.section_header_size,
        )
        for index, each in enumerate(parsed.sections)
        if each.type not in (lief.ELF.Section.TYPE.NOBITS, lief.ELF.Section.TYPE.SHT_NULL_)
    )
    for section in sections:
        _check_end(path, data, f"section {section.name}", section.offset + section.size)
    build = read_build_info(path, data, next(((e.offset, e.size) for e in sections if e.name == ".go.buildinfo"), None))
    system = build.settings.get("GOOS", "linux")
    if system != "linux":
        raise errors.WrongArchitecture(f"{path}: built for {system}; only linux/amd64 can be patched")
    kind = parsed.header.file_type
    return GoImage(
        path=path,
        data=data,
        entry=parsed.header.entrypoint,
        pie=kind == lief.ELF.Header.FILE_TYPE.DYN,
        shared_library=build.settings.get("-buildmode") in ("c-shared", "plugin", "shared"),
        dynamic=parsed.has_interpreter,
        segments=segments,
        sections=sections,
        build=build,
        elf=parsed,
    )


def read_file(path: Path) -> bytes:
    """A regular file's content. Raises InputNotFound or NotARegularFile."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise errors.NotARegularFile(f"{path}: not a regular file; name a Go executable")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise errors.InputNotFound(f"{path}: no such file; check the path") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise errors.InputNotFound(f"{path}: cannot be read ({reason})") from error


def _check_header(path: Path, data: bytes) -> None:
    """The fields of the ELF header (elf(5)) that decide whether this file can be ours at all."""
    if data[:4] != b"\x7fELF":
        raise errors.NotElf(f"{path}: not an ELF file; name a Go executable for linux/amd64")
    if len(data) < 64:
        raise errors.MalformedBinary(f"{path}: ends within its ELF header; is it truncated?")
    if data[4] == 1:
        raise errors.WrongClass(f"{path}: a 32-bit ELF file; only 64-bit Go programs (linux/amd64) can be patched")
    machine = int.from_bytes(data[18:20], "little" if data[5] == 1 else "big")
    if data[5] != 1 or machine != 62:  # EM_X86_64
        raise errors.WrongArchitecture(
            f"{path}: built for ELF machine {machine}; only linux/amd64 (machine 62) can be patched"
        )
    for offset_at, size_at, count_at in ((32, 54, 56), (40, 58, 60)):  # program headers, section headers
        table = int.from_bytes(data[offset_at : offset_at + 8], "little")
        size, count = (int.from_bytes(data[at : at + 2], "little") for at in (size_at, count_at))
        _check_end(path, data, "a header table", table + size * count if table else 0)


def _check_end(path: Path, data: bytes, what: str, end: int) -> None:
    if end > len(data):
        raise errors.MalformedBinary(
            f"{path}: {what} ends at offset {end:#x}, the file at {len(data):#x}; is it truncated?"
        )


def _segments(parsed: lief.ELF.Binary) -> Iterator[Segment]:
    table, size = parsed.header.program_header_offset, parsed.header.program_header_size
    for index, each in enumerate(parsed.segments):
        if each.type == lief.ELF.Segment.TYPE.LOAD:
            yield Segment(
                address=each.virtual_address,
                offset=each.file_offset,
                file_size=each.physical_size,
                memory_size=each.virtual_size,
                executable=each.has(lief.ELF.Segment.FLAGS.X),
                writable=each.has(lief.ELF.Segment.FLAGS.W),
                header=table + index * size,
            )


def _parser_config() -> lief.ELF.ParserConfig:
    """What LIEF need not do: notes, symbol versions, and the overlay are of no use here."""
    config = lief.ELF.ParserConfig()
    config.parse_notes = False
    config.parse_symbol_versions = False
    config.parse_overlay = False
    return config
