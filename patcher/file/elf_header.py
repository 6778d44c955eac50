"""The ELF header and program headers, read and checked before any library sees the file (elf(5)).

What a program for Linux cannot have is refused here in words; what is left is small enough for LIEF.
"""

import itertools
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from patcher import errors
from patcher.file.content import Content
from patcher.file.elf_tables import Span

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
ELF_HEADER_SIZE = _HEADER.size
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION_SIZE = 64
_MACHINES = {  # as GOARCH names them, where Go has them
    2: "sparc",
    3: "386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    43: "sparc64",
    50: "ia64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
_TYPES = {0: "no type", 1: "an object file", 4: "a core dump"}  # ET_NONE, ET_REL, ET_CORE
ET_EXEC, ET_DYN = 2, 3
_LOADERS = {  # of other systems, as Go's own linker names them (cmd/link/internal/amd64/obj.go)
    "/libexec/ld-elf.so": "freebsd",
    "/libexec/ld.elf_so": "netbsd",
    "/usr/libexec/ld.elf_so": "netbsd",
    "/usr/libexec/ld.so": "openbsd",
    "/usr/libexec/ld-elf.so": "dragonfly",
    "/lib/amd64/ld.so": "solaris",
}
_SYSTEMS = {0: "System V", 3: "Linux"}  # EI_OSABI of programs for Linux; others have a value of their own
_OTHER_SYSTEMS = {2: "netbsd", 6: "solaris", 9: "freebsd", 12: "openbsd"}  # as GOOS names them
_MOST_PROGRAM_HEADERS = 1024  # the kernel takes at most 64 KiB of them: 1170 (fs/binfmt_elf.c, load_elf_phdrs)
_MOST_SECTIONS = 8192
_PT_LOAD, PT_INTERP = 1, 3
_HIGHEST = 1 << 47  # no user address lies above
_UPX_MAGIC = b"UPX!"
_UPX_WITHIN = 4096
_LONGEST_INTERPRETER = 4096


@dataclass(frozen=True)
class ProgramHeader:
    """A program header's fields, and ``at``, its own file offset."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    alignment: int
    at: int


@dataclass(frozen=True)
class Header:
    """What the header says. ``kind``: e_type; ``machine``: e_machine; ``loader``: the path of the dynamic linker that
    the program asks for, None where it asks for none; ``table``, ``sections``: where the tables of program and section
    headers lie; ``names``: the index of the section that holds the sections' names.
    """

    kind: int
    machine: int
    entry: int
    loader: str | None
    programs: tuple[ProgramHeader, ...]
    table: Span
    sections: Span
    names: int


def check_headers(path: Path, data: Content, machines: Container[int], platforms: str) -> Header:
    """Raises the error that says why this file cannot be a program for Linux that LIEF should see.

    ``machines`` are the ELF machine numbers that can be read, ``platforms`` what they are called.
    """
    if data[:4] != b"\x7fELF":
        raise errors.NotElf(f"{path}: not an ELF file; name a Go executable for {platforms}")
    if len(data) < _HEADER.size:
        raise errors.MalformedBinary(f"{path}: ends within its ELF header; is it truncated?")
    _check_kind(path, data, machines, platforms)
    fields = _HEADER.unpack_from(data)
    programs, sections = fields[5:7]
    program_size, program_count, section_size, section_count, names = fields[9:14]
    _check_table(path, data, "program headers", (programs, program_size, program_count), _PROGRAM.size)
    _check_table(path, data, "section headers", (sections, section_size, section_count), _SECTION_SIZE)
    if program_count > _MOST_PROGRAM_HEADERS or section_count > _MOST_SECTIONS:
        raise errors.MalformedBinary(
            f"{path}: {program_count} program headers and {section_count} sections; a program has at most "
            f"{_MOST_PROGRAM_HEADERS} and {_MOST_SECTIONS}"
        )
    if section_count and names >= section_count:
        raise errors.MalformedBinary(
            f"{path}: the sections' names should be in section {names}, but there are only {section_count} sections"
        )
    if _UPX_MAGIC in data[:_UPX_WITHIN]:
        raise errors.PackedBinary(f"{path}: packed by UPX; unpack it first (upx -d), then patch the result")
    table = Span(programs, program_count * program_size)
    found = tuple(_programs(data, table))
    _check_loaded(path, data, [each for each in found if each.kind == _PT_LOAD])
    for each in found:
        check_end(path, data, "a segment", each.offset + each.file_size)
    return Header(
        kind=fields[1],
        machine=fields[2],
        entry=fields[4],
        loader=next((_loader(data, each) for each in found if each.kind == PT_INTERP), None),
        programs=found,
        table=table,
        sections=Span(sections, section_count * section_size),
        names=names,
    )


def check_loader(path: Path, loader: str | None, platforms: str) -> None:
    """Raises WrongArchitecture for the dynamic linker of another system; an unknown one says nothing."""
    system = next((system for start, system in _LOADERS.items() if (loader or "").startswith(start)), None)
    if system is not None:
        raise errors.WrongArchitecture(
            f"{path}: its dynamic linker is {loader}, which is {system}'s; only {platforms} can be patched"
        )


def check_end(path: Path, data: Content, what: str, end: int) -> None:
    """Raises MalformedBinary where ``what`` ends behind the file's own end."""
    if end > len(data):
        raise errors.MalformedBinary(
            f"{path}: {what} ends at offset {end:#x}, the file at {len(data):#x}; is it truncated?"
        )


def _check_kind(path: Path, data: Content, machines: Container[int], platforms: str) -> None:
    if data[4] == 1:
        raise errors.WrongClass(f"{path}: a 32-bit ELF file; only 64-bit Go programs ({platforms}) can be patched")
    machine = int.from_bytes(data[18:20], "little" if data[5] == 1 else "big")
    if data[5] != 1 or machine not in machines:
        name = _MACHINES.get(machine, "another processor") + ("" if data[5] == 1 else ", big-endian")
        raise errors.WrongArchitecture(
            f"{path}: built for {name} (ELF machine {machine}), which is not supported yet; only {platforms} can be "
            "patched: build it for one of these"
        )
    if data[4] != 2:
        raise errors.MalformedBinary(f"{path}: its ELF class is {data[4]}; known are 1 (32-bit) and 2 (64-bit)")
    if data[7] not in _SYSTEMS:
        raise errors.WrongArchitecture(
            f"{path}: built for {_OTHER_SYSTEMS.get(data[7], f'system {data[7]}')}, by its ELF header; "
            f"only {platforms} can be patched"
        )
    kind = int.from_bytes(data[16:18], "little")
    if kind and kind not in (ET_EXEC, ET_DYN):
        raise errors.MalformedBinary(
            f"{path}: {_TYPES.get(kind, f'an ELF file of type {kind}')}; name an executable or a shared library"
        )


def _check_table(path: Path, data: Content, what: str, table: tuple[int, int, int], entry: int) -> None:
    offset, size, count = table
    check_end(path, data, f"the table of {what}", offset + size * count if offset else 0)
    if offset and count and size != entry:
        raise errors.MalformedBinary(f"{path}: its {what} have {size} bytes each; an ELF64 file's have {entry}")


def _programs(data: Content, table: Span) -> Iterator[ProgramHeader]:
    for at in range(table.offset, table.end, _PROGRAM.size) if table.offset else ():
        kind, flags, offset, address, _, file_size, memory_size, alignment = _PROGRAM.unpack_from(data, at)
        yield ProgramHeader(kind, flags, offset, address, file_size, memory_size, alignment, at)


def _check_loaded(path: Path, data: Content, loaded: list[ProgramHeader]) -> None:
    """Loaded segments must rise in address, as the kernel wants them, and share no byte in memory or in the file."""
    for each in loaded:
        if each.file_size > each.memory_size or each.address + each.memory_size > _HIGHEST:
            raise errors.MalformedBinary(
                f"{path}: a segment at {each.address:#x} has {each.file_size:#x} bytes in the file and "
                f"{each.memory_size:#x} in memory; it cannot be loaded"
            )
        check_end(path, data, "a segment", each.offset + each.file_size)
    for before, after in itertools.pairwise(loaded):
        if before.address + before.memory_size > after.address:
            raise errors.MalformedBinary(
                f"{path}: the segments at {before.address:#x} and {after.address:#x} overlap, or are not in order"
            )
    for before, after in itertools.pairwise(sorted((e for e in loaded if e.file_size), key=lambda each: each.offset)):
        if before.offset + before.file_size > after.offset:
            raise errors.MalformedBinary(
                f"{path}: the segments at {before.address:#x} and {after.address:#x} share bytes of the file"
            )


def _loader(data: Content, where: ProgramHeader) -> str:
    name = data[where.offset : where.offset + min(where.file_size, _LONGEST_INTERPRETER)]
    return name.rstrip(b"\0").decode("utf-8", "replace")
