"""Crafted files by name: each once was, or could be, a crash, a hang, or a wrong reading; each is refused in words."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import NanonapError
from nanonap.trials.fuzz.judge import judge
from patcher.errors import MalformedBinary, NotARegularFile, UnsupportedGo, WrongArchitecture
from patcher.golang.functions import Functions
from patcher.golang.image import read_image
from tests.conftest import BuildProgram

E_TYPE, E_PHOFF, E_SHOFF, E_PHENTSIZE, E_PHNUM, E_SHNUM, E_SHSTRNDX, EI_OSABI = 16, 32, 40, 54, 56, 60, 62, 7
P_OFFSET, P_VADDR, P_FILESZ, P_MEMSZ = 8, 16, 32, 40
NETPOLL = "runtime.netpoll"


@pytest.fixture
def program(build_program: BuildProgram, tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(build_program("sleepbench").read_bytes())
    return path


def put(path: Path, offset: int, form: str, *values: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(struct.pack(f"<{form}", *values))


def loaded(path: Path) -> list[int]:
    """Where the program headers of the loaded segments lie."""
    return [each.header for each in read_image(path).segments]


def grown(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def a_giant_offset(path: Path) -> None:
    put(path, E_SHOFF, "Q", 1 << 39)
    os.truncate(path, 1 << 40)


def field(offset: int, form: str, value: int) -> Callable[[Path], None]:
    return lambda path: put(path, offset, form, value)


def segment(index: int, offset: int, value: int) -> Callable[[Path], None]:
    return lambda path: put(path, loaded(path)[index] + offset, "Q", value)


def overlapping(offset: int) -> Callable[[Path], None]:
    """The second loaded segment says to lie where the first does."""

    def make(path: Path) -> None:
        first, second, *_ = loaded(path)
        value = struct.unpack_from("<Q", path.read_bytes(), first + offset)[0]
        put(path, second + offset, "Q", value)

    return make


def a_pc_table(content: bytes) -> Callable[[Path], None]:
    """netpoll's table of stack depths replaced."""

    def make(path: Path) -> None:
        functions = Functions(read_image(path))
        table, record = functions.table, functions.one(NETPOLL).record
        put(path, table._pctab + table._u32(record + 16), f"{len(content)}B", *content)

    return make


def unordered(path: Path) -> None:
    """Two neighbours in the middle of the function table change places."""
    table = Functions(read_image(path)).table
    at = table._functions + 8 * (table._count // 2)
    put(path, at, "II", table._pair(table._count // 2)[0] + (1 << 30), 0)


def a_repeated_name(path: Path) -> None:
    """Behind the function table's entries, the offset of netpoll's name stands over and over."""
    table = Functions(read_image(path)).table
    at = table._functions + 8 * table._count
    record = table.find(NETPOLL)[0].record
    put(path, at, "100000I", *[table._u32(record + 4)] * 100_000)


def module_word(word: int, value: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        image = read_image(path)
        put(path, image.offset_of(Functions(image).table.moduledata) + 8 * word, "Q", value)

    return make


CRAFTED: dict[str, tuple[Callable[[Path], None], type[NanonapError], str]] = {
    "a sparse file of 1 TiB": (grown(1 << 40), MalformedBinary, "a program has at most"),
    "a sparse file of 3 GiB": (grown(3 << 30), MalformedBinary, "holes"),
    "section headers half a TiB away": (a_giant_offset, MalformedBinary, "a program has at most"),
    "a header table at the end of the address space": (
        field(E_PHOFF, "Q", (1 << 64) - 8),
        MalformedBinary,
        "truncated",
    ),
    "65535 program headers": (field(E_PHNUM, "H", 0xFFFF), MalformedBinary, "program headers"),
    "65535 sections": (field(E_SHNUM, "H", 0xFFFF), MalformedBinary, "sections|truncated"),
    "program headers of no size": (field(E_PHENTSIZE, "H", 0), MalformedBinary, "have 0 bytes each"),
    "names in a section that is not": (field(E_SHSTRNDX, "H", 9999), MalformedBinary, "sections' names"),
    "a core dump": (field(E_TYPE, "H", 4), MalformedBinary, "core dump"),
    "an object file": (field(E_TYPE, "H", 1), MalformedBinary, "object file"),
    "no type": (field(E_TYPE, "H", 0), MalformedBinary, "neither an executable"),
    "FreeBSD by its header": (field(EI_OSABI, "B", 9), WrongArchitecture, "freebsd"),
    "a segment beyond the file": (segment(0, P_FILESZ, 1 << 30), MalformedBinary, "cannot be loaded|truncated"),
    "a segment whose end overflows": (segment(1, P_OFFSET, (1 << 64) - 4096), MalformedBinary, "truncated"),
    "a segment beyond user space": (segment(2, P_VADDR, 1 << 63), MalformedBinary, "cannot be loaded|overlap"),
    "a segment smaller in memory": (segment(1, P_MEMSZ, 1), MalformedBinary, "cannot be loaded"),
    "segments that overlap in memory": (overlapping(P_VADDR), MalformedBinary, "overlap"),
    "segments that overlap in the file": (overlapping(P_OFFSET), MalformedBinary, "share bytes"),
    "a PC table that stands still": (a_pc_table(bytes([2, 0]) * 64), MalformedBinary, "does not end"),
    "a PC table of endless numbers": (a_pc_table(b"\xff" * 64), NanonapError, ""),
    "functions out of order": (unordered, NanonapError, ""),
    "a name that repeats for ever": (a_repeated_name, NanonapError, ""),
    "moduledata with another count": (module_word(17, 1), MalformedBinary, "no moduledata that points"),
    "moduledata of another layout": (module_word(43, 0x401000), MalformedBinary, "not known yet"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_file_is_refused_in_words_and_in_time(program: Path, what: str) -> None:
    make, kind, said = CRAFTED[what]
    make(program)
    strategy = "sleep" if "moduledata" in what else "netpoll"
    assert judge(program, strategy).finding is None
    with pytest.raises(kind, match=said or None) as refused:
        patcher.patch(program, program.with_name("out"), strategy, accept_thread_cost=True)
    assert "\n" not in str(refused.value)
    assert list(program.parent.iterdir()) == [program]


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotARegularFile):
        patcher.inspect(tmp_path / "pipe")


def test_a_table_is_found_by_its_magic_where_sections_are_gone_and_decoys_stand_before_it(program: Path) -> None:
    """The first bytes that look like a table's header are not taken for one: moduledata does not point there."""
    data = program.read_bytes()
    magic = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)
    functions = Functions(read_image(program))
    padding = functions.image.paddings[-1]
    put(program, E_SHOFF, "Q", 0)
    put(program, E_SHNUM, "HH", 0, 0)
    decoy = data.find(bytes(64), functions.image.segments[1].offset)
    put(program, decoy, "8B", *magic)
    assert decoy < functions.image.offset_of(functions.table.address)
    assert padding
    assert Functions(read_image(program)).table.address == functions.table.address


def test_a_table_of_an_unknown_release_is_told_as_one(program: Path) -> None:
    functions = Functions(read_image(program))
    put(program, functions.image.offset_of(functions.table.address), "I", 0xFFFFFFF2)
    with pytest.raises(UnsupportedGo, match="pclntab"):
        patcher.inspect(program)
