"""What is patched has had its headers read twice: where the two readers differ, nothing is changed."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from patcher.errors import MalformedBinary
from patcher.file.elf_check import check_reading
from patcher.file.elf_header import Header, check_headers
from patcher.isa.table import ISAS, PLATFORMS

P_TYPE, P_FLAGS, P_OFFSET, P_ADDRESS, P_FILE_SIZE, P_MEMORY_SIZE = 0, 4, 8, 16, 32, 40  # elf(5), Elf64_Phdr
SH_TYPE, SH_FLAGS, SH_ADDRESS, SH_OFFSET, SH_SIZE, SH_ALIGNMENT, SH_ENTRY_SIZE = 4, 8, 16, 24, 32, 48, 56
E_ENTRY = 24

Place = Callable[[Header], int]


def first_loaded(field: int) -> Place:
    return lambda header: next(each.at for each in header.programs if each.kind == 1) + field


def last_section(field: int) -> Place:
    """That of the sections' names: a table of text."""
    return lambda header: header.sections.offset + 64 * header.names + field


FIELDS: dict[str, tuple[Place, str]] = {
    "entry": (lambda _: E_ENTRY, "ELF header"),
    "segment's kind": (first_loaded(P_TYPE), "program headers"),
    "segment's flags": (first_loaded(P_FLAGS), "program headers"),
    "segment's offset": (first_loaded(P_OFFSET), "program headers"),
    "segment's address": (first_loaded(P_ADDRESS), "program headers"),
    "segment's size": (first_loaded(P_FILE_SIZE), "program headers"),
    "segment's size in memory": (first_loaded(P_MEMORY_SIZE), "program headers"),
    "section's kind": (last_section(SH_TYPE), "section headers"),
    "section's flags": (last_section(SH_FLAGS), "section headers"),
    "section's address": (last_section(SH_ADDRESS), "section headers"),
    "section's offset": (last_section(SH_OFFSET), "section headers"),
    "section's size": (last_section(SH_SIZE), "section headers"),
    "section's alignment": (last_section(SH_ALIGNMENT), "section headers"),
    "section's entry size": (last_section(SH_ENTRY_SIZE), "section headers"),
}


@pytest.mark.parametrize(("place", "table"), FIELDS.values(), ids=FIELDS)
def test_a_field_that_is_read_otherwise_is_found(sleepbench: Path, place: Place, table: str) -> None:
    """Each reader gets a file of its own: they differ in the one field."""
    data = bytearray(sleepbench.read_bytes())
    at = place(check_headers(sleepbench, bytes(data), ISAS, PLATFORMS))
    other = bytes(data)
    check_reading(sleepbench, other, io.BytesIO(other), check_headers(sleepbench, other, ISAS, PLATFORMS))
    data[at] ^= 1 if data[at] != 3 else 2  # SHT_STRTAB becomes SHT_PROGBITS
    header = check_headers(sleepbench, other, ISAS, PLATFORMS)
    with pytest.raises(MalformedBinary, match=f"two readers of its {table} do not agree"):
        check_reading(sleepbench, other, io.BytesIO(bytes(data)), header)


def test_a_dynamic_section_that_is_read_otherwise_is_found(dynamic: Path) -> None:
    data = dynamic.read_bytes()
    header = check_headers(dynamic, data, ISAS, PLATFORMS)
    start, size = next((each.offset, each.file_size) for each in header.programs if each.kind == 2)
    at = next(at for at in range(start, start + size, 16) if struct.unpack_from("<Q", data, at) == (7,))  # DT_RELA
    other = bytearray(data)
    other[at + 8] ^= 8
    check_reading(dynamic, data, io.BytesIO(data), header)
    with pytest.raises(MalformedBinary, match="two readers of its dynamic section do not agree"):
        check_reading(dynamic, data, io.BytesIO(bytes(other)), header)


def test_what_is_read_otherwise_is_not_patched(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that asks LIEF is a copy of this one."""
    monkeypatch.setattr("patcher.file.elf_check._number", lambda _: 0)
    with pytest.raises(MalformedBinary, match="two readers of its ELF header do not agree"):
        patcher.patch(program, program.with_name("out"))
    assert list(program.parent.iterdir()) == [program]


def test_lief_is_given_no_more_of_a_file_than_its_headers(sleepbench: Path) -> None:
    """Those of a Go program lie at its start, whatever comes behind them."""
    data = sleepbench.read_bytes()
    header = check_headers(sleepbench, data, ISAS, PLATFORMS)
    head = max(header.table.end, header.sections.end)
    assert head < 4096
    check_reading(sleepbench, data, io.BytesIO(data[:head]), header)


@pytest.fixture
def dynamic(build_program: Callable[..., Path]) -> Path:
    return build_program("sleepbench", mode="external")
